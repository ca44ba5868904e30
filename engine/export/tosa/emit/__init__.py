"""Program operators as TOSA operators. Importing this package registers every form."""

from engine.export.tosa.emit import elementwise, linear, movement, normalise, reduce
from engine.export.tosa.emit.registry import MOVEMENT, TO_TOSA, emit

__all__ = ["MOVEMENT", "TO_TOSA", "elementwise", "emit", "linear", "movement", "normalise", "reduce"]
