"""The trace keeps the rules of the Trace Event Format, and says what the timeline says."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.clock.event import pace_ticks, simulate
from engine.clock.frames import repeated
from engine.clock.trace_file import trace_events
from engine.errors import ExportError
from engine.reports import Compilation, Timeline
from engine.session import Session

Event = dict[str, Any]
NUMBER = (int, float)


def check_format(record: dict[str, Any]) -> None:
    """The rules of the format for the kinds of events that are written, and of lanes without overlap."""
    assert record["displayTimeUnit"] in ("ms", "ns")
    events: list[Event] = record["traceEvents"]
    threads = {event["tid"] for event in events if event["ph"] == "M" and event["name"] == "thread_name"}
    assert sum(event["ph"] == "M" and event["name"] == "process_name" for event in events) == 1
    assert {event["pid"] for event in events} == {1}
    for event in events:
        assert event["ph"] in ("M", "X", "C", "s", "f")
        assert isinstance(event["name"], str) and event["name"]
        if event["ph"] == "M":
            assert len(event["args"]) == 1
            continue
        assert isinstance(event["ts"], NUMBER) and event["ts"] >= 0
        if event["ph"] == "C":
            assert all(isinstance(value, NUMBER) and value >= 0 for value in event["args"].values())
        else:
            assert event["tid"] in threads and isinstance(event["cat"], str)
        if event["ph"] == "X":
            assert isinstance(event["dur"], NUMBER) and event["dur"] >= 0
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    for lane in threads:
        check_lane([event for event in events if event["ph"] == "X" and event["tid"] == lane])
    check_flows(events)


def check_lane(slices: list[Event]) -> None:
    assert slices, "a lane without anything in it"
    for before, after in pairwise(slices):
        assert before["ts"] + before["dur"] <= after["ts"]


def check_flows(events: list[Event]) -> None:
    """Every arrow has a start and an end, in this order, each within a slice of its lane."""
    starts = {event["id"]: event for event in events if event["ph"] == "s"}
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    assert starts and set(starts) == set(ends)
    for number, start in starts.items():
        assert ends[number]["bp"] == "e"
        assert start["ts"] <= ends[number]["ts"]
    slices = {(event["tid"], event["ts"]) for event in events if event["ph"] == "X"}
    assert all((arrow["tid"], arrow["ts"]) in slices for arrow in (*starts.values(), *ends.values()))


@pytest.fixture(scope="module")
def session(models: Path) -> Session:
    return Session.open(models / "mobile_fmnist.onnx", target="journey5")


@pytest.fixture(scope="module")
def compilation(session: Session) -> Compilation:
    return session.compilation()


@pytest.mark.parametrize("target", ["journey5", "generic-int8", "ethos-u85-1024"])
@pytest.mark.parametrize("frames", [1, 3])
def test_the_file_keeps_the_rules_of_the_format(models: Path, tmp_path: Path, frames: int, target: str) -> None:
    path = tmp_path / "trace.json"
    session = Session.open(models / "mobile_fmnist.onnx", target=target)
    session.mark("*.se.gate.*", "float")
    count = session.write_timeline(path, frames)
    record = json.loads(path.read_text(encoding="utf-8"))
    assert len(record["traceEvents"]) == count
    check_format(record)


def test_every_job_is_an_event_of_its_lane(compilation: Compilation) -> None:
    timeline = compilation.timeline
    events = [event for event in trace_events(compilation, timeline) if event["ph"] == "X"]
    jobs = [event for event in events if event["name"] != "inference"]
    expected = {
        (engine + 1, start_us, end_us - start_us, timeline.kernels[kernel].anchor, tile, size_bytes, is_critical)
        for engine, kernel, tile, start_us, end_us, size_bytes, is_critical in zip(
            timeline.engine,
            timeline.kernel,
            timeline.tile,
            timeline.start_us,
            timeline.end_us,
            timeline.size_bytes,
            timeline.is_critical,
            strict=True,
        )
    }
    found = {
        (e["tid"], e["ts"], e["dur"], e["args"]["node"], e["args"]["tile"], e["args"]["bytes"], e["args"]["critical"])
        for e in jobs
    }
    assert found == expected
    assert all((event["cat"] == "critical") is event["args"]["critical"] for event in jobs)


def test_the_critical_slices_cover_the_frame(compilation: Compilation) -> None:
    events = trace_events(compilation, compilation.timeline)
    spent = sum(event["dur"] for event in events if event.get("cat") == "critical" and event["ph"] == "X")
    assert spent == compilation.timeline.total_us == pytest.approx(compilation.latency_ms * 1e3)


def test_the_counter_ends_empty_and_reaches_the_peak(compilation: Compilation) -> None:
    held = [e["args"]["bytes"] for e in trace_events(compilation, compilation.timeline) if e["ph"] == "C"]
    assert held[-1] == 0
    assert 0 < max(held) <= compilation.memory.capacity_bytes


def test_a_region_gives_its_name_to_its_slices(compilation: Compilation) -> None:
    kernels = compilation.timeline.kernels
    named = (msgspec.structs.replace(kernels[0], region="mine"), *kernels[1:])
    timeline = msgspec.structs.replace(compilation.timeline, kernels=named)
    events = [e for e in trace_events(compilation, timeline) if e["ph"] == "X" and e["name"] == "mine"]
    assert events and all(event["args"]["node"] == kernels[0].anchor for event in events)


def test_frames_follow_each_other_at_the_pace(session: Session) -> None:
    schedule = session._timing.simulate(session.resolve(), session.plan.compile).compiled.schedule
    one, three = (simulate(repeated(schedule, frames)).total_ticks for frames in (1, 3))
    assert one == simulate(schedule).total_ticks
    assert (three - one) // 2 == pace_ticks(schedule)


def test_each_frame_is_named(compilation: Compilation, session: Session, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    session.write_timeline(path, 2)
    jobs = [e for e in json.loads(path.read_text())["traceEvents"] if e["ph"] == "X" and e["name"] != "inference"]
    per_frame = len(compilation.timeline.engine)
    assert [sum(job["args"]["frame"] == frame for job in jobs) for frame in (0, 1)] == [per_frame, per_frame]


def test_a_model_without_jobs_still_gives_a_trace(compilation: Compilation) -> None:
    none = Timeline(compilation.timeline.engines, (), (), (), (), (), (), (), (), 590.0)
    (only,) = [event for event in trace_events(compilation, none) if event["ph"] == "X"]
    assert (only["name"], only["ts"], only["dur"]) == ("inference", 0.0, 590.0)


def test_a_file_that_cannot_be_written(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot be written"):
        session.write_timeline(tmp_path / "nowhere" / "trace.json")
