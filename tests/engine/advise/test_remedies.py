"""Each remedy: what it proposes where it applies, that it does what it says, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.advise.remedies import MODEL_REMEDIES, PLACES_REMEDIES, REMEDIES, Proposal, Site, parts_for, widest
from engine.calibrate.result import METHOD_NAMES
from engine.ops.linear import Conv
from engine.precision import Precision
from engine.quantise.step import Work
from engine.session import Session

OpenMobile = Callable[[], Session]

GATE = "/blocks.0/se/gate/Sigmoid"
PROJECT = "/blocks.0/project/conv/Conv"


@pytest.fixture(scope="module")
def session(mobile_project: object) -> Session:
    return Session.open(str(mobile_project))


def site(session: Session, node: str) -> Site:
    return Site(session, session.resolve().unit_of[node])


def proposals(session: Session, remedy: str, node: str = PROJECT) -> list[Proposal]:
    before = session.plan
    found = list(REMEDIES[remedy](site(session, node)))
    assert session.plan is before
    assert all(proposal.title and proposal.plan != before for proposal in found)
    return found


def work(session: Session, samples: int = 2) -> Work:
    return Work(tuple(session.samples(samples)))


def effective(session: Session, proposal: Proposal) -> dict[str, str]:
    resolution = session.with_plan(proposal.plan).resolve()
    return {node: resolution.effective[node].dtype for node in proposal.nodes}


def test_a_place_knows_what_it_reads_and_who_reads_it(session: Session) -> None:
    place = site(session, PROJECT)
    assert place.outputs == session.graph.by_id[PROJECT].outputs
    assert len(place.inputs) == 1
    assert all(session.graph.by_id[node] for node in (*place.sources, *place.readers))
    assert place.unit.anchor not in (*place.sources, *place.readers)
    threshold = place.threshold(place.outputs[0])
    assert threshold == pytest.approx(127 * session.program().types[place.outputs[0]].scale)
    wide = site(session.with_plan(place.marked(place.unit.nodes, Precision.INT16)), PROJECT)
    assert wide.threshold(place.outputs[0]) is None, "16 bits have no threshold of their own"


@pytest.mark.parametrize("remedy", ["range", "input range"])
def test_other_ranges_are_what_the_title_says(session: Session, remedy: str) -> None:
    place = site(session, PROJECT)
    (value,) = place.outputs if remedy == "range" else place.inputs
    present = place.threshold(value)
    found = proposals(session, remedy)
    assert len(found) >= 3
    for proposal in found:
        threshold = Site(session.with_plan(proposal.plan), place.unit).threshold(value)
        assert threshold is not None
        assert proposal.title.endswith(f"±{threshold:.3g} instead of ±{present:.3g}")
        assert proposal.plan.choices == session.plan.choices


def test_a_method_takes_the_place_of_a_threshold(session: Session) -> None:
    place = site(session, PROJECT)
    (value,) = place.outputs
    own = session.with_plan(session.plan.with_thresholds({value: 0.01}))
    by_method = [p for p in REMEDIES["range"](Site(own, place.unit)) if " by " in p.title]
    assert by_method
    assert all(value not in proposal.plan.thresholds for proposal in by_method)


@pytest.mark.parametrize("remedy", ["int16", "int16 inputs", "int16 with inputs", "int16 with readers"])
def test_sixteen_bits(session: Session, remedy: str) -> None:
    (proposal,) = proposals(session, remedy)
    assert set(effective(session, proposal).values()) == {"int16"}
    assert (PROJECT in proposal.nodes) == (remedy != "int16 inputs")


def test_a_finer_table_reads_16_bits_and_makes_8(session: Session) -> None:
    (proposal,) = proposals(session, "finer table", GATE)
    found = effective(session, proposal)
    assert found.pop(GATE) == "int8"
    assert set(found.values()) == {"int16"}
    assert not proposals(session, "finer table", PROJECT), "a convolution is no table"


def test_float(session: Session) -> None:
    (proposal,) = proposals(session, "float")
    assert effective(session, proposal)[PROJECT] == "float32"


def test_other_methods_for_all_values(session: Session) -> None:
    found = list(MODEL_REMEDIES["method"](session, work(session)))
    assert {proposal.plan.default_method for proposal in found} == set(METHOD_NAMES) - {session.plan.default_method}


def test_a_method_on_the_whole_model_and_its_part_for_one_place(session: Session) -> None:
    (whole,) = MODEL_REMEDIES["bias"](session, work(session))
    (digest,) = whole.plan.corrections
    biases = session.corrections.get(digest).biases
    assert whole.title == session.corrections.get(digest).title
    place = next(site(session, node) for node in biases)
    ((kind, part),) = parts_for(place, whole.plan)
    (own,) = part.plan.corrections
    assert kind == "bias"
    assert own != digest
    assert list(session.corrections.get(own).biases) == [place.unit.anchor]
    assert not list(parts_for(place, session.plan)), "no correction, no part of one"


@pytest.mark.parametrize("name", PLACES_REMEDIES)
def test_what_is_fitted_for_places_changes_these_alone(session: Session, name: str) -> None:
    """Beside the place itself, evened channels change the nodes that make or read the same channels, and no other."""
    layers = [node.id for node in session.graph.nodes if isinstance(node.op, Conv)]
    places = [site(session, node) for node in (*layers[:6], GATE)]
    found = list(PLACES_REMEDIES[name](session, places, work(session)))
    assert found
    for item in found:
        assert item.node in (*layers[:6], GATE)
        assert item.proposal.title
        (digest,) = item.proposal.plan.corrections
        correction = session.corrections.get(digest)
        own = {constant for node in item.proposal.nodes for constant in session.graph.by_id[node].inputs}
        changed = {*correction.same, *correction.weights, *correction.weight_scales}
        assert changed <= own
        assert set(correction.biases) <= set(item.proposal.nodes)
        assert item.kind == correction.kind
        session.with_plan(item.proposal.plan).program()
    assert session.plan.corrections == ()


def test_int16_where_it_pays_says_how_many(session: Session) -> None:
    (proposal,) = MODEL_REMEDIES["promote"](session, work(session, 1))
    dtypes = effective(session, proposal)
    assert set(dtypes.values()) == {"int16"}
    assert f": {len(dtypes)} of " in proposal.title


def test_all_methods_one_behind_the_other(session: Session) -> None:
    (proposal,) = MODEL_REMEDIES["balanced"](session, Work(tuple(session.samples(1))))
    assert {session.corrections.get(digest).kind for digest in proposal.plan.corrections} >= {"weights", "bias"}
    assert session.plan.corrections == ()


def test_everything_wide_but_what_the_user_wants_in_float(session: Session) -> None:
    (proposal,) = MODEL_REMEDIES["all int16"](session, work(session))
    assert session.with_plan(proposal.plan).resolve().effective[PROJECT].precision is Precision.INT16
    kept = session.with_plan(session.plan.mark((PROJECT,), Precision.FLOAT))
    assert widest(kept).requested(PROJECT) is Precision.FLOAT


def test_every_remedy_says_what_it_is() -> None:
    every = (*REMEDIES.values(), *PLACES_REMEDIES.values(), *MODEL_REMEDIES.values())
    assert all((remedy.__doc__ or "").strip() for remedy in every)
