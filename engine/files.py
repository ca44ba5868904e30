"""Writing files so that a failure never costs what was there before."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from engine.errors import QuantscopeError


@contextlib.contextmanager
def replacing(path: Path, error: type[QuantscopeError]) -> Generator[BinaryIO]:
    """A new binary file that takes the place of ``path`` when the block ends well; otherwise ``path`` is
    untouched.

    The new file is written beside the old one (the same disk, so that the exchange is atomic), flushed to the
    disk, and keeps the old one's permissions. A symbolic link stays a link: the file it names is exchanged.

    Raises:
        error: The file cannot be written: full disk, read-only or missing folder.
    """
    target = Path(os.path.realpath(path))
    try:
        with _temporary_beside(target) as (stream, temporary):
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            stream.close()
            _keep_mode(temporary, target)
            temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as failure:
        raise write_failure(path, failure, error) from failure


def write_atomic(path: Path, data: bytes | str, error: type[QuantscopeError]) -> None:
    """Replace the content of ``path`` by ``data`` (text as UTF-8, line ends as they are), or leave it
    untouched.

    Raises:
        error: The file cannot be written: full disk, read-only or missing folder.
    """
    with replacing(path, error) as stream:
        stream.write(data.encode() if isinstance(data, str) else data)


def check_folder(path: Path, error: type[QuantscopeError]) -> None:
    """Raise where a file at ``path`` could not be written because of its folder: long work asks before it begins.

    Raises:
        error: The folder is not there, is none, or may not be written to.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise error("cannot be written: its folder is not there", path=path, hint="make the folder, or choose another")
    if not os.access(folder, os.W_OK):
        raise error("cannot be written: its folder is read-only", path=path, hint="choose another folder")


def write_failure(path: Path, failure: OSError, error: type[QuantscopeError]) -> QuantscopeError:
    """The one-line error for a file that could not be written."""
    reason = failure.strerror or str(failure) or type(failure).__name__
    hint = "what was there before is unchanged; free space or choose another folder"
    return error(f"cannot be written: {reason}", path=path, hint=hint)


@contextlib.contextmanager
def _temporary_beside(target: Path) -> Generator[tuple[BinaryIO, Path]]:
    """A temporary file in the target's folder, open for writing, that is removed unless it was moved away."""
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only")
    temporary = target.with_name(f".{target.name[:64]}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream, temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _keep_mode(temporary: Path, target: Path) -> None:
    """Give the new file the permissions of the one that it replaces."""
    with contextlib.suppress(OSError):
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))


def _sync_folder(folder: Path) -> None:
    """Make the exchange itself durable, where the system lets a folder be synchronised (Windows does not)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
