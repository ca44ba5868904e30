"""What a TorchScript archive may contain before torch is allowed to open it.

``torch.jit.load`` unpickles in C++, without Python's classes or functions, but compiles the archive's source code and
runs its ``__setstate__`` methods, and exporting runs the rest. TorchScript can write files (``torch.save``), map any
file (``torch.from_file``), call other processes and use classes and operators of loaded libraries. Source that names
any of these is refused before it is compiled.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

from engine.errors import ModelFileError

_HINT = "export the model to ONNX, or save torch.export.export(model, inputs) with torch.export.save as .pt2"

_CODE = re.compile(r"[^/]+/code/.*\.py")
_FORBIDDEN_WORD = re.compile(rb"\b(save|from_file|load_tensor|rpc_\w+)\b")
_OPERATOR_LIBRARY = re.compile(rb"\bops\s*\.\s*(\w+)")
_LIBRARIES = frozenset({b"aten", b"prim", b"prims", b"quantized", b"torchvision"})
_CUSTOM_CLASS = re.compile(rb"__torch__\.torch\.classes\.(\w+)")
_CLASSES = frozenset({b"quantized"})


def is_torchscript(names: list[str]) -> bool:
    """Whether an archive with these members was saved by ``torch.jit.save``."""
    inner = {name.split("/", 1)[-1] for name in names}
    return {"data.pkl", "constants.pkl"} <= inner and any(name.startswith("code/") for name in inner)


def check_torchscript(path: Path, content: bytes) -> None:
    """Refuse an archive whose code could do more than compute.

    Raises:
        ModelFileError: The archive is damaged, or its code names a function, library or class that is not allowed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                if _CODE.fullmatch(name):
                    _check_code(path, name, archive.read(name))
                elif name.endswith(".pkl"):
                    _check_classes(path, name, archive.read(name))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ModelFileError(f"is a damaged TorchScript archive: {error}", path=path, hint=_HINT) from error


def _check_code(path: Path, name: str, source: bytes) -> None:
    word = _FORBIDDEN_WORD.search(source)
    if word is not None:
        raise _refused(path, name, f"names '{word[1].decode()}'")
    for library in _OPERATOR_LIBRARY.findall(source):
        if library not in _LIBRARIES:
            raise _refused(path, name, f"uses operators of the library '{library.decode()}'")
    _check_classes(path, name, source)


def _check_classes(path: Path, name: str, data: bytes) -> None:
    for custom in _CUSTOM_CLASS.findall(data):
        if custom not in _CLASSES:
            raise _refused(path, name, f"uses classes of the library '{custom.decode()}'")


def _refused(path: Path, name: str, what: str) -> ModelFileError:
    inner = name.split("/", 1)[-1]
    message = f"{what} in {inner}; running it could do more than compute, so it is refused"
    return ModelFileError(message, path=path, hint=_HINT)
