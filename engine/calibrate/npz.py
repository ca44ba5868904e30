"""Reading rows of the arrays in an ``.npz`` file without loading the arrays."""

from __future__ import annotations

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Generator, Mapping, Sequence
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

    Rows of an uncompressed array are read where they lie; a compressed one is decompressed as far as it is read, so
    reading rows in ascending order decompresses it once. Only the rows asked for are in memory. The file is not
    mapped: a mapped file that another program shortens would end this process.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._member = f"{name}.npy"
        self._version = _version_of(path)
        self._decompressed: IO[bytes] | None = None
        with zipfile.ZipFile(path) as archive, archive.open(self._member) as stream:
            self.shape, self.dtype = self._header(stream)
            self._first_row = stream.tell()
            info = archive.getinfo(self._member)
        if self._first_row + self.shape[0] * self._row_bytes > info.file_size:
            raise ValueError(f"array '{name}' is shorter than its header says")
        self._stored = info.compress_type == zipfile.ZIP_STORED
        if self._stored:
            self._first_row += _member_start(path, info)

    @property
    def name(self) -> str:
        return self._name

    def rows(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """The rows ``array[indices]``, [len(indices), *shape[1:]], newly allocated.

        Raises:
            DataError: The file was changed since it was opened, or is truncated, damaged or gone.
        """
        out = np.empty((len(indices), *self.shape[1:]), self.dtype)
        try:
            if _version_of(self._path) != self._version:
                raise DataError("was changed while it was open", path=self._path, hint="open it again")
            with self._stream() as stream:
                for place, index in enumerate(indices):
                    out[place] = self._read_row(stream, int(index))
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as failure:
            message = f"array '{self._name}' cannot be read: {failure}"
            raise DataError(message, path=self._path, hint=_HINT) from failure
        return out

    def all(self) -> NDArray[Any]:
        """The whole array; for labels and splits, which are small."""
        return self.rows(range(self.shape[0]))

    @contextlib.contextmanager
    def _stream(self) -> Generator[IO[bytes]]:
        """Where the rows are read from. Decompression goes on where it stopped, so its stream stays open."""
        if self._stored:
            with self._path.open("rb") as file:
                yield file
            return
        if self._decompressed is None:
            with zipfile.ZipFile(self._path) as archive:
                self._decompressed = archive.open(self._member)  # holds the file open by itself
        yield self._decompressed

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

    def _read_row(self, stream: IO[bytes], index: int) -> NDArray[Any]:
        start = self._first_row + index * self._row_bytes
        if stream.tell() != start:
            stream.seek(start)
        data = stream.read(self._row_bytes)
        if len(data) != self._row_bytes:
            raise EOFError(f"row {index} is cut off")
        return np.frombuffer(data, self.dtype).reshape(self.shape[1:])


def _version_of(path: Path) -> tuple[int, int]:
    """Size and time of the last change: what tells that a file was written anew."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _member_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where in the file the bytes of an uncompressed zip member begin."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    return info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes


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
    except (ValueError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error) as failure:
        raise DataError(f"is not a readable .npz file ({failure})", path=path, hint=_HINT) from failure
