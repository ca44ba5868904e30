"""Sparse constants become dense ones: nothing here computes with them otherwise."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx

from engine.errors import ModelFileError
from engine.graph.onnx_scopes import nodes_within

_MAX_ELEMENTS = 1 << 28


def make_dense(graph: onnx.GraphProto, path: Path) -> None:
    """Replace sparse initializers and the values of sparse Constant nodes in place, at any depth.

    Raises:
        ModelFileError: One has indices outside its shape, or is too large to be written out.
    """
    _dense_initializers(graph, path)
    for node in nodes_within(graph.node):
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _dense_initializers(attribute.g, path)
            if attribute.HasField("sparse_tensor") and node.op_type == "Constant":
                dense = _dense(attribute.sparse_tensor, path)
                attribute.CopyFrom(onnx.helper.make_attribute("value", dense))


def _dense_initializers(graph: onnx.GraphProto, path: Path) -> None:
    graph.initializer.extend(_dense(sparse, path) for sparse in graph.sparse_initializer)
    del graph.sparse_initializer[:]


def _dense(sparse: onnx.SparseTensorProto, path: Path) -> onnx.TensorProto:
    """The tensor written out; its indices are positions in the flattened tensor, or one row of coordinates each."""
    name, shape = sparse.values.name, tuple(sparse.dims)
    if math.prod(shape) > _MAX_ELEMENTS:
        message = f"sparse tensor '{name}' of shape {list(shape)} is too large to be written out"
        raise ModelFileError(message, path=path, hint="replace it by an operator on dense tensors")
    try:
        values, indices = onnx.numpy_helper.to_array(sparse.values), onnx.numpy_helper.to_array(sparse.indices)
        array = np.zeros(shape, values.dtype)
        array[tuple(indices.T) if indices.ndim > 1 else np.unravel_index(indices, shape)] = values
    except (ValueError, IndexError, TypeError) as error:
        raise ModelFileError(f"sparse tensor '{name}' is malformed: {error}", path=path) from error
    return onnx.numpy_helper.from_array(array, name)
