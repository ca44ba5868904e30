"""What a search may choose, and the plan that each choice makes."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import msgspec
import pytest

from engine.plan.compile_options import Level
from engine.precision import Precision
from engine.session import Session
from engine.tune.space import Space, space_of


def test_no_choice_is_the_project_plan(session: Session, space: Space) -> None:
    assert space.plan(space.origin) == session.plan


def test_every_option_of_a_unit_gives_the_type_that_it_says(session: Session, space: Space) -> None:
    for place, unit in enumerate(space.units):
        for option, dtype in enumerate(unit.dtypes):
            plan = space.plan(space.changed(space.origin, {place: option}))
            effective = session.with_plan(plan).resolve().effective
            assert {effective[node].dtype for node in unit.nodes} == {dtype}, unit.anchor


def test_all_of_a_type_is_all_of_it(session: Session, space: Space) -> None:
    resolution = session.with_plan(space.plan(space.uniform("int16"))).resolve()
    assert {resolution.effective[unit.nodes[-1]].dtype for unit in space.units} == {"int16"}


def test_units_that_only_pass_values_on_have_no_choice(session: Session, space: Space) -> None:
    names = {node.id for node in session.graph.nodes}
    undecided = names - {node for unit in space.units for node in unit.nodes}
    assert any("flat" in node for node in undecided)
    assert not any(word in node for node in undecided for word in ("first", "second", "third", "table", "head"))


def test_an_option_of_a_range_changes_that_scale_alone(session: Session, space: Space) -> None:
    place = len(space.units)
    decision = space.ranges[0]
    plan = space.plan(space.changed(space.origin, {place: 1}))
    assert dict(plan.methods) == {decision.value: decision.options[1]}
    before, after = (session.with_plan(item).program().types for item in (session.plan, plan))
    changed = {value for value in before if before[value] != after[value]}
    assert decision.value in changed


def test_a_method_takes_the_place_of_a_threshold(session: Session) -> None:
    value = space_of(session).ranges[0].value
    session.set_plan(replace(session.plan, thresholds=MappingProxyType({value: 0.123})))
    space = space_of(session)
    place = next(index for index, item in enumerate(space.ranges) if item.value == value)
    genome = space.changed(space.origin, {len(space.units) + place: 1})
    assert value not in space.plan(genome).thresholds
    assert space.plan(space.origin).thresholds == {value: 0.123}


def test_the_users_own_marks_are_the_first_option(session: Session) -> None:
    unit = space_of(session).units[2]
    session.set_plan(session.plan.mark(unit.nodes, Precision.INT16))
    found = space_of(session).units[2]
    assert found.dtypes[0] == "int16" and found.options[0] == dict.fromkeys(unit.nodes, Precision.INT16)
    narrow = space_of(session).plan(space_of(session).uniform("int8"))
    assert session.with_plan(narrow).resolve().effective[unit.nodes[-1]].dtype == "int8"


def test_the_compiler_has_a_choice_unless_it_does_all_already(session: Session) -> None:
    assert [options.level for options in space_of(session).compiler.options] == [Level.O2, Level.O3]
    options = msgspec.structs.replace(session.plan.compile, level=Level.O3)
    session.set_plan(replace(session.plan, compile=options))
    assert [options.level for options in space_of(session).compiler.options] == [Level.O3]


@pytest.mark.parametrize("method", ["max", "mse"])
def test_one_method_for_all(session: Session, space: Space, method: str) -> None:
    plan = space.plan(space.with_method(space.origin, method))
    assert set(plan.methods.values()) <= {method}
