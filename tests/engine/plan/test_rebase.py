"""Edits carried over from one plan to another."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from engine.plan.data import PlanData
from engine.plan.rebase import rebased
from engine.plan.types import Plan
from engine.precision import Precision

NAMES = st.sampled_from("abcd")
PLANS = st.builds(
    Plan,
    choices=st.dictionaries(NAMES, st.sampled_from([Precision.INT8, Precision.INT16])),
    methods=st.dictionaries(NAMES, st.sampled_from(["max", "kl"])),
    default_method=st.sampled_from(["max", "mse"]),
    thresholds=st.dictionaries(NAMES, st.floats(0.5, 2.0)),
    corrections=st.lists(NAMES, unique=True).map(tuple),
)


def after(before: Plan, wanted: Plan, present: Plan) -> Plan:
    return replace(present, **rebased(before, wanted, present))


@given(PLANS, PLANS)
def test_onto_the_plan_it_was_made_for_it_is_the_edit(before: Plan, wanted: Plan) -> None:
    done = after(before, wanted, before)
    assert replace(done, corrections=()) == replace(wanted, corrections=())
    assert set(done.corrections) == set(wanted.corrections)


@given(PLANS, PLANS)
def test_no_edit_changes_nothing_and_a_second_time_neither(before: Plan, present: Plan) -> None:
    assert rebased(before, before, present) == {}


@given(PLANS, PLANS, PLANS)
def test_done_twice_is_done_once(before: Plan, wanted: Plan, present: Plan) -> None:
    once = after(before, wanted, present)
    assert after(before, wanted, once) == once


def test_what_others_changed_meanwhile_stays() -> None:
    before = PlanData(choices={"a": "int16"}, corrections=("old",))
    wanted = PlanData(choices={"b": "int16"}, thresholds={"v": 2.0}, corrections=("old", "new"))
    present = PlanData(choices={"a": "int16", "c": "float"}, thresholds={"w": 1.0}, corrections=("other",))
    assert rebased(before, wanted, present) == {
        "choices": {"b": "int16", "c": "float"},
        "thresholds": {"v": 2.0, "w": 1.0},
        "corrections": ("other", "new"),
    }
