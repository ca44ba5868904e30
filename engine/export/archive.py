"""The package's container: a zip with the same bytes for the same content, and a reader that trusts nothing in it."""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from engine.errors import PackageError
from engine.export.records import Array, array_digest

EXPORT_AGAIN = "export the package again"
TEXT_LIMIT_BYTES = 256 << 20
"""Most that all compressed members together may unfold to. Arrays and models are stored as they are."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every member: the first that a zip can express."""

_MAX_MEMBERS = 1_000_000
_ARRAY = "arrays/{}.npy"


def write_archive(stream: BinaryIO, members: Mapping[str, bytes]) -> None:
    """Write members sorted by name. JSON is compressed, everything else stored."""
    with zipfile.ZipFile(stream, "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
            archive.writestr(info, members[name], compresslevel=6)


def json_bytes(value: object) -> bytes:
    """JSON as UTF-8, keys sorted, an entry a line."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1).encode()


def array_member(digest: str, array: Array) -> tuple[str, bytes]:
    """Name and content of the member that holds an array."""
    return _ARRAY.format(digest), array_bytes(array)


def array_bytes(array: Array) -> bytes:
    """An array in numpy's own format, row-major."""
    stream = io.BytesIO()
    npy.write_array(stream, np.array(array, order="C"), version=(1, 0), allow_pickle=False)
    return stream.getvalue()


class Archive:
    """A package file open for reading. Every failure is a PackageError of one line that names the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise PackageError(f"cannot be read: {error.strerror or error}", path=path) from error
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise self.damaged(f"is not a package or is damaged ({error})") from error
        try:
            self._members = self._checked()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def damaged(self, message: str) -> PackageError:
        """The error for content that no export of this program wrote."""
        return PackageError(message, path=self.path, hint=EXPORT_AGAIN)

    def _checked(self) -> Mapping[str, zipfile.ZipInfo]:
        """The directory, having refused sizes that the file cannot hold."""
        infos = self._zip.infolist()
        members = {info.filename: info for info in infos}
        if len(members) != len(infos) or len(infos) > _MAX_MEMBERS:
            raise self.damaged("is damaged: its directory lists a member twice")
        stored = sum(info.file_size for info in infos if info.compress_type == zipfile.ZIP_STORED)
        unfolded = sum(info.file_size for info in infos if info.compress_type != zipfile.ZIP_STORED)
        if stored > self.path.stat().st_size or unfolded > TEXT_LIMIT_BYTES:
            total = stored + unfolded
            raise self.damaged(f"declares {total} bytes of content, more than a package of its size can hold")
        return members

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        """A member's bytes, checked by the zip's own checksum."""
        info = self._members.get(name)
        if info is None:
            raise self.damaged(f"'{name}' is missing in it")
        try:
            return self._zip.read(info)
        except (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise self.damaged(f"'{name}' is damaged ({error})") from error

    def json(self, name: str) -> dict[str, Any]:
        """A member that holds a JSON object."""
        try:
            value = json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise self.damaged(f"'{name}' is not JSON ({error})") from error
        if not isinstance(value, dict):
            raise self.damaged(f"'{name}' is not a JSON object")
        return value  # pyright: ignore[reportUnknownVariableType]

    def array(self, digest: str) -> Array:
        """An array by its digest, which its content must have; read-only."""
        name = _ARRAY.format(digest)
        stream = io.BytesIO(self.read(name))
        try:
            array = _parsed_array(stream)
        except (ValueError, EOFError, OSError) as error:
            raise self.damaged(f"'{name}' is not an array ({error})") from error
        if array_digest(array) != digest:
            raise self.damaged(f"'{name}' does not have the content that its name says")
        return array


def _parsed_array(stream: io.BytesIO) -> Array:
    """An array in numpy's format 1.0, whose size is that of the data (read-only, over the bytes that were read)."""
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("it is not in format 1.0")
    shape, fortran_order, dtype = npy.read_array_header_1_0(stream)
    data = stream.getbuffer()[stream.tell() :].toreadonly()
    if dtype.hasobject or fortran_order or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"its header declares {dtype}{list(shape)}, its data has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape)
