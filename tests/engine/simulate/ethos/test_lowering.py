"""Steps as passes: transpositions, chains, and what operators become."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.simulate.ethos.lowering import LOWERINGS, swaps, without_units
from engine.simulate.ethos.npu import Npu
from engine.simulate.ethos.passes import Part, Pass
from engine.simulate.ethos.steps import Kind, Step, Steps, Value
from engine.simulate.ethos.weights import Statistics
from tests.engine.simulate.ethos.engines import U55, U85

PARTITION = ((1, 8, 7, 8, 7, 96), (0, 1, 3, 2, 4, 5))


def passes(steps: Steps, npu: Npu) -> tuple[Pass, ...]:
    """With all values in SRAM."""
    lowering = LOWERINGS[type(npu)](
        npu, {}, lambda value, name: not value.is_constant, lambda name: False, lambda name: Statistics(7.0, 0.0)
    )
    return lowering.passes(steps)


def test_window_partition_is_five_transpositions() -> None:
    """The shapes that Vela 5.2 reports for a Swin block."""
    found = [shape for shape, _ in swaps(*without_units(*PARTITION))]
    assert found == [(8, 7, 5376), (56, 8, 672), (7, 5376, 8), (64, 672, 7), (8, 8, 4704)]


@given(data=st.data(), shape=st.lists(st.integers(1, 4), min_size=2, max_size=6))
def test_exchanges_put_every_element_where_the_transposition_does(data: st.DataObject, shape: list[int]) -> None:
    perm = data.draw(st.permutations(range(len(shape))))
    values = np.arange(np.prod(shape)).reshape(shape)
    found = values
    for block, order in swaps(*without_units(tuple(shape), perm)):
        found = found.reshape(block).transpose(order)
    assert found.ravel().tolist() == values.transpose(perm).ravel().tolist()


def chain() -> Iterator[Steps]:
    steps = Steps()
    x = Value((196, 96), 4)
    y = steps.binary(Kind.MULTIPLY, x, x)
    z = steps.binary(Kind.OTHER, y)
    steps.binary(Kind.ADD, z, Value((196, 1), 4))
    yield steps


def test_functions_of_each_other_are_one_pass_on_an_ethos_u85() -> None:
    (steps,) = chain()
    (one,) = passes(steps, U85)
    assert one.output_cycles == 0.125 + 0.125 + 0.25
    assert [other.elements for other in one.others] == [196]
    assert len(passes(steps, U55)) == 3


def test_a_value_that_two_read_ends_a_chain() -> None:
    steps = Steps()
    x = steps.unary(Value((196, 96), 4))
    steps.binary(Kind.OTHER, x)
    steps.binary(Kind.ADD, x)
    assert len(passes(steps, U85)) == 3


def test_no_chain_is_longer_than_four() -> None:
    steps = Steps()
    x = Value((196, 96), 4)
    for _ in range(6):
        x = steps.binary(Kind.OTHER, x)
    assert len(passes(steps, U85)) == 2


def test_a_table_of_int16_is_six_passes_on_an_ethos_u55() -> None:
    steps = Steps()
    steps.table16(Value((196, 96), 2))
    parts = [item.part for item in passes(steps, U55)]
    assert parts == [Part.POOLING] * 3 + [Part.ELEMENTWISE] * 3
    assert len(passes(steps, U85)) == 1


def test_a_convolution_writes_its_results_transposed_on_an_ethos_u85_only() -> None:
    steps = Steps()
    image = Value((1, 7, 7, 64), 1, "x", is_image=True)
    made = Value((1, 7, 7, 192), 1, "y", is_image=True)
    steps.add(Step(Kind.CONVOLUTION, (image, Value((192, 64, 1, 1), 1, "w", is_constant=True)), made))
    steps.transpose(made, (0, 3, 1, 2))
    (one,) = passes(steps, U85)
    assert (one.ofm.shape, one.computed) == ((192, 7, 7), (7, 7, 192))
    assert [item.part for item in passes(steps, U55)] == [Part.CONVOLUTION, Part.SHUFFLE, Part.SHUFFLE]


def test_a_product_of_tensors_is_a_pass_a_batch_or_two_a_column() -> None:
    steps = Steps()
    a, b = Value((6, 49, 16), 1), Value((6, 16, 49), 1)
    steps.add(Step(Kind.PRODUCT, (a, b), Value((6, 49, 49), 1)))
    (one,) = passes(steps, U85)
    assert (one.part, one.repeats) == (Part.PRODUCT, 6)
    product, total = passes(steps, U55)
    assert (product.part, total.part) == (Part.ELEMENTWISE, Part.SUM)
    assert product.repeats == total.repeats == 49
