"""Content hashes of model files: a project recognises its model by them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from engine.errors import ModelFileError


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, read in pieces.

    Raises:
        ModelFileError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror}", path=path) from error


def combined_digest(digests: Sequence[str]) -> str:
    """One digest for several files; a single file keeps its own."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()
