"""The engine process, driven over its frames as the window does."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pytest

from engine.correction_files import KeptCorrections
from engine.framing import frame, read_frame
from engine.plan.corrections import Correction, CorrectionStore
from engine.reports import Stage
from engine.service.messages import (
    AnyAnswer,
    Calibrate,
    Calibrated,
    Cancel,
    Done,
    ErrorsReady,
    Evaluate,
    Evaluated,
    Export,
    Exported,
    Failed,
    Inspect,
    Inspected,
    Open,
    Opened,
    PlanData,
    PlanResolved,
    Progress,
    Ready,
    Request,
    Save,
    Saved,
    TimingReady,
    Trained,
    UpdatePlan,
    Verified,
    Verify,
)
from engine.session import Session

A = TypeVar("A")
TIMEOUT_S = 60.0
FINAL = (Opened, Done, Calibrated, Inspected, Evaluated, Verified, Saved, Exported, Failed, Trained)


class Engine:
    """A running engine process and the answers that it has sent."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "engine.service"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._answers: queue.Queue[AnyAnswer | None] = queue.Queue()
        self._errors: list[bytes] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()
        self._next_id = 0
        self.ready = self.answer()

    def _read(self) -> None:
        assert self.process.stdout is not None
        decoder = msgspec.msgpack.Decoder(AnyAnswer)
        while (payload := read_frame(self.process.stdout)) is not None:
            self._answers.put(decoder.decode(payload))
        self._answers.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors.append(self.process.stderr.read())

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, kind: type[Request], **fields: Any) -> int:
        self._next_id += 1
        self.write(frame(msgspec.msgpack.encode(kind(id=self._next_id, **fields))))
        return self._next_id

    def answer(self) -> AnyAnswer | None:
        return self._answers.get(timeout=TIMEOUT_S)

    def until(self, request_id: int) -> list[AnyAnswer]:
        """The answers up to the last one of a request."""
        found: list[AnyAnswer] = []
        while True:
            answer = self.answer()
            assert answer is not None, "the engine process ended"
            found.append(answer)
            if answer.id == request_id and isinstance(answer, FINAL):
                return found

    def ask(self, kind: type[Request], expected: type[A], **fields: Any) -> A:
        """The last answer to a request."""
        last = self.until(self.send(kind, **fields))[-1]
        assert isinstance(last, expected), last
        return last

    def end(self) -> tuple[int, str]:
        """Close the request stream; exit status and what went to standard error."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(TIMEOUT_S)
        for thread in self._threads:
            thread.join(TIMEOUT_S)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return status, b"".join(self._errors).decode()


@pytest.fixture(scope="module")
def running() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    assert engine.end() == (0, "")


@pytest.fixture
def engine(running: Engine, project: Path) -> Engine:
    """The module's process with the demo project open."""
    running.ask(Open, Opened, path=str(project))
    return running


@pytest.fixture
def fresh() -> Iterator[Callable[[], Engine]]:
    """Starts processes that a test may end."""
    started: list[Engine] = []

    def start() -> Engine:
        started.append(Engine())
        return started[-1]

    yield start
    for item in started:
        if item.process.poll() is None:
            item.process.kill()
            item.process.wait()


def test_it_is_ready_with_its_targets(running: Engine) -> None:
    assert isinstance(running.ready, Ready)
    assert "journey5" in dict(running.ready.targets)


def test_open(running: Engine, project: Path, models: Path) -> None:
    opened = running.ask(Open, Opened, path=str(project))
    assert opened.calibrated
    assert opened.project == str(project)
    assert opened.graph.nodes
    assert opened.plan == PlanData(target="journey5")
    bare = running.ask(Open, Opened, path=str(models / "mobile_fmnist.onnx"), target="generic-int8")
    assert (bare.project, bare.calibrated, bare.plan.target) == ("", False, "generic-int8")


def test_a_plan_streams_what_follows_from_it(engine: Engine) -> None:
    request = engine.send(UpdatePlan, revision=7, plan=PlanData(), samples=5)
    answers = engine.until(request)
    kinds = [type(answer) for answer in answers]
    assert kinds == [PlanResolved, TimingReady, ErrorsReady, ErrorsReady, ErrorsReady, ErrorsReady, Done]
    assert {answer.id for answer in answers} == {request}
    assert {getattr(answer, "revision", None) for answer in answers} == {7}
    errors = [answer for answer in answers if isinstance(answer, ErrorsReady)]
    assert [(item.errors.samples, item.final) for item in errors] == [(1, False), (2, False), (4, False), (5, True)]
    resolved = answers[0]
    assert isinstance(resolved, PlanResolved)
    assert resolved.cpu_nodes == 0
    assert all(node.scale for node in resolved.nodes if node.dtype == "int8")


