"""Units of the demo models on the Ethos-U targets."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.clock.check import check_compiled
from engine.clock.estimate import Estimator
from engine.session import Session
from engine.simulate.ethos.model import EthosModel
from engine.simulate.timing import Bound

MODELS = Path(__file__).resolve().parents[4] / "resources" / "models"


@pytest.fixture(scope="module", params=["ethos-u55-256", "ethos-u85-1024"])
def session(request: pytest.FixtureRequest) -> Session:
    found = Session.open(MODELS / "mobile_fmnist.onnx")
    found.set_target(request.param)
    return found


def test_node_times_sum_to_the_total_and_need_no_calibration(session: Session) -> None:
    timing = Estimator(session.graph, session.target).estimate(session.resolve())
    assert sum(node.latency_us for node in timing.nodes.values()) == timing.latency_us > 100.0


def test_parts_of_a_time_are_what_is_waited_for(session: Session) -> None:
    timing = Estimator(session.graph, session.target).estimate(session.resolve())
    for node in timing.nodes.values():
        spent = node.engines
        parts = spent.mac_us + spent.vector_us + spent.dma_us + spent.layout_us + spent.cpu_us
        assert node.latency_us == pytest.approx(parts, abs=1e-4)


def test_a_time_says_how_many_passes_and_bytes_it_is(session: Session) -> None:
    timing = Estimator(session.graph, session.target).estimate(session.resolve())
    stem = timing.nodes["/stem/conv/Conv"]
    assert stem.bound is Bound.MAC
    assert "1 pass, bound by multipliers" in stem.why and "off the chip" in stem.why


def test_a_sum_behind_a_convolution_runs_with_it_on_an_ethos_u85_alone(session: Session) -> None:
    timing = Estimator(session.graph, session.target).estimate(session.resolve())
    added = timing.nodes["/blocks.1/Add"]
    assert (added.latency_us == 0.0) == (session.target.name == "ethos-u85-1024")


def test_int16_takes_longer(session: Session) -> None:
    narrow = Estimator(session.graph, session.target).estimate(session.resolve())
    wide = Session.open(MODELS / "mobile_fmnist.onnx")
    wide.set_target(session.target.name)
    wide.mark("*", "int16")
    assert Estimator(wide.graph, wide.target).estimate(wide.resolve()).latency_us > narrow.latency_us


def test_a_compiled_model_holds(session: Session) -> None:
    found = Estimator(session.graph, session.target).simulate(session.resolve())
    check_compiled(found.compiled, found.trace, session.target)


@pytest.mark.parametrize("figure", ["sram_read_latency", "sram_write_latency", "off_chip_write_latency"])
def test_a_memory_may_answer_at_once(session: Session, figure: str) -> None:
    section = session.target.ethos_u
    assert section is not None
    known = Estimator(session.graph, session.target).estimate(session.resolve())
    at_once = replace(section, **{figure: replace(getattr(section, figure), value=0.0)})
    found = Estimator(session.graph, replace(session.target, ethos_u=at_once)).estimate(session.resolve())
    assert 0.0 < found.latency_us <= known.latency_us


def test_a_chip_that_is_no_ethos_u_keeps_the_general_model(session: Session) -> None:
    other = replace(session.target, ethos_u=None)
    timing = Estimator(session.graph, other).estimate(session.resolve())
    assert "pass" not in timing.nodes["/stem/conv/Conv"].why.split(",")[0]
    assert EthosModel.of(session.graph, other) is None
