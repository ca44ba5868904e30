"""Frames come out whole whatever pieces they arrive in; anything else is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EngineCrash
from engine.framing import LARGEST_FRAME_BYTES, frame
from engine.service.messages import AnyRequest, Done, Progress, UpdatePlan
from gui.client.framing import FrameReader, FrameWriter
from tests.gui import samples

ANSWERS = (Progress(id=1, stage="reading", done=1, total=2), samples.opened(), Done(id=1))


def encoded() -> bytes:
    return b"".join(frame(msgspec.msgpack.encode(answer)) for answer in ANSWERS)


@given(st.lists(st.integers(min_value=1, max_value=900), min_size=1, max_size=40))
def test_answers_survive_any_cutting(sizes: list[int]) -> None:
    data, reader, answers, start = encoded(), FrameReader(), [], 0
    for size in sizes:
        answers += reader.feed(data[start : start + size])
        start += size
    answers += reader.feed(data[start:])
    assert tuple(answers) == ANSWERS


def test_requests_read_back() -> None:
    request = UpdatePlan(id=3, revision=7, plan=samples.opened().plan)
    body = FrameWriter().frame(request)[4:]
    assert msgspec.msgpack.decode(body, type=AnyRequest) == request


@pytest.mark.parametrize(
    "garbage",
    [b"Traceback (most recent call last)", (LARGEST_FRAME_BYTES + 1).to_bytes(4, "little"), frame(b"\x93\x01\x02\x03")],
)
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(EngineCrash, match="the engine process sent"):
        FrameReader().feed(garbage)
