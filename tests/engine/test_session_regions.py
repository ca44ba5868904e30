"""Fusion regions through the session, the project file, the command line and the engine process's worker."""

from __future__ import annotations

import io
import itertools
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.cli.main import main
from engine.errors import Cancelled, PlanError
from engine.framing import read_frame
from engine.plan.compile_options import CompileOptions, Goal, Level
from engine.plan.types import Region
from engine.service.inbox import Inbox
from engine.service.messages import (
    AnyAnswer,
    CheckRegion,
    CheckSplit,
    ErrorsReady,
    Open,
    Opened,
    PlanData,
    PlanResolved,
    RegionChecked,
    Save,
    SplitChecked,
    TimingReady,
    UpdatePlan,
)
from engine.service.worker import HANDLERS, Worker
from engine.session import Session

Mobile = Callable[[], Session]
FIRST = "blocks.0.depthwise.conv.Conv"


def units(session: Session) -> list[tuple[str, ...]]:
    return [unit.nodes for unit in session.resolve().units]


def legal_pair(session: Session, skip: int = 0) -> tuple[str, ...]:
    """Two units in a row that can be one kernel."""
    known = units(session)
    pairs = [(*a, *b) for a, b in itertools.pairwise(known)]
    return [pair for pair in pairs if session.region_verdict(pair).legal][skip]


def test_fuse_saves_what_the_verdict_says(open_mobile: Mobile) -> None:
    session = open_mobile()
    before = session.estimate()
    nodes = legal_pair(session)
    foreseen = session.region_verdict(nodes)
    assert session.plan.regions == ()
    verdict = session.fuse(nodes)
    assert verdict == foreseen
    assert verdict.name == "region 1"
    assert session.plan.regions == (Region("region 1", verdict.nodes),)
    after = session.estimate()
    assert verdict.saving_us is not None
    assert verdict.saving_us > 0.0
    assert 1e3 * (before.latency_ms - after.latency_ms) == pytest.approx(verdict.saving_us)
    assert before.ddr_bytes - after.ddr_bytes == verdict.saved_bytes
    assert session.region_verdict(nodes, "region 1") == verdict, "a region is judged against the plan without it"
    assert session.dissolve("region 1").nodes == verdict.nodes
    assert session.estimate() == before


def test_names(open_mobile: Mobile) -> None:
    session = open_mobile()
    first, second = legal_pair(session), legal_pair(session, -1)
    session.fuse(first, "stem")
    session.fuse(second)
    assert [region.name for region in session.plan.regions] == ["stem", "region 1"]
    session.fuse(first, "stem")
    assert [region.name for region in session.plan.regions] == ["stem", "region 1"]
    for name in ("", "  ", "two\nlines"):
        with pytest.raises(PlanError, match="is no name for a region"):
            session.fuse(first, name)
    with pytest.raises(PlanError, match="no fusion region 'gone'; there are: stem, region 1"):
        session.dissolve("gone")
    twice = replace(session.plan, regions=(Region("a", first), Region("a", second)))
    with pytest.raises(PlanError, match="two fusion regions are called 'a'"):
        session.set_plan(twice)


def test_an_illegal_region_is_refused_with_rule_nodes_and_way_out(open_mobile: Mobile) -> None:
    session = open_mobile()
    plan = session.plan
    ids = [node.id for node in session.graph.nodes]
    with pytest.raises(PlanError) as caught:
        session.fuse(ids[1:])
    assert "cannot fuse (products_in_stripes): " in str(caught.value)
    assert "the nearest legal region is '" in str(caught.value)
    assert session.plan is plan
    verdict = session.region_verdict(ids[1:])
    assert (verdict.legal, verdict.saving_us) == (False, None)
    assert set(verdict.offending) < set(ids)
    assert verdict.measured is not None
    assert verdict.measured > 1 == verdict.limit
    assert session.region_verdict(verdict.nearest).legal
    with pytest.raises(PlanError, match="no node matches"):
        session.fuse("nothing.*here")


def test_regions_are_saved_and_reported_when_they_are_not_legal(open_mobile: Mobile, tmp_path: Path) -> None:
    session = open_mobile()
    nodes = legal_pair(session)
    session.fuse(nodes, "kept")
    session.set_plan(session.plan.with_region(Region("lost", ("vanished", nodes[0]))))
    path = session.save(session.project.with_name("regions.qscope") if session.project else tmp_path)
    again = Session.open(path)
    assert again.plan.regions == session.plan.regions
    kept, lost = again.regions()
    assert (kept.legal, kept.reason) == (True, "")
    assert (lost.legal, lost.reason) == (False, "the model has no 'vanished'")
    assert again.estimate() == session.estimate()


