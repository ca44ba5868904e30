"""Where a model's weights lie: located and measured when the model opens, read when first asked for."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import cast

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from engine.errors import ModelFileError
from engine.graph.graph import Constant, TensorType
from engine.graph.wire import SELF_LOCATION

_SMALL_ELEMENTS = 4096
"""Tensors up to this size are decoded from the parsed model without keeping the model alive."""


class StoredConstant(Constant):
    """A constant that lies in a file: another that is computed from it need not keep it."""


class _DataFile:
    """One file, held open from the start: renaming or replacing it does not change what is read.

    It is read, not mapped: a mapped file that someone truncates kills the process that touches it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._stream = path.open("rb", buffering=0)
        except OSError as error:
            raise ModelFileError(f"cannot be read: {error.strerror}", path=path) from error
        weakref.finalize(self, self._stream.close)
        self._lock = threading.Lock()
        self._state = self._current_state()

    @property
    def size_bytes(self) -> int:
        return self._state[0]

    def read_into(self, target: NDArray[np.generic], offset: int) -> None:
        """Fill a contiguous array with the bytes from ``offset`` on.

        Raises:
            ModelFileError: The file was overwritten since it was opened, or cannot be read.
        """
        view = target.reshape(-1).view(np.uint8).data
        try:
            with self._lock:
                self._stream.seek(offset)
                filled = 0
                while filled < len(view) and (count := self._stream.readinto(view[filled:])):
                    filled += count
                changed = filled < len(view) or self._current_state() != self._state
        except OSError as error:
            raise ModelFileError(f"cannot be read: {error.strerror}", path=self.path) from error
        if changed:
            raise ModelFileError("was overwritten while it was open", path=self.path, hint="open it again")

    def _current_state(self) -> tuple[int, int]:
        status = os.fstat(self._stream.fileno())
        return status.st_size, status.st_mtime_ns


class WeightFiles:
    """The model file and the external data files beside it. Tensors are read when they are first asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, _DataFile] = {}

    @property
    def external_paths(self) -> list[Path]:
        """Files other than the model file that tensors refer to, sorted."""
        return sorted(file.path for location, file in self._files.items() if location != SELF_LOCATION)

    def constant(self, tensor: ir.TensorProtocol) -> Constant:
        """The tensor as a constant; external data is located and measured now, read later.

        Raises:
            ModelFileError: The data lies outside the model's folder, is missing, or is too short.
        """
        try:
            shape = tuple(int(size) for size in tensor.shape.numpy())
            if isinstance(tensor, ir.ExternalTensor):
                return self._external(tensor, shape)
            kind = _type(tensor, shape, self._path)
            if kind.element_count <= _SMALL_ELEMENTS:
                return _in_memory(kind, np.asarray(tensor.numpy()))
        except (ValueError, TypeError, AssertionError) as error:  # how the decoder takes malformed tensors
            raise ModelFileError(f"tensor '{tensor.name}' is malformed: {error}", path=self._path) from error
        return Constant(kind, lambda: np.asarray(tensor.numpy()).reshape(shape))

    def _external(self, tensor: ir.ExternalTensor, shape: tuple[int, ...]) -> Constant:
        kind = _type(tensor, shape, self._path)
        location = cast("str", tensor.location)  # pyright: ignore[reportUnknownMemberType]
        file = self._located(location, tensor.name)
        offset = tensor.offset or 0
        needed = -(-kind.element_count * tensor.dtype.bitwidth // 8)
        length = needed if tensor.length is None else tensor.length
        if length != needed:
            raise ModelFileError(
                f"tensor '{tensor.name}' of shape {list(shape)} needs {needed} bytes, the file declares {length}",
                path=self._path,
                hint="export the model again",
            )
        if offset < 0 or offset + length > file.size_bytes:
            raise ModelFileError(
                f"tensor '{tensor.name}' lies at bytes {offset} to {offset + length} of {file.path.name}, "
                f"which has {file.size_bytes}",
                path=self._path,
                hint="the data file is truncated: copy or export it again",
            )
        return StoredConstant(kind, _reader(file, offset, length, kind, tensor.dtype))

    def _located(self, location: str, tensor: str) -> _DataFile:
        known = self._files.get(location)
        if known is None:
            path = self._path if location == SELF_LOCATION else self._inside_folder(location, tensor)
            known = self._files[location] = _DataFile(path)
        return known

    def _inside_folder(self, location: str, tensor: str) -> Path:
        """The data file's path, having refused everything that leaves the model's folder."""
        folder = self._path.parent
        windows, posix = PureWindowsPath(location), PurePosixPath(location)
        leaves = windows.is_absolute() or bool(windows.drive) or posix.is_absolute() or ".." in windows.parts
        target = folder / location
        if leaves or not target.resolve().is_relative_to(folder.resolve()):
            raise ModelFileError(
                f"external data of tensor '{tensor}' points outside the model's folder: '{location}'",
                path=self._path,
                hint="put the data file beside the model and export with a relative location",
            )
        if not target.is_file():
            raise ModelFileError(
                f"external data file '{location}' of tensor '{tensor}' is missing",
                path=self._path,
                hint=f"put it into {folder}",
            )
        return target


def _reader(
    file: _DataFile, offset: int, length: int, kind: TensorType, dtype: ir.DataType
) -> Callable[[], NDArray[np.generic]]:
    def read() -> NDArray[np.generic]:
        if dtype.bitwidth < 8:  # packed elements: ONNX's own decoder
            packed = np.empty(length, np.uint8)
            file.read_into(packed, offset)
            return _unpacked(packed.tobytes(), kind, dtype)
        array = np.empty(kind.shape, dtype.numpy())
        if array.size:
            file.read_into(array, offset)
        return array

    return read


def _type(tensor: ir.TensorProtocol, shape: tuple[int, ...], path: Path) -> TensorType:
    if tensor.dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED):
        raise ModelFileError(
            f"tensor '{tensor.name}' has element type {tensor.dtype.name.lower()}, which cannot be computed with",
            path=path,
            hint="remove the text processing from the model",
        )
    return TensorType(shape, np.dtype(tensor.dtype.numpy()).name)


def _in_memory(kind: TensorType, array: NDArray[np.generic]) -> Constant:
    array = array.reshape(kind.shape)
    return Constant(kind, lambda: array)


def _unpacked(raw: bytes, kind: TensorType, dtype: ir.DataType) -> NDArray[np.generic]:
    proto = onnx.TensorProto(dims=kind.shape, data_type=int(dtype), raw_data=raw)
    return onnx.numpy_helper.to_array(proto)
