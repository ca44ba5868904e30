"""PyTorch models: an ``nn.Module`` with example inputs, or a program saved by ``torch.export``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine.errors import ModelFileError
from engine.graph.digests import combined_digest, file_digest
from engine.graph.graph import Graph
from engine.graph.onnx_file import prepared
from engine.graph.onnx_import import import_onnx
from engine.graph.weights import WeightFiles

_OPSET = 20
"""Has LayerNormalization and Gelu whole."""


def from_torch(module: torch.nn.Module, example_inputs: tuple[Any, ...], name: str = "model") -> Graph:
    """The graph of a module, traced by torch's exporter for the shapes of the example inputs.

    Raises:
        ModelFileError: Torch cannot export the module.
        GraphError: The exported graph cannot be used.
    """
    module.eval()
    return _exported(module, example_inputs, name, None, {}, 1)


def load_exported(path: Path, bindings: Mapping[str, int], batch: int) -> Graph:
    """Open a ``.pt2`` file. Its weights are read as plain tensors; nothing in it is unpickled as objects.

    Raises:
        ModelFileError: The file is damaged, or holds pickled objects.
        GraphError: The exported graph cannot be used.
    """
    try:
        program = torch.export.load(path)
    except Exception as error:  # torch raises many kinds for damaged archives
        raise ModelFileError(
            f"is not a program saved by torch.export.save: {error}", path=path, hint="save it again with this torch"
        ) from error
    graph = _exported(program, (), path.stem, path, bindings, batch)
    return replace(graph, source=path, digest=combined_digest([file_digest(path)]))


def _exported(
    program: torch.nn.Module | torch.export.ExportedProgram,
    example_inputs: tuple[Any, ...],
    name: str,
    path: Path | None,
    bindings: Mapping[str, int],
    batch: int,
) -> Graph:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(  # pyright: ignore[reportUnknownMemberType]
                program, example_inputs, dynamo=True, opset_version=_OPSET, verbose=False, optimize=True
            )
    except Exception as error:  # whatever the traced module or the exporter raises
        raise ModelFileError(f"torch cannot export {name}: {error}", path=path) from error
    assert exported is not None  # a program is returned where no file is asked for
    source = prepared(exported.model, name, WeightFiles(path or Path(name)), None)
    return import_onnx(source, bindings, batch)
