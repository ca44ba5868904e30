"""Program operators as TOSA operators. Importing this package registers every form."""

from engine.export.tosa.emit import elementwise, functions, linear, logic, movement, normalise, reduce
from engine.export.tosa.emit.registry import MOVEMENT, TO_TOSA, emit

__all__ = ["MOVEMENT", "TO_TOSA", "emit"]

_REGISTERING = (elementwise, functions, linear, logic, movement, normalise, reduce)
"""Imported for the registrations they make."""
