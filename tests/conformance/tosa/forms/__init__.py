"""What each TOSA operator is in the engine's instructions. Importing this package fills the table of forms."""

from tests.conformance.tosa.forms import elementwise, linear, logic, movement, windows
from tests.conformance.tosa.translate import FORMS

__all__ = ["FORMS"]

_FAMILIES = (elementwise, linear, logic, movement, windows)
