"""The wire-level reader: what it leaves is the same model, and noise never gets past it."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from engine.graph.wire import SELF_LOCATION, WireError, without_tensors
from tests.engine.graph.onnx_models import build, node

WEIGHT = np.arange(1024, dtype=np.float32)
INNER = onnx.helper.make_graph(
    [node("Constant", [], ["t"], value=numpy_helper.from_array(WEIGHT))], "inner", [], [onnx.ValueInfoProto(name="t")]
)
MODEL = build(
    [
        node("Constant", [], ["c"], value=numpy_helper.from_array(WEIGHT)),
        node("If", ["flag"], ["d"], then_branch=INNER, else_branch=INNER),
        node("Add", ["x", "w"], ["y"]),
    ],
    {"x": [1024]},
    ["y"],
    {"w": WEIGHT, "small": np.arange(8), "flag": np.array(True)},
)
CONTENT = MODEL.SerializeToString()


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    found = list(graph.initializer)
    for proto in graph.node:
        for attribute in proto.attribute:
            found += [attribute.t] if attribute.HasField("t") else []
            found += _tensors(attribute.g) if attribute.HasField("g") else []
    return found


def test_large_tensors_become_references_to_their_place() -> None:
    stripped = onnx.ModelProto.FromString(without_tensors(memoryview(CONTENT)))
    large = [t for t in _tensors(stripped.graph) if t.data_location == onnx.TensorProto.EXTERNAL]
    assert len(large) == 4
    for tensor in large:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        assert entries["location"] == SELF_LOCATION
        start = int(entries["offset"])
        assert CONTENT[start : start + int(entries["length"])] == WEIGHT.tobytes()


def test_all_else_stays() -> None:
    stripped = onnx.ModelProto.FromString(without_tensors(memoryview(CONTENT)))
    restored = onnx.ModelProto()
    restored.CopyFrom(stripped)
    for tensor in _tensors(restored.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = WEIGHT.tobytes()
    assert restored == MODEL
    assert len(without_tensors(memoryview(CONTENT))) < 2000


@pytest.mark.parametrize("kept", range(1, 100, 7))
def test_truncation_inside_the_graph_is_noticed(kept: int) -> None:
    with pytest.raises(WireError):
        without_tensors(memoryview(CONTENT[: len(CONTENT) * kept // 100]))


@given(st.binary(max_size=200))
def test_noise_is_refused_or_passed_on_unchanged(noise: bytes) -> None:
    """Small enough input has nothing to take out: what is accepted comes out as it went in."""
    with suppress(WireError):
        assert without_tensors(memoryview(noise)) == noise


@given(st.integers(0, len(CONTENT) - 1), st.integers(0, 255))
def test_a_changed_byte_never_crashes(place: int, byte: int) -> None:
    changed = bytearray(CONTENT)
    changed[place] = byte
    with suppress(WireError):
        without_tensors(memoryview(bytes(changed)))


def test_endless_nesting_is_refused() -> None:
    body = b"\x00" * 300
    for _ in range(80):
        # GraphProto.node (1) { NodeProto.attribute (5) { AttributeProto.g (6) { ... } } }
        for key in (6 << 3 | 2, 5 << 3 | 2, 1 << 3 | 2):
            body = bytes([key]) + _length(len(body)) + body
    with pytest.raises(WireError, match="nested too deeply"):
        without_tensors(memoryview(bytes([7 << 3 | 2]) + _length(len(body)) + body))


def _length(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
