"""From graph, plan and scales to the integer program, one unit at a time.

Importing this package registers every lowering.
"""

from engine.program.lowering import elementwise, functions, layout, logic, mac, powers, reduce
from engine.program.lowering.context import LOWER, UnitContext

__all__ = ["LOWER", "UnitContext", "elementwise", "functions", "layout", "logic", "mac", "powers", "reduce"]
