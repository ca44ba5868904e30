"""Programs of ``torch.export`` converted to ONNX, kept by content in the user's cache: converting takes torch long."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir

from engine.errors import ModelFileError, QuantscopeError
from engine.files import write_atomic
from engine.graph.onnx_file import OnnxModel, open_onnx

_MOST_BYTES = 2_000_000_000
"""What all entries may take; also about the largest that ONNX's format can hold in one file."""


def cache_folder() -> Path:
    """The user's folder for converted models; not created here."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "quantscope" / "models"


def find_converted(digest: str) -> OnnxModel | None:
    """The model that the file of this digest was converted to, or None where it is not kept (or damaged)."""
    path = _entry(digest)
    if not path.is_file():
        return None
    try:
        model = open_onnx(path)
        path.touch()  # the least recently used go first
    except (OSError, QuantscopeError):
        return None
    return model


def keep_converted(digest: str, model: ir.Model) -> None:
    """Keep a conversion, dropping old ones to stay within the bound; one that cannot be written is not kept."""
    if sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value) >= _MOST_BYTES:
        return
    path = _entry(digest)
    with contextlib.suppress(OSError, ModelFileError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, ir.to_proto(model).SerializeToString(), ModelFileError)
        _prune(path.parent)


def _prune(folder: Path) -> None:
    """Remove entries beyond the bound, the least recently used first."""
    kept_bytes = 0
    for entry in sorted(folder.glob("*.onnx"), key=lambda entry: entry.stat().st_mtime, reverse=True):
        kept_bytes += entry.stat().st_size
        if kept_bytes > _MOST_BYTES:
            entry.unlink(missing_ok=True)


def _entry(digest: str) -> Path:
    """Where the conversion of a file lies: it depends on the file and on what converts it."""
    makers = [f"{name} {version(name)}" for name in ("torch", "onnx", "onnxscript", "onnx-ir")]
    key = hashlib.sha256("\n".join([digest, *makers]).encode()).hexdigest()
    return cache_folder() / f"{key[:40]}.onnx"
