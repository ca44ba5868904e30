"""PyTorch models: an ``nn.Module`` with example inputs, or a program saved by ``torch.export``."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

from engine.errors import ModelFileError
from engine.graph.conversion_cache import find_converted, keep_converted
from engine.graph.digests import file_digest
from engine.graph.graph import Graph
from engine.graph.onnx_file import prepared
from engine.graph.onnx_import import import_onnx
from engine.graph.pt2_check import check_exported
from engine.graph.quiet import quiet_exporter
from engine.graph.weights import WeightFiles

_OPSET = 20
"""Has LayerNormalization and Gelu whole."""


def from_torch(module: torch.nn.Module, example_inputs: tuple[Any, ...], name: str = "model") -> Graph:
    """The graph of a module, traced by torch's exporter for the shapes of the example inputs.

    The module is traced in evaluation mode and left in the mode it was in. The graph's digest is that of its nodes
    and weights, for there is no file.

    Raises:
        ModelFileError: Torch cannot export the module.
        GraphError: The exported graph cannot be used.
    """
    with _evaluating(module):
        model = _exported(module, example_inputs, name, None)
    graph = import_onnx(prepared(model, name, WeightFiles(Path(name)), None), {}, 1)
    parts = [repr(graph.nodes), *(constant.digest for constant in graph.constants.values())]
    return replace(graph, digest=hashlib.sha256("\n".join(parts).encode()).hexdigest())


def load_exported(path: Path, bindings: Mapping[str, int], batch: int) -> Graph:
    """Open a ``.pt2`` file.

    What torch converted it to is kept by its content (:mod:`engine.graph.conversion_cache`).

    Raises:
        ModelFileError: The file is damaged, or holds pickled objects.
        GraphError: The exported graph cannot be used.
    """
    digest = file_digest(path)
    source = find_converted(digest)
    if source is None:
        model = _exported(exported_program(path), (), path.stem, path)
        keep_converted(digest, model)
        source = prepared(model, path.stem, WeightFiles(path), None)
    graph = import_onnx(replace(source, name=path.stem, path=None), bindings, batch)
    return replace(graph, source=path, digest=digest)


def exported_program(path: Path) -> torch.export.ExportedProgram:
    """The program of a ``.pt2`` file, after :func:`check_exported` has made sure that no object in it is unpickled.

    Raises:
        ModelFileError: The file is damaged, or holds pickled objects.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror}", path=path) from error
    check_exported(path, content)
    try:
        return torch.export.load(io.BytesIO(content))  # the very bytes that were checked
    except Exception as error:  # torch raises many kinds for damaged archives
        raise ModelFileError(
            f"is not a program saved by torch.export.save: {error}", path=path, hint="save it again with this torch"
        ) from error


@contextmanager
def _evaluating(module: torch.nn.Module) -> Generator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _exported(
    program: torch.nn.Module | torch.export.ExportedProgram,
    example_inputs: tuple[Any, ...],
    name: str,
    path: Path | None,
) -> ir.Model:
    try:
        with quiet_exporter():
            exported = torch.onnx.export(  # pyright: ignore[reportUnknownMemberType]
                program, example_inputs, dynamo=True, opset_version=_OPSET, verbose=False, optimize=True
            )
    except Exception as error:  # whatever the traced module or the exporter raises
        raise ModelFileError(f"torch cannot export {name}: {error}", path=path) from error
    assert exported is not None  # a program is returned where no file is asked for
    return exported.model
