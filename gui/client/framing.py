"""Frames on the pipe between the window and the engine: a 4-byte little-endian length, then msgpack. Qt-
free.
"""

from __future__ import annotations

import msgspec

from engine.errors import EngineCrash
from engine.framing import LARGEST_FRAME_BYTES, LENGTH_BYTES, frame
from engine.service.messages import AnyAnswer, AnyRequest


class FrameWriter:
    """Turns requests into frames."""

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()

    def frame(self, request: AnyRequest) -> bytes:
        return frame(self._encoder.encode(request))


class FrameReader:
    """Collects bytes and hands out each answer once its frame is whole."""

    def __init__(self) -> None:
        self._decoder: msgspec.msgpack.Decoder[AnyAnswer] = msgspec.msgpack.Decoder(AnyAnswer)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[AnyAnswer]:
        """Add what was read and return the answers that are now complete, in order.

        Raises:
            EngineCrash: the bytes are no frames; nothing after them can be trusted.
        """
        self._buffer += data
        answers: list[AnyAnswer] = []
        start = 0
        while (end := self._end_of_frame(start)) is not None:
            answers.append(self._decoded(bytes(self._buffer[start + LENGTH_BYTES : end])))
            start = end
        del self._buffer[:start]
        return answers

    def _end_of_frame(self, start: int) -> int | None:
        body = start + LENGTH_BYTES
        if len(self._buffer) < body:
            return None
        length = int.from_bytes(self._buffer[start:body], "little")
        if length > LARGEST_FRAME_BYTES:
            raise EngineCrash(f"the engine process sent something else than answers (a frame of {length} bytes)")
        return body + length if len(self._buffer) >= body + length else None

    def _decoded(self, body: bytes) -> AnyAnswer:
        try:
            return self._decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise EngineCrash(f"the engine process sent an answer that cannot be read: {error}") from error
