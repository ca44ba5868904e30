"""Attention masks in every spelling, through calibration, lowering, execution and analysis."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.graph.graph import Graph
from engine.ops.elementwise import Add, Affine, Gelu, Maximum, Sub, Where
from engine.ops.layout import Reshape
from engine.ops.reduce import Softmax
from engine.plan.masks import MASK_MARGIN, mask_limits, maskable
from engine.plan.resolve import resolve
from engine.plan.scales import assign_types
from engine.plan.types import Plan
from engine.program.lowering.assemble import has_lowering
from engine.session import Session
from tests.engine.plan.graphs import Builder
from tests.engine.program.lowering.cases import TARGET

ROWS, COLUMNS, SAMPLES = 4, 16, 6
SHAPE = (1, ROWS, COLUMNS)
LOWEST = float(np.finfo(np.float32).min)

Spelling = Callable[[Builder, str, str], str]
"""(builder, logits, keep) -> masked logits; ``keep`` is 1 where a logit counts and 0 where it is masked."""


def added(value: float) -> Spelling:
    """x + (1 - keep) * value."""

    def build(builder: Builder, x: str, keep: str) -> str:
        builder.node("hidden", Affine(-1.0, 1.0), keep, shape=SHAPE)
        builder.node("mask", Affine(value, 0.0), "hidden", shape=SHAPE)
        return builder.node("masked", Add(), x, "mask", shape=SHAPE)

    return build


def scaled(builder: Builder, x: str, keep: str) -> str:
    """x + (keep - 1) * 1e9: the mask is a mere scaling, through a reshape."""
    builder.node("hidden", Affine(1.0, -1.0), keep, shape=SHAPE)
    builder.node("wide", Affine(1e9, 0.0), "hidden", shape=SHAPE)
    builder.node("mask", Reshape((1, ROWS * COLUMNS)), "wide", shape=(1, ROWS * COLUMNS))
    builder.node("again", Reshape(SHAPE), "mask", shape=SHAPE)
    return builder.node("masked", Add(), "again", x, shape=SHAPE)


def subtracted(builder: Builder, x: str, keep: str) -> str:
    """x - (1 - keep) * 1e9."""
    builder.node("mask", Affine(-1e9, 1e9), keep, shape=SHAPE)
    return builder.node("masked", Sub(), x, "mask", shape=SHAPE)


def selected(value: float) -> Spelling:
    """The logit where it counts, else the value."""

    def build(builder: Builder, x: str, keep: str) -> str:
        low = builder.constant("low", np.full((1,), value, np.float32))
        return builder.node("masked", Where(), f"{keep}.bool", x, low, shape=SHAPE)

    return build


def made_by_selection(value: float) -> Spelling:
    """x + (0 where it counts, else the value), limited to what float32 holds."""

    def build(builder: Builder, x: str, keep: str) -> str:
        low = builder.constant("low", np.full((1,), value, np.float32))
        builder.node("mask", Where(), f"{keep}.bool", builder.constant("zero", [0.0]), low, shape=SHAPE)
        builder.node("sum", Add(), x, "mask", shape=SHAPE)
        return builder.node("masked", Maximum(), "sum", builder.constant("limit", [LOWEST]), shape=SHAPE)

    return build


def and_constant(builder: Builder, x: str, keep: str) -> str:
    """A computed mask after a constant one of minus infinity."""
    causal = np.zeros(SHAPE, np.float32)
    causal[..., -2:] = -np.inf
    builder.node("first", Add(), x, builder.constant("causal", causal), shape=SHAPE)
    return added(LOWEST)(builder, "first", keep)


SPELLINGS: dict[str, Spelling] = {
    "added -1e4": added(-1e4),
    "added -1e9": added(-1e9),
    "added lowest": added(LOWEST),
    "scaled": scaled,
    "subtracted": subtracted,
    "selected -1e9": selected(-1e9),
    "selected -inf": selected(-math.inf),
    "made by selection": made_by_selection(LOWEST),
    "made of -inf": made_by_selection(-math.inf),
    "and constant": and_constant,
}


def attention(spelling: Spelling) -> Graph:
    builder = Builder()
    builder.input("x", SHAPE)
    keep = builder.input("keep", SHAPE)
    builder.input("keep.bool", SHAPE, dtype="bool")
    masked = spelling(builder, "x", keep)
    builder.node("y", Softmax(2), masked, shape=SHAPE)
    return builder.build("y")


def feeds() -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(0)
    keep = rng.uniform(size=(SAMPLES, ROWS, COLUMNS)) < 0.6
    keep[..., :2] = True
    x = rng.normal(0.0, 2.0, (SAMPLES, ROWS, COLUMNS))
    return {"x": x.astype(np.float32), "keep": keep.astype(np.float32), "keep.bool": keep}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_mask_hides_and_costs_no_more_than_its_margin(name: str, tmp_path: Path) -> None:
    session = Session(attention(SPELLINGS[name]), "generic-int8")
    arrays = feeds()
    np.savez(tmp_path / "x.npz", allow_pickle=False, **arrays)
    session.calibrate(tmp_path / "x.npz")
    for row in range(SAMPLES):
        sample = {key: array[row : row + 1] for key, array in arrays.items()}
        found = np.asarray(session.run(sample)["y"], np.float32)
        assert (found[~sample["keep.bool"].astype(bool)] == 0.0).all()
        np.testing.assert_allclose(found, np.asarray(session.run_float(sample)["y"], np.float32), atol=0.08)
    errors = session.analyze(SAMPLES)
    assert (errors.output_sqnr_db.mean or 0.0) > 24.0
    for node in errors.nodes:
        assert math.isfinite(node.mse), node.id
        assert all(value is None or value > 14.0 for value in (node.introduced_db.mean, node.accumulated_db.mean))
    for node in session.graph.nodes:
        assert np.isfinite(session.inspect(node.id).histogram_edges if node.outputs[0] != "keep.bool" else 0.0).all()


def test_masks_have_the_reach_that_they_need() -> None:
    thresholds = {"x": 4.0, "keep": 1.0, "hidden": 1.0, "mask": 1e9, "masked": 1e9}
    limits = mask_limits(attention(added(-1e9)), lambda value: thresholds[value])
    assert limits == {"masked": 4.0 + MASK_MARGIN, "mask": 2.0 * 4.0 + MASK_MARGIN}
    assert mask_limits(attention(added(-10.0)), lambda value: min(thresholds[value], 10.0)) == {}
    assert maskable(attention(added(-1e9))).keys() == {"x", "mask", "masked"}
    assert maskable(attention(scaled)).keys() == {"x", "wide", "mask", "again", "masked"}


def test_what_others_read_too_keeps_its_range() -> None:
    """The mask is an output as well: its own scale stays, the addition saturates it first."""
    graph = attention(added(-1e9))
    graph = Graph(graph.name, graph.nodes, graph.types, graph.constants, graph.inputs, ("y", "mask"))
    thresholds = {"x": 4.0, "keep": 1.0, "hidden": 1.0, "mask": 1e9, "masked": 1e9, "y": 1.0}
    resolution = resolve(graph, Plan(), TARGET, has_lowering)
    types = assign_types(graph, Plan(), resolution, lambda value, largest: thresholds[value] / largest).types
    assert types["mask"].scale == 1e9 / 127
    assert types["masked"].scale == (4.0 + MASK_MARGIN) / 127


@pytest.mark.parametrize("other", [True, False])
def test_a_summand_far_beyond_the_result_leaves_the_other_its_bits(other: bool, tmp_path: Path) -> None:
    builder = Builder()
    builder.input("x", SHAPE)
    keep = builder.input("keep", SHAPE)
    builder.input("keep.bool", SHAPE, dtype="bool")
    builder.node("mask", Affine(-1e9, 1e9), keep, shape=SHAPE)
    builder.node("masked", Sub(), "x", "mask", shape=SHAPE)
    builder.node("y", Softmax(2), "masked", shape=SHAPE)
    builder.node("z", Gelu() if other else Affine(0.5, 0.0), "mask", shape=SHAPE)
    session = Session(builder.build("y", "z"), "generic-int8")
    np.savez(tmp_path / "x.npz", allow_pickle=False, **feeds())
    session.calibrate(tmp_path / "x.npz")
    sample = {key: array[:1] for key, array in feeds().items()}
    found, expected = (np.asarray(run(sample)["y"], np.float32) for run in (session.run, session.run_float))
    np.testing.assert_allclose(found, expected, atol=0.08)
