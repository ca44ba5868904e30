"""Recognition of operators spelled in several nodes: the registry, filled, and its driver."""

from engine.graph.patterns import (
    activations,
    attention,
    blocks,
    channels,
    constants,
    moments,
    normalisation,
    operands,
    reductions,
    roll,
    selections,
    slices,
    softmax,
    views,
)
from engine.graph.patterns.matching import rewrite

__all__ = ["rewrite"]

_REGISTERING = (
    activations,
    attention,
    blocks,
    channels,
    constants,
    moments,
    normalisation,
    operands,
    reductions,
    roll,
    selections,
    slices,
    softmax,
    views,
)
"""Imported for the registrations they make."""