def test_no_errors_without_samples_or_calibration(engine: Engine, models: Path) -> None:
    none = engine.until(engine.send(UpdatePlan, revision=1, plan=PlanData(), samples=0))
    assert [type(answer) for answer in none] == [PlanResolved, TimingReady, Done]
    engine.ask(Open, Opened, path=str(models / "mobile_fmnist.onnx"))
    bare = engine.until(engine.send(UpdatePlan, revision=2, plan=PlanData(), samples=8))
    assert [type(answer) for answer in bare] == [PlanResolved, TimingReady, Done]


def test_a_newer_plan_supersedes_the_live_work_of_an_older_one(engine: Engine) -> None:
    resolved = engine.until(engine.send(UpdatePlan, revision=1, plan=PlanData(), samples=0))[0]
    assert isinstance(resolved, PlanResolved)
    node = resolved.nodes[len(resolved.nodes) // 2].id
    plans = [PlanData(choices={node: wanted}) for wanted in ("int16", "float", "int8")]
    requests = [engine.send(UpdatePlan, revision=10 + index, plan=plan, samples=8) for index, plan in enumerate(plans)]
    answers = engine.until(requests[-1])
    for index, request in enumerate(requests):
        own = [answer for answer in answers if answer.id == request]
        is_passed_over = len(own) == 1 and request != requests[-1]
        assert is_passed_over or [type(answer) for answer in own[:2]] == [PlanResolved, TimingReady]
        assert all(getattr(answer, "revision", 10 + index) == 10 + index for answer in own)
        last = own[-1]
        if request == requests[-1]:
            assert isinstance(last, Done)
        else:
            assert isinstance(last, Failed | Done)
            assert isinstance(last, Done) or last.cancelled
    # Nothing of an older plan comes after something of a newer one, but that it was dropped.
    streamed = [answer.id for answer in answers if isinstance(answer, ErrorsReady | TimingReady | PlanResolved)]
    assert streamed == sorted(streamed)


def test_inspection_comes_between_the_samples_of_live_work(engine: Engine) -> None:
    live = engine.send(UpdatePlan, revision=3, plan=PlanData(), samples=8)
    first = engine.answer()
    assert isinstance(first, PlanResolved)
    inspection = engine.send(Inspect, revision=3, node=first.nodes[1].id)
    answers = engine.until(inspection)
    assert isinstance(answers[-1], Inspected)
    assert answers[-1].detail.id == first.nodes[1].id
    if not any(isinstance(answer, Done) for answer in answers):
        assert isinstance(engine.until(live)[-1], Done)


def test_live_work_is_cancelled_by_request(engine: Engine) -> None:
    live = engine.send(UpdatePlan, revision=4, plan=PlanData(methods={}, default_method="max"), samples=8)
    engine.send(Cancel, target_id=live)
    last = engine.until(live)[-1]
    assert isinstance(last, Done | Failed)
    assert isinstance(last, Done) or last.cancelled


@pytest.mark.parametrize("kind", [Calibrate, Evaluate, Verify])
def test_long_work_is_cancelled_by_request(engine: Engine, samples: Path, kind: type[Request]) -> None:
    options: dict[str, Any] = {} if kind is Verify else {"path": str(samples)}
    request = engine.send(kind, **options, **({} if kind is Calibrate else {"revision": 1}))
    cancelled = False
    while True:
        answer = engine.answer()
        assert answer is not None
        if isinstance(answer, Progress) and not cancelled:
            assert 0 <= answer.done <= answer.total
            engine.send(Cancel, target_id=request)
            cancelled = True
        if isinstance(answer, FINAL):
            break
    assert isinstance(answer, Failed)
    assert answer.cancelled
    # The session is as before: its project still answers.
    assert isinstance(engine.until(engine.send(UpdatePlan, revision=5, plan=PlanData(), samples=1))[-1], Done)


def test_verification_tells_how_far_it_is_and_answers(engine: Engine) -> None:
    answers = engine.until(engine.send(Verify, revision=7, samples=1))
    *told, verified = [answer for answer in answers if not isinstance(answer, ErrorsReady | Done)]
    assert isinstance(verified, Verified)
    assert verified.revision == 7
    assert verified.verification.first_stage == ""
    stages = [item.stage for item in verified.verification.comparisons]
    assert sorted(stages, key=list(Stage).index) == stages
    assert [item.done for item in told if isinstance(item, Progress)] == list(range(len(stages) + 1))


def test_work_that_is_cancelled_before_it_starts_never_starts(engine: Engine, samples: Path) -> None:
    first = engine.send(Evaluate, revision=1, path=str(samples), samples=64)
    second = engine.send(Evaluate, revision=1, path=str(samples), samples=64)
    engine.send(Cancel, target_id=second)
    answers = engine.until(second)
    assert any(isinstance(answer, Evaluated) and answer.id == first for answer in answers)
    assert [type(answer) for answer in answers if answer.id == second] == [Failed]


def test_failures_are_answers_and_the_process_goes_on(engine: Engine, tmp_path: Path, samples: Path) -> None:
    failures: list[tuple[type[Request], dict[str, Any], str]] = [
        (Open, {"path": str(tmp_path / "none.onnx")}, "cannot be read"),
        (Open, {"path": str(samples)}, "archive"),
        (UpdatePlan, {"revision": 1, "plan": PlanData(target="journey9")}, "unknown target 'journey9'"),
        (UpdatePlan, {"revision": 1, "plan": PlanData(choices={"ghost": "int8"})}, "not in the model: ghost"),
        (UpdatePlan, {"revision": 1, "plan": PlanData(choices={"ghost": "int3"})}, "int3"),
        (UpdatePlan, {"revision": 1, "plan": PlanData(default_method="magic")}, "unknown calibration method"),
        (Inspect, {"revision": 1, "node": "ghost"}, "no node 'ghost'"),
        (Inspect, {"revision": 1, "node": "ghost", "sample": 99}, "there is no sample 99"),
        (Calibrate, {"path": str(tmp_path / "none.npz")}, "none.npz"),
        (Evaluate, {"revision": 1, "path": str(samples), "split": "nope"}, "no split 'nope'"),
        (Save, {"path": str(tmp_path / "no" / "such.qscope")}, "cannot be written"),
        (Export, {"format": "poem", "path": str(tmp_path / "x")}, "poem"),
    ]
    for kind, fields, expected in failures:
        failed = engine.ask(kind, Failed, **fields)
        assert expected in failed.message, kind
        assert "\n" not in failed.message
        assert not failed.unexpected
        assert not failed.cancelled
    assert isinstance(engine.until(engine.send(UpdatePlan, revision=9, plan=PlanData(), samples=1))[-1], Done)


def test_a_failed_plan_leaves_target_and_choices(engine: Engine, project: Path, tmp_path: Path) -> None:
    engine.ask(UpdatePlan, Failed, revision=1, plan=PlanData(target="generic-int8", choices={"ghost": "int8"}))
    engine.ask(Save, Saved, path=str(tmp_path / "p.qscope"))
    saved = engine.ask(Open, Opened, path=str(tmp_path / "p.qscope"))
    assert saved.plan == PlanData(target="journey5")


def test_a_process_finds_the_corrections_of_the_one_before_it(
    engine: Engine, project: Path, models: Path, tmp_path: Path
) -> None:
    graph = Session.open(models / "mobile_fmnist.onnx").graph
    node = next(node for node in graph.nodes if node.op.type_name == "Conv")
    made = Correction("bias", "by hand", biases={node.id: np.zeros(graph.types[node.outputs[0]].shape[1])})
    KeptCorrections(tmp_path / "kept", CorrectionStore()).add(made)
    opened = engine.ask(Open, Opened, path=str(project), corrections=str(tmp_path / "kept"))
    plan = msgspec.structs.replace(opened.plan, corrections=(made.digest,))
    engine.ask(UpdatePlan, Done, revision=1, plan=plan, samples=0)
    engine.ask(Save, Saved, path=str(tmp_path / "p.qscope"))
    assert (tmp_path / "p.corrections" / f"{made.digest}.npz").is_file()

    plan = msgspec.structs.replace(opened.plan, corrections=("0" * 32,))
    failed = engine.ask(UpdatePlan, Failed, revision=2, plan=plan, samples=0)
    assert "a correction 00000000 that is not here" in failed.message and not failed.unexpected


def test_calibrate_save_and_export(engine: Engine, models: Path, samples: Path, recipe: Path, tmp_path: Path) -> None:
    engine.ask(Open, Opened, path=str(models / "mobile_fmnist.onnx"))
    done = engine.until(engine.send(Calibrate, path=str(samples), recipe_path=str(recipe), samples=4))
    assert [type(answer) for answer in done] == [Progress] * (len(done) - 1) + [Calibrated]
    path = tmp_path / "p.qscope"
    engine.ask(Save, Saved, path=str(path))
    opened = engine.ask(Open, Opened, path=str(path))
    assert opened.calibrated
    assert opened.calibration_data == str(samples)
    exported = engine.ask(Export, Exported, format="package", path=str(tmp_path / "p.zip"))
    assert exported.summary.size_bytes == (tmp_path / "p.zip").stat().st_size


def test_the_end_of_the_stream_stops_work_and_process(
    fresh: Callable[[], Engine], project: Path, samples: Path
) -> None:
    engine = fresh()
    assert engine.ask(Save, Failed, path="p.qscope").message == "no model is open"
    engine.ask(Open, Opened, path=str(project))
    engine.send(Evaluate, revision=1, path=str(samples))
    while not isinstance(engine.answer(), Progress):
        pass
    status, errors = engine.end()
    assert (status, errors) == (0, "")


@pytest.mark.parametrize("garbage", [b"\xff" * 64, frame(msgspec.msgpack.encode({"kind": "x"}))])
def test_garbage_ends_the_process_quietly(fresh: Callable[[], Engine], garbage: bytes) -> None:
    engine = fresh()
    engine.write(garbage)
    assert engine.answer() is None
    assert engine.end() == (0, "")
