"""Attribution by cause: exact sums, and each cause found where it was made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from engine.analyze.causes import APPROXIMATING, attribute, decomposed
from engine.analyze.evaluator import Evaluator, Sample
from engine.analyze.float_units import FloatUnit
from engine.analyze.sensitivity import sensitivity
from engine.analyze.units import works_of
from engine.graph.graph import Graph
from engine.ops.elementwise import Add, Gelu, Mul
from engine.ops.linear import Conv, ConvTranspose, Linear, MatMul
from engine.ops.reduce import BatchNorm
from engine.precision import Precision
from engine.reports_analysis import Attribution, Cause, Part
from engine.session import Session
from tests.engine.plan.graphs import Builder
from tests.engine.program.lowering.cases import inputs_of, lowered

OpenMobile = Callable[[], Session]


def never() -> bool:
    return False


@pytest.fixture
def session(open_mobile: OpenMobile) -> Session:
    return open_mobile()


def shares(found: Attribution) -> dict[Cause, float]:
    return {item.cause: item.share.mean or 0.0 for item in found.causes}


def test_shares_sum_to_one_and_the_error_is_the_introduced_one(session: Session) -> None:
    errors = {row.id: row for row in session.analyze(2).nodes}
    for found in attribute(session, None, 2, never):
        introduced = errors[found.id].introduced_db
        if introduced.mean is None:
            continue
        assert found.introduced_db.mean == pytest.approx(introduced.mean, abs=0.02), found.id
        assert sum(shares(found).values()) == pytest.approx(1.0, abs=1e-6), found.id


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.3, shape)


def convolution(build: Builder, x: str) -> str:
    op = Conv((1, 1), (1, 1, 1, 1), (1, 1))
    return build.node("y", op, x, build.constant("w", weight(5, 4, 3, 3)), shape=(1, 5, 6, 6))


def grouped_transposed(build: Builder, x: str) -> str:
    constants = build.constant("w", weight(4, 3, 2, 2)), build.constant("b", weight(6))
    return build.node("y", ConvTranspose((2, 2), (0,) * 4, (1, 1), (0, 0), 2), x, *constants, shape=(1, 6, 12, 12))


def batch_norm(build: Builder, x: str) -> str:
    return build.node("y", BatchNorm(), x, build.constant("w", weight(4)), build.constant("b", weight(4)))


def linear(build: Builder, x: str) -> str:
    constants = build.constant("w", weight(7, 6)), build.constant("b", weight(7))
    return build.node("y", Linear(), x, *constants, shape=(1, 4, 6, 7))


def product(build: Builder, x: str) -> str:
    return build.node("y", MatMul(), x, build.constant("w", weight(6, 5)), shape=(1, 4, 6, 5))


def scaled(build: Builder, x: str) -> str:
    return build.node("y", Mul(), x, build.constant("w", weight(4, 1, 1)))


def shifted(build: Builder, x: str) -> str:
    return build.node("y", Add(), x, build.constant("w", weight(4, 1, 1)))


UNITS = (convolution, grouped_transposed, batch_norm, linear, product, scaled, shifted)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_in_float_with_the_programs_numbers_comes_to_the_programs_integers(
    unit: Callable[[Builder, str], str], dtype: str
) -> None:
    build = Builder()
    graph = build.build(unit(build, build.input("x")))
    feeds = inputs_of(graph)
    marks = {node.id: Precision.INT16 for node in graph.nodes} if dtype == "int16" else {}
    program = lowered(graph, feeds, marks)
    evaluator, sample = Evaluator(graph), Sample.of(feeds)
    reference = evaluator.reference(sample)
    work = next(item for item in works_of(graph, program) if "y" in item.results)
    found = FloatUnit.of(evaluator.model, program, work)
    inputs = found.rounded({value: reference[value] for value in found.inputs})
    constants = found.integer_constants()
    assert "w" in constants and constants["w"].shape == graph.constants["w"].array.shape
    results = found.rounded(found.run(inputs, constants))
    integers = evaluator.alone(program, work, sample, lambda: reference)["y"]
    steps = (results["y"] / program.types["y"].scale - integers).abs().max()
    # One step where a tie or a 15-bit multiplier of a wide accumulator tips the rounding.
    assert float(steps) <= (1.01 if dtype == "int8" else 3.01)
    original = torch.from_numpy(graph.constants["w"].array.copy())
    assert float((constants["w"] - original).abs().max()) <= float(original.abs().max()) / 127


def decomposition(graph: Graph, marks: dict[str, Precision], peaks: float = 1.0) -> dict[Cause, float]:
    """Shares of the error of ``y``, calibrated on inputs ``peaks`` times as large."""
    feeds = inputs_of(graph)
    program = lowered(graph, {name: (peaks * array).astype(np.float32) for name, array in feeds.items()}, marks)
    evaluator, sample = Evaluator(graph), Sample.of(feeds)
    work = next(item for item in works_of(graph, program) if "y" in item.results)
    found = decomposed(evaluator, program, work, sample, evaluator.reference(sample))
    return {cause: power / found.error for cause, power in found.shared.items()}


def test_too_small_a_range_is_clipping() -> None:
    build = Builder()
    graph = build.build(convolution(build, build.input("x")))
    assert decomposition(graph, {}, peaks=0.5)[Cause.CLIPPING] > 0.9
    assert abs(decomposition(graph, {}, peaks=1.0)[Cause.CLIPPING]) < 0.05


def test_with_16_bits_around_it_what_is_left_is_the_weights() -> None:
    build = Builder()
    graph = build.build(convolution(build, build.input("x")))
    found = decomposition(graph, {node.id: Precision.INT16 for node in graph.nodes})
    assert found[Cause.WEIGHTS] > 0.99


def test_an_interpolated_table_is_a_cause() -> None:
    build = Builder()
    graph = build.build(build.node("y", Gelu(), build.input("x")))
    found = decomposition(graph, {node.id: Precision.INT16 for node in graph.nodes})
    assert found[Cause.TABLE] > 0.02
    assert found[Cause.WEIGHTS] == 0.0


def test_a_program_without_a_given_cause_says_so(session: Session) -> None:
    program = session.program()
    works = {work.unit: work for work in works_of(session.graph, program)}
    for found in attribute(session, None, 1, never):
        work = works.get(found.id)
        if work is not None and found.causes:
            approximates = any(isinstance(item.op, APPROXIMATING) for item in work.instructions)
            assert (Cause.TABLE in shares(found)) == approximates


def test_weights_and_activations_alone_add_up_to_the_node(session: Session) -> None:
    found = {row.id: row for row in sensitivity(session, 2, never, tuple(Part)).nodes}
    layers = [node.id for node in session.graph.nodes if isinstance(node.op, Conv)]
    for layer in layers:
        whole, weights, activations = (
            interval.mean
            for interval in (found[layer].output_db, found[layer].weights_db, found[layer].activations_db)
        )
        if whole is not None and weights is not None and activations is not None:
            # Rounding a result falls out another way with other weights, so powers add only roughly.
            both = -10.0 * np.log10(10.0 ** (-weights / 10.0) + 10.0 ** (-activations / 10.0))
            assert whole == pytest.approx(both, abs=6.0), layer
    added = next(node.id for node in session.graph.nodes if node.op.type_name == "Add")
    assert found[added].weights_db.mean is None and found[added].activations_db.mean is not None
