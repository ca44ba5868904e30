"""Opening model files of any supported kind."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from engine.errors import ModelFileError
from engine.graph.digests import combined_digest, file_digest
from engine.graph.graph import Graph
from engine.graph.onnx_file import open_onnx
from engine.graph.onnx_import import import_onnx
from engine.graph.torchscript_check import is_torchscript

Loader: TypeAlias = Callable[[Path, Mapping[str, int], int], Graph]

_PICKLE_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_ZIP_MAGIC = b"PK\x03\x04"


def load_model(path: str | Path, *, bindings: Mapping[str, int] | None = None, batch: int = 1) -> Graph:
    """Open a model file, by its content: ONNX, a program saved by ``torch.export`` (``.pt2``), or TorchScript.

    Args:
        path: The model file.
        bindings: Sizes for symbolic input dimensions, by name (``x.2`` for axis 2 of input ``x`` where it has none).
        batch: Size for symbolic leading dimensions.

    Raises:
        ModelFileError: The file is missing, damaged, of another kind, or refused (a pickle).
        GraphError: The graph is invalid or has unbound symbols.
    """
    path = Path(path)
    return _loader(path)(path, bindings or {}, batch)


def _loader(path: Path) -> Loader:
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror}", path=path) from error
    if head.startswith(_PICKLE_MAGIC):
        raise _pickle_refused(path)
    return _archive_loader(path) if head.startswith(_ZIP_MAGIC) else _load_onnx


def _archive_loader(path: Path) -> Loader:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ModelFileError("is a damaged archive", path=path, hint="copy or save the file again") from error
    if is_torchscript(names):
        return _load_torchscript
    if any(name.partition("/")[2].startswith("models/") or name.startswith("serialized_") for name in names):
        return _load_exported
    if any(name.rsplit("/", 1)[-1] in ("data.pkl", "constants.pkl") for name in names):
        raise _pickle_refused(path)
    raise ModelFileError("is an archive, but not of a model", path=path, hint="choose an .onnx, .pt2 or .pt file")


def _pickle_refused(path: Path) -> ModelFileError:
    return ModelFileError(
        "is a Python pickle (torch.save), which holds weights without a graph or could run code, and is never opened",
        path=path,
        hint="build the module, load the weights into it, and save torch.export.export(module, inputs) with "
        "torch.export.save as .pt2, or export it to ONNX",
    )


def _load_onnx(path: Path, bindings: Mapping[str, int], batch: int) -> Graph:
    with ThreadPoolExecutor(1) as background:  # hashing releases the interpreter's lock
        own_digest = background.submit(file_digest, path)
        model = open_onnx(path)
        graph = import_onnx(model, bindings, batch)
        others = [file_digest(external) for external in model.weights.external_paths]
        return replace(graph, digest=combined_digest([own_digest.result(), *others]))


def _load_exported(path: Path, bindings: Mapping[str, int], batch: int) -> Graph:
    from engine.graph.torch_import import load_exported

    return load_exported(path, bindings, batch)


def _load_torchscript(path: Path, bindings: Mapping[str, int], batch: int) -> Graph:
    from engine.graph.torchscript import load_torchscript

    return load_torchscript(path, bindings, batch)
