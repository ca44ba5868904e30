"""Blocks, cycles and bytes of passes, pinned to what Vela 5.2 reports of the demo models and EfficientNet-Lite0."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.simulate.ethos.blocks import blocks_of
from engine.simulate.ethos.cost import pass_cost
from engine.simulate.ethos.npu import Npu
from engine.simulate.ethos.passes import FeatureMap, Part, Pass, Weights
from tests.engine.simulate.ethos.engines import U55, U85

EXPAND = Pass(
    Part.CONVOLUTION,
    FeatureMap(28, 28, 16, is_brick=True),
    FeatureMap(28, 28, 32, is_brick=True),
    output_cycles=0.25,
    weights=Weights(656, 320),
)
DEPTHWISE = Pass(
    Part.DEPTHWISE,
    FeatureMap(28, 28, 32, is_brick=True),
    FeatureMap(14, 14, 32),
    kernel=(3, 3),
    strides=(2, 2),
    output_cycles=0.25,
    weights=Weights(416, 320),
)
QUICK = replace(DEPTHWISE, ofm=FeatureMap(14, 14, 32, is_brick=True), output_cycles=0.0625, weights=Weights(512, 320))
HEAD = Pass(
    Part.CONVOLUTION,
    FeatureMap(7, 7, 320, is_brick=True),
    FeatureMap(1280, 7, 7),
    output_cycles=0.0625,
    weights=Weights(386416, 12800),
    computed=(7, 7, 1280),
)
SUM = Pass(Part.SUM, FeatureMap(1, 3136, 96, 4), FeatureMap(1, 3136, 1, 4), output_cycles=0.25)
FAR_SUM = replace(
    SUM,
    ifm=replace(SUM.ifm, is_near=False),
    ofm=replace(SUM.ofm, is_near=False),
    output_cycles=0.0625,
)
WIDEN = Pass(
    Part.ELEMENTWISE, FeatureMap(1, 3136, 96, is_brick=True), FeatureMap(1, 3136, 96, 4), output_cycles=0.75
)
TURN = Pass(
    Part.POOLING,
    FeatureMap(56, 8, 672),
    FeatureMap(56, 672, 8, is_near=False),
    output_cycles=0.0625,
    computed=(56, 8, 672),
)


@pytest.mark.parametrize(
    ("item", "npu", "ofm", "ifm"),
    [
        (EXPAND, U55, (4, 28, 32), (4, 28, 16)),
        (DEPTHWISE, U55, (8, 14, 16), (18, 30, 16)),
        (SUM, U55, (2, 4, 8), (2, 4, 32)),
        (EXPAND, U85, (8, 28, 32), (8, 28, 16)),
        (DEPTHWISE, U85, (18, 8, 16), (38, 20, 16)),
        (HEAD, U85, (7, 8, 128), (7, 8, 64)),
        (SUM, U85, (2, 32, 16), (2, 32, 32)),
    ],
)
def test_blocks_are_those_that_vela_reports(
    item: Pass, npu: Npu, ofm: tuple[int, int, int], ifm: tuple[int, int, int]
) -> None:
    found = blocks_of(item, npu)
    assert (found.ofm, found.ifm) == (ofm, ifm)


@pytest.mark.parametrize(
    ("item", "npu", "engine_cycles", "near_bytes", "far_bytes"),
    [
        (EXPAND, U55, 7456, 45440, 976),
        (DEPTHWISE, U55, 4320, 47008, 736),
        (SUM, U55, 75433, 1204224 + 12544, 0),
        (WIDEN, U55, 225792, 301056 + 1204224, 0),
        (QUICK, U85, 1198, 44608, 832),
        (FAR_SUM, U85, 38984, 0, 1204224 + 25088),
    ],
)
def test_cycles_and_bytes_are_those_that_vela_reports(
    item: Pass, npu: Npu, engine_cycles: int, near_bytes: int, far_bytes: int
) -> None:
    found = pass_cost(item, npu)
    assert found.engine_cycles == pytest.approx(engine_cycles, rel=0.005)
    assert (found.near.total_bytes, found.far.total_bytes) == (near_bytes, far_bytes)


def test_weights_of_what_is_written_transposed_are_counted_over_the_transposed_blocks() -> None:
    """183 times 386,416 bytes for the head of EfficientNet-Lite0: Vela's count, which no chip would read."""
    found = pass_cost(HEAD, U85)
    assert found.far.total_bytes == 183 * (386416 + 12800)
    assert found.is_memory_bound
    plain = pass_cost(replace(HEAD, ofm=FeatureMap(7, 7, 1280, is_brick=True), computed=None), U85)
    assert plain.far.total_bytes == 386416 + 12800


def test_a_transposition_reads_its_input_for_each_block_of_the_transposed_shape() -> None:
    found = pass_cost(TURN, U85)
    assert found.near.read_bytes == 25288704
    assert found.far.write_bytes == 301056 * 8


@pytest.mark.parametrize("npu", [U55, U85])
def test_weights_that_are_read_once_stay_where_they_are(npu: Npu) -> None:
    """Copying a long row of weights takes longer than the one row of results."""
    item = Pass(Part.CONVOLUTION, FeatureMap(1, 1, 1280), FeatureMap(1, 1, 1000), weights=Weights(1165328, 10000))
    found = pass_cost(item, npu)
    assert found.far.read_bytes == 1175328
    assert found.near.write_bytes < 10_000


_SIZES = st.integers(1, 70)


@given(
    npu=st.sampled_from([U55, U85]),
    part=st.sampled_from([Part.CONVOLUTION, Part.DEPTHWISE, Part.POOLING, Part.COPY, Part.ELEMENTWISE, Part.SUM]),
    height=_SIZES,
    width=_SIZES,
    depth=_SIZES,
    outputs=_SIZES,
    window=st.integers(1, 9),
    bytes_each=st.sampled_from([1, 2, 4]),
)
def test_blocks_fit_the_buffers_and_costs_are_finite(
    npu: Npu, part: Part, height: int, width: int, depth: int, outputs: int, window: int, bytes_each: int
) -> None:
    channels = {Part.CONVOLUTION: outputs, Part.SUM: 1}.get(part, depth)
    kernel = (window, window) if part in (Part.CONVOLUTION, Part.DEPTHWISE, Part.POOLING) else (1, 1)
    item = Pass(
        part,
        FeatureMap(height + window - 1 if kernel[0] > 1 else height, width, depth, min(bytes_each, 2)),
        FeatureMap(height, width, channels, bytes_each),
        kernel=kernel,
        output_cycles=0.25,
    )
    blocks = blocks_of(item, npu)
    assert npu.fits(item, blocks.ofm, blocks.ifm)
    assert all(size % part == 0 for size, part in zip(blocks.ofm[:2], blocks.micro[:2], strict=True))
    found = pass_cost(item, npu)
    assert found.cycles > 0
    assert found.near.read_bytes >= item.ifm.elements * item.ifm.width_bytes // (2 if part is Part.POOLING else 1) // 4
    twice = pass_cost(replace(item, repeats=2), npu)
    assert twice.cycles == pytest.approx(2 * found.cycles)
    assert twice.near.total_bytes == 2 * found.near.total_bytes
