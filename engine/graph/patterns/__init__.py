"""Recognition of operators spelled in several nodes; importing this package fills the registry."""

from engine.graph.patterns import constants
from engine.graph.patterns.matching import rewrite

__all__ = ["rewrite"]

_REGISTERING = (constants,)
"""Imported for the registrations they make."""
