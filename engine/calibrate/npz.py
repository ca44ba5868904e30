"""Reading rows of the arrays in an ``.npz`` file without loading the arrays."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from engine.errors import DataError

_LOCAL_HEADER = struct.Struct("<26xHH")
"""Of a zip member: 26 bytes that the central directory repeats, then the lengths of name and extra field."""

_HINT = "write it anew with numpy.savez(file, name=array)"


class NpzArray:
    """One array of an ``.npz`` file, read row by row (a row is ``array[i]``).

    An uncompressed array is mapped into memory; a compressed one is decompressed as far as it is read, so
    reading rows in ascending order decompresses it once and holds one row.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._member = f"{name}.npy"
        self._stream: IO[bytes] | None = None
        self._mapped: NDArray[Any] | None = None
        with zipfile.ZipFile(path) as archive, archive.open(self._member) as stream:
            self.shape, self.dtype = self._header(stream)
            self._data_offset = stream.tell()
            info = archive.getinfo(self._member)
        if info.compress_type == zipfile.ZIP_STORED and self._row_bytes > 0:
            self._map(info)

    @property
    def name(self) -> str:
        return self._name

    def rows(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """The rows ``array[indices]``, [len(indices), *shape[1:]], newly allocated.

        Raises:
            DataError: The file is truncated, damaged or gone.
        """
        if self._mapped is not None:
            return np.array(self._mapped[np.asarray(indices, np.intp)])
        out = np.empty((len(indices), *self.shape[1:]), self.dtype)
        try:
            for place, index in enumerate(indices):
                out[place] = self._read_row(int(index))
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as failure:
            raise self._damaged(failure) from failure
        return out

    def all(self) -> NDArray[Any]:
        """The whole array; for labels and splits, which are small."""
        return self.rows(range(self.shape[0]))

    def close(self) -> None:
        """Release the file. Reading again opens it again."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    def _header(self, stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read(stream)
        if dtype.hasobject:
            message = f"array '{self._name}' holds Python objects (a pickle), which is never loaded"
            raise DataError(message, path=self._path, hint="save plain numbers")
        if fortran_order and len(shape) > 1:
            message = f"array '{self._name}' is stored in Fortran order"
            raise DataError(message, path=self._path, hint="save numpy.ascontiguousarray(array)")
        if not shape:
            message = f"array '{self._name}' is a single number, expected one row a sample"
            raise DataError(message, path=self._path)
        return tuple(shape), dtype

    def _map(self, info: zipfile.ZipInfo) -> None:
        with self._path.open("rb") as file:
            file.seek(info.header_offset)
            name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        offset = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes + self._data_offset
        if 0 not in self.shape:
            self._mapped = np.memmap(self._path, self.dtype, "r", offset, self.shape)

    def _read_row(self, index: int) -> NDArray[Any]:
        if self._stream is None:
            with zipfile.ZipFile(self._path) as archive:
                self._stream = archive.open(self._member)  # holds the file open by itself
        start = self._data_offset + index * self._row_bytes
        if self._stream.tell() != start:
            self._stream.seek(start)
        data = self._stream.read(self._row_bytes)
        if len(data) != self._row_bytes:
            raise EOFError(f"row {index} is cut off")
        return np.frombuffer(data, self.dtype).reshape(self.shape[1:])

    def _damaged(self, failure: Exception) -> DataError:
        return DataError(f"array '{self._name}' cannot be read: {failure}", path=self._path, hint=_HINT)


def open_npz(path: Path) -> Mapping[str, NpzArray]:
    """The arrays of an ``.npz`` file by name; nothing but their headers is read.

    Raises:
        DataError: The file is missing, no ``.npz``, damaged, or holds objects (pickles).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        return MappingProxyType({name: NpzArray(path, name) for name in names})
    except DataError:
        raise
    except OSError as failure:
        raise DataError(f"cannot be read: {failure.strerror or failure}", path=path) from failure
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as failure:
        raise DataError(f"is not a readable .npz file ({failure})", path=path, hint=_HINT) from failure
