"""ONNX operators to typed ones: the registry, filled."""

from engine.graph.converters import (
    arithmetic,
    attention,
    convolution,
    einsum,
    functions,
    logic,
    microsoft,
    normalisation,
    pooling,
    reductions,
    resizing,
    scattering,
    sequences,
    shapes,
    transport,
)
from engine.graph.source import CONVERTERS

__all__ = ["CONVERTERS"]

_REGISTERING = (
    arithmetic,
    attention,
    convolution,
    einsum,
    functions,
    logic,
    microsoft,
    normalisation,
    pooling,
    reductions,
    resizing,
    scattering,
    sequences,
    shapes,
    transport,
)
"""Imported for the registrations they make."""