def chain(session: Session, length: int) -> tuple[tuple[str, ...], ...]:
    """The first units in a row that can be one kernel."""
    known = units(session)
    runs = [tuple(known[start : start + length]) for start in range(len(known) - length + 1)]
    return next(run for run in runs if session.region_verdict([n for unit in run for n in unit]).legal)


def test_a_region_is_cut_in_two(open_mobile: Mobile) -> None:
    session = open_mobile()
    first, second, *rest = chain(session, 3)
    session.fuse([*first, *second, *rest[0]], "all")
    plan = session.plan
    split = session.split_verdict("all", first)
    assert (split.reason, split.refused) == ("", None)
    assert [(part.name, part.nodes) for part in split.parts] == [("all", (*second, *rest[0]))]
    assert session.split_verdict("all", [*first, *second]).parts[0].name == "all"
    assert session.plan is plan, "asking changes nothing"

    apart = session.split_verdict("all", [*first, *rest[0]])
    assert apart.parts == ()
    assert apart.refused is not None
    assert apart.refused.rule in ("connected", "convex")
    assert apart.reason == apart.refused.reason
    assert "none of its nodes" in session.split_verdict("all", ["elsewhere"]).reason
    assert "all of its nodes" in session.split_verdict("all", [*first, *second, *rest[0]]).reason
    with pytest.raises(PlanError, match="no fusion region 'gone'"):
        session.split_verdict("gone", first)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (CompileOptions(weight=1.5), "weight of DDR traffic is 1.5"),
        (CompileOptions(cores=0), "asks for 0 cores"),
        (CompileOptions(cores=99), "asks for 99 cores, journey5 has 2; ask for fewer"),
    ],
)
def test_compile_options_out_of_range_are_refused(open_mobile: Mobile, options: CompileOptions, problem: str) -> None:
    session = open_mobile()
    plan = session.plan
    with pytest.raises(PlanError, match=problem):
        session.set_plan(replace(plan, compile=options))
    assert session.plan is plan


def test_compile_options_are_saved(open_mobile: Mobile, tmp_path: Path) -> None:
    session = open_mobile()
    session.set_plan(replace(session.plan, compile=CompileOptions(goal=Goal.BANDWIDTH, level=Level.O1, cores=1)))
    path = session.save(session.project.with_name("options.qscope") if session.project else tmp_path)
    assert Session.open(path).plan.compile == session.plan.compile


def test_half_a_unit_is_no_side_of_a_cut(open_mobile: Mobile) -> None:
    session = open_mobile()
    pair = next(run for run in itertools.pairwise(units(session)) if len(run[0]) > 1)
    nodes = [*pair[0], *pair[1]]
    session.set_plan(session.plan.with_region(Region("all", tuple(nodes))))
    split = session.split_verdict("all", nodes[:1])
    assert split.refused is not None
    assert split.refused.rule == "whole_units"


