"""Where a model's weights lie, read only when asked for and mapped rather than copied."""

from __future__ import annotations

import mmap
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


class WeightFiles:
    """The model file and the external data files beside it, each mapped once, on first use.

    Mappings are private (copy on write): nothing that is done to an array can reach the user's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._maps: dict[Path, mmap.mmap] = {}
        self._sizes: dict[str, tuple[Path, int]] = {}

    @property
    def external_paths(self) -> list[Path]:
        """Files other than the model file that tensors refer to, sorted."""
        return sorted({path for location, (path, _) in self._sizes.items() if location != SELF_LOCATION})

    def constant(self, tensor: ir.TensorProtocol) -> Constant:
        """The tensor as a constant; external data is located and measured now, read later.

        Raises:
            ModelFileError: The data lies outside the model's folder, is missing, or is too short.
        """
        shape = tuple(int(size) for size in tensor.shape.numpy())
        if isinstance(tensor, ir.ExternalTensor):
            return self._external(tensor, shape)
        kind = _type(tensor, shape, self._path)
        if kind.element_count <= _SMALL_ELEMENTS:
            return _in_memory(kind, np.asarray(tensor.numpy()))
        return Constant(kind, lambda: np.asarray(tensor.numpy()).reshape(shape))

    def _external(self, tensor: ir.ExternalTensor, shape: tuple[int, ...]) -> Constant:
        kind = _type(tensor, shape, self._path)
        location = cast("str", tensor.location)  # pyright: ignore[reportUnknownMemberType]
        file, file_bytes = self._located(location, tensor.name)
        offset = tensor.offset or 0
        needed = -(-kind.element_count * tensor.dtype.bitwidth // 8)
        length = needed if tensor.length is None else tensor.length
        if length != needed:
            raise ModelFileError(
                f"tensor '{tensor.name}' of shape {list(shape)} needs {needed} bytes, the file declares {length}",
                path=self._path,
                hint="export the model again",
            )
        if offset < 0 or offset + length > file_bytes:
            raise ModelFileError(
                f"tensor '{tensor.name}' lies at bytes {offset} to {offset + length} of {file.name}, "
                f"which has {file_bytes}",
                path=self._path,
                hint="the data file is truncated: copy or export it again",
            )
        return Constant(kind, self._reader(file, offset, length, kind, tensor.dtype))

    def _reader(
        self, file: Path, offset: int, length: int, kind: TensorType, dtype: ir.DataType
    ) -> Callable[[], NDArray[np.generic]]:
        if dtype.bitwidth < 8:  # packed elements: ONNX's own decoder
            return lambda: _unpacked(bytes(self._mapped(file)[offset : offset + length]), kind, dtype)
        numpy_type = dtype.numpy()

        def read() -> NDArray[np.generic]:
            if not kind.element_count:
                return np.zeros(kind.shape, numpy_type)
            return np.frombuffer(self._mapped(file), numpy_type, kind.element_count, offset).reshape(kind.shape)

        return read

    def _mapped(self, file: Path) -> mmap.mmap:
        mapped = self._maps.get(file)
        if mapped is None:
            try:
                with file.open("rb") as stream:
                    mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
            except (OSError, ValueError) as error:
                raise ModelFileError(f"cannot be read: {error}", path=file) from error
            self._maps[file] = mapped
        return mapped

    def _located(self, location: str, tensor: str) -> tuple[Path, int]:
        known = self._sizes.get(location)
        if known is None:
            file = self._path if location == SELF_LOCATION else self._inside_folder(location, tensor)
            known = self._sizes[location] = file, file.stat().st_size
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
