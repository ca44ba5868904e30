"""Frames on a byte stream: a 4-byte little-endian length, then that many bytes."""

from __future__ import annotations

from typing import IO

LENGTH_BYTES = 4
LARGEST_FRAME_BYTES = 1 << 30
"""A longer frame can only be garbage on the stream."""


def frame(payload: bytes) -> bytes:
    """The payload with its length in front."""
    return len(payload).to_bytes(LENGTH_BYTES, "little") + payload


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next payload; None at the end of the stream, even in the middle of a frame.

    Raises ValueError on a length that no frame has.
    """
    header = stream.read(LENGTH_BYTES)
    if len(header) < LENGTH_BYTES:
        return None
    length = int.from_bytes(header, "little")
    if length > LARGEST_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    payload = stream.read(length)
    return payload if len(payload) == length else None