# Command line


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Any]:
    """Runs a command; returns (exit status, output, error, JSON)."""

    def run(*arguments: object) -> tuple[object, str, str, Any]:
        record = tmp_path / "record.json"
        record.unlink(missing_ok=True)
        monkeypatch.setattr(sys, "argv", ["quantscope", *map(str, arguments), "--json", str(record)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return (
            caught.value.code,
            captured.out,
            captured.err,
            json.loads(record.read_text()) if record.exists() else None,
        )

    return run


def test_the_command_fuses_and_dissolves(cli: Callable[..., Any], project: Path) -> None:
    nodes = legal_pair(Session.open(project))
    options = [part for node in nodes for part in ("--node", node)]
    code, out, _, record = cli("fuse", project, *options, "--name", "stem")
    assert code == 0
    assert out.startswith(f"fused {len(nodes)} nodes as stem: saves ")
    (region,) = record["regions"]
    assert (region["name"], region["nodes"], region["legal"]) == ("stem", list(nodes), True)
    assert region["saving_us"] > 0.0
    code, out, _, record = cli("check", project)
    assert record["regions"] == [{"name": "stem", "nodes": list(nodes), "legal": True, "reason": ""}]
    assert "region stem" in out
    code, out, _, record = cli("fuse", project, "--dissolve", "stem")
    assert (code, record["regions"]) == (0, [])
    assert Session.open(project).plan.regions == ()


def test_the_command_refuses_in_one_line(cli: Callable[..., Any], project: Path) -> None:
    before = project.read_bytes()
    for arguments, message in (
        (("--node", ".*"), "cannot fuse (on_the_chip): "),
        (("--node", FIRST), "cannot fuse ("),
        (("--dissolve", "stem"), "there is no fusion region 'stem'; there are: none"),
        ((), "give --node or --dissolve"),
        (("--node", FIRST, "--dissolve", "stem"), "give --node or --dissolve"),
        (("--dissolve", "stem", "--name", "x"), "--name is for a region that is made"),
    ):
        code, _, error, record = cli("fuse", project, *arguments)
        assert (code, record) == (1, None)
        assert message in error
        assert error.count("\n") == 1
    assert project.read_bytes() == before


# Engine process


def test_the_worker_answers_about_regions(project: Path) -> None:
    session = Session.open(project)
    nodes, far = legal_pair(session), legal_pair(session, -1)
    output = io.BytesIO()
    worker = Worker(Inbox(), output)
    plan = PlanData(regions=(("a", nodes), ("b", (*nodes, "gone"))))
    for request in (
        Open(id=1, path=str(project)),
        UpdatePlan(id=2, revision=5, plan=plan, samples=0),
        CheckRegion(id=3, revision=5, nodes=far),
        CheckRegion(id=4, revision=5, nodes=nodes),
        CheckRegion(id=5, revision=5, nodes=nodes, name="a"),
        CheckSplit(id=6, revision=5, name="a", nodes=nodes),
    ):
        HANDLERS[type(request)](worker, request)
    output.seek(0)
    frames = iter(lambda: read_frame(output), None)
    decoder = msgspec.msgpack.Decoder(AnyAnswer)
    answers = [decoder.decode(frame) for frame in frames]
    (resolved,) = [answer for answer in answers if isinstance(answer, PlanResolved)]
    assert [(region.name, region.legal) for region in resolved.regions] == [("a", True), ("b", False)]
    (timing,) = [answer for answer in answers if isinstance(answer, TimingReady)]
    assert timing.timing.latency_ms < session.estimate().latency_ms
    free, taken, own = [answer for answer in answers if isinstance(answer, RegionChecked)]
    assert (free.id, free.revision, free.verdict.legal) == (3, 5, True)
    assert (taken.verdict.legal, taken.verdict.rule) == (False, "in_no_other_region")
    assert own.verdict.legal
    (split,) = [answer for answer in answers if isinstance(answer, SplitChecked)]
    assert (split.id, split.revision) == (6, 5)
    assert "all of its nodes are on one side" in split.split.reason


def test_a_plan_that_the_next_one_waits_behind_is_passed_over(project: Path) -> None:
    output, inbox = io.BytesIO(), Inbox()
    worker = Worker(inbox, output)
    HANDLERS[Open](worker, Open(id=1, path=str(project)))
    plans = [UpdatePlan(id=10 + i, revision=i, plan=PlanData(default_method="max"), samples=0) for i in range(3)]
    save = Save(id=20, path=str(project.with_name("kept.qscope")))
    for request in (CheckRegion(id=2, revision=0, nodes=("gone",)), plans[1], save, plans[2]):
        inbox.put(request)
    with pytest.raises(Cancelled):
        HANDLERS[UpdatePlan](worker, plans[0])
    assert worker.session is not None
    assert worker.session.plan.default_method != "max"
    inbox.take(block=False)
    inbox.take(block=False)
    HANDLERS[UpdatePlan](worker, plans[1])
    assert worker.session.plan.default_method == "max", "what is saved next is this plan"


def test_the_worker_answers_about_regions_in_the_middle_of_live_work(project: Path) -> None:
    session = Session.open(project)
    output, inbox = io.BytesIO(), Inbox()
    worker = Worker(inbox, output)
    HANDLERS[Open](worker, Open(id=1, path=str(project)))
    HANDLERS[UpdatePlan](worker, UpdatePlan(id=2, revision=5, plan=PlanData(), samples=1))
    asked = [CheckRegion(id=3, revision=5, nodes=legal_pair(session)), CheckRegion(id=4, revision=5, nodes=("gone",))]
    for request in (*asked, Save(id=5, path="later"), CheckRegion(id=6, revision=5, nodes=("gone",))):
        inbox.put(request)
    assert worker.live is not None
    next(worker.live)
    output.seek(0)
    decoder = msgspec.msgpack.Decoder(AnyAnswer)
    answers = [decoder.decode(frame) for frame in iter(lambda: read_frame(output), None)]
    kinds = [type(answer) for answer in answers]
    assert kinds == [Opened, PlanResolved, TimingReady, RegionChecked, RegionChecked, ErrorsReady]
    assert isinstance(inbox.take(block=False), Save), "what would wait for the live work keeps its turn"
