"""Thresholds by their error at the outputs: bad ones are found and mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from engine.analyze.quality import measure
from engine.errors import Cancelled
from engine.precision import Precision
from engine.quantise.clipping import OutputClipping
from engine.quantise.step import Work
from engine.session import Session


def test_thresholds_that_hurt_are_mended(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    samples = tuple(session.samples(8))
    program = session.program()
    wide, narrow = (session.graph.by_id[unit.last].outputs[0] for unit in session.resolve().units[2:4])
    bad = {wide: 127 * 6 * program.types[wide].scale, narrow: 127 * program.types[narrow].scale / 6}
    tried = session.with_plan(replace(session.plan, thresholds=bad))
    told: list[tuple[int, int]] = []
    found = OutputClipping()(tried, Work(samples[:6], lambda done, total: told.append((done, total))))
    assert tried.plan.thresholds == bad
    assert {wide, narrow} <= set(found.thresholds)
    assert found.thresholds[wide] < bad[wide] / 2 and found.thresholds[narrow] > bad[narrow] * 2
    assert told == [(done, 6) for done in range(1, 7)]
    quality = measure(session.with_plan(found), samples)
    assert (quality.gain_over(measure(tried, samples)).mean or 0.0) > 3.0


def test_it_gives_the_same_each_time(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    work = Work(tuple(session.samples(2)))
    assert OutputClipping()(session, work) == OutputClipping()(session, work)


def test_values_of_16_bits_are_left_alone(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    nodes = tuple(node.id for node in session.graph.nodes)
    wide = session.with_plan(session.plan.mark(nodes, Precision.INT16))
    assert OutputClipping()(wide, Work(tuple(session.samples(1)))) is wide.plan


def test_it_stops(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    with pytest.raises(Cancelled):
        OutputClipping()(session, Work(tuple(session.samples(1)), cancelled=lambda: True))
