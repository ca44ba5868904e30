"""Binding symbolic input dimensions to numbers, so that every shape in the graph is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from engine.errors import GraphError

_NO_NAMES = frozenset({"", "?", "None", "unknown"})
"""What exporters write for a dimension without a name: it says nothing of which dimensions are equal."""

_BATCH_NAMES = frozenset({"batch", "batch_size", "batchsize", "n", "bs"})


def bound_shapes(
    inputs: Sequence[ir.Value], bindings: Mapping[str, int], batch: int, path: Path | None
) -> list[tuple[int, ...]]:
    """The shape of each model input, in order, with its symbols replaced.

    A symbolic leading dimension, and any dimension named like a batch, is bound to ``batch`` unless ``bindings``
    names it; all others need an entry in ``bindings``. A dimension without a name is called ``INPUT.AXIS``; so is one
    that the file gives as 0, which some exporters write for "unknown" and only a binding to 0 takes at its word.

    Raises:
        GraphError: A symbol is unbound, a binding names no symbol or is not positive, or an input has no shape.
    """
    names = [_dimension_names(value, path) for value in inputs]
    empty = {f"{value.name}.{axis}" for value in inputs for axis, size in enumerate(value.shape or ()) if size == 0}
    symbols: dict[str, bool] = {}
    for shape in names:
        for axis, name in _symbols(shape):
            symbols[name] = symbols.get(name, False) or axis == 0
    unknown = sorted(set(bindings) - set(symbols))
    if unknown:
        known = ", ".join(sorted(symbols)) or "none"
        raise GraphError(f"no symbolic dimension is named {', '.join(unknown)}; the model has: {known}", path=path)
    values = dict(bindings)
    for name, leading in symbols.items():
        if name not in values and (leading or name.lower() in _BATCH_NAMES):
            values[name] = batch
    unbound = sorted(set(symbols) - set(values))
    if unbound:
        options = " ".join(f"--bind {name}=VALUE" for name in unbound)
        raise GraphError(f"symbolic dimensions are unbound: {', '.join(unbound)}", path=path, hint=f"give {options}")
    for name, value in values.items():
        if value < 1 and not (value == 0 and name in empty):
            raise GraphError(f"dimension {name} is bound to {value}, which is not positive", path=path)
    return [tuple(values[size] if isinstance(size, str) else size for size in shape) for shape in names]


def has_symbolic_batch(inputs: Sequence[ir.Value]) -> bool:
    """Whether every input leaves its leading dimension open."""
    shapes = [_dimension_names(value, None) for value in inputs]
    return bool(shapes) and all(shape and isinstance(shape[0], str) for shape in shapes)


def _symbols(shape: Sequence[int | str]) -> list[tuple[int, str]]:
    return [(axis, size) for axis, size in enumerate(shape) if isinstance(size, str)]


def _dimension_names(value: ir.Value, path: Path | None) -> list[int | str]:
    """The dimensions of an input: sizes, or the names of symbols."""
    if value.shape is None:
        raise GraphError(f"input '{value.name}' has no shape", path=path, hint="export with input shapes")
    dimensions: list[int | str] = []
    for axis, dimension in enumerate(value.shape):
        if isinstance(dimension, int) and dimension > 0:  # some exporters write 0 for "unknown"
            dimensions.append(dimension)
        else:
            symbol = None if isinstance(dimension, int) else dimension.value
            dimensions.append(f"{value.name}.{axis}" if symbol is None or symbol in _NO_NAMES else symbol)
    return dimensions
