"""Worker processes: the same figures as here, one that dies is replaced, and no work is lost with it."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import Cancelled, ExecutorError
from engine.plan.data import data_of
from engine.session import Session
from engine.tune.bench import Bench
from engine.tune.executors import InProcess
from engine.tune.processes import Processes
from engine.tune.records import Measured, Trial
from engine.tune.space import space_of

WORKER = """
import os, sys
import msgspec
from engine.framing import frame, read_frame
from engine.tune.records import Answer, Measured, Trial

def send(answer):
    sys.stdout.buffer.write(frame(msgspec.msgpack.encode(answer)))
    sys.stdout.buffer.flush()

def take():
    return msgspec.msgpack.decode(read_frame(sys.stdin.buffer), type=Trial)
"""


def never() -> bool:
    return False


@pytest.fixture
def trials(session: Session) -> list[Trial]:
    space = space_of(session)
    genomes = [space.changed(space.origin, {place: 1}) for place in range(6)]
    return [Trial(data_of(space.plan(genome), session.target_reference), 4) for genome in genomes]


@pytest.fixture
def workers(small_project: Path) -> Iterator[Processes]:
    executor = Processes(small_project, 2)
    yield executor
    executor.close()


def scripted(tmp_path: Path, body: str) -> list[str]:
    """The command of a worker that answers as a script says."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER + textwrap.dedent(body))
    return [sys.executable, str(script)]


def test_processes_measure_what_this_one_does_and_outlive_a_death(
    session: Session, workers: Processes, trials: list[Trial]
) -> None:
    expected = dict(InProcess(Bench(session)).run(trials, never))
    found: dict[int, Measured] = {}
    for place, measured in workers.run(trials, never):
        if not found:
            os.kill(workers.process_ids[0], signal.SIGKILL)
        found[place] = measured
    assert found == expected
    assert dict(workers.run(trials[:2], never)) == {place: expected[place] for place in (0, 1)}


def test_stopping_in_the_middle(workers: Processes, trials: list[Trial]) -> None:
    answers = iter([False, False, True])
    with pytest.raises(Cancelled):
        list(workers.run(trials, lambda: next(answers, True)))


def test_a_trial_that_kills_its_workers_is_given_up(
    tmp_path: Path, small_project: Path, trials: list[Trial]
) -> None:
    body = """
    send(Answer())
    while take().samples != 13:
        send(Answer(Measured((1.0,))))
    os._exit(3)
    """
    executor = Processes(small_project, 2, scripted(tmp_path, body))
    try:
        found = dict(executor.run([trials[0], Trial(trials[1].plan, 13)], never))
    finally:
        executor.close()
    assert found[0] == Measured((1.0,))
    assert found[1].is_lost
    assert found[1].problem == "3 workers died while measuring it; the last one ended with status 3"


def test_workers_that_cannot_open_the_project_say_why(tmp_path: Path, trials: list[Trial]) -> None:
    executor = Processes(tmp_path / "gone.qscope", 1)
    try:
        with pytest.raises(ExecutorError, match=r"gone\.qscope"):
            list(executor.run(trials, never))
    finally:
        executor.close()


def test_no_worker_is_left(tmp_path: Path, small_project: Path, trials: list[Trial]) -> None:
    executor = Processes(small_project, 1, scripted(tmp_path, "os._exit(7)"))
    try:
        with pytest.raises(ExecutorError, match="all workers died; the last one ended with status 7; what was meas"):
            list(executor.run(trials, never))
    finally:
        executor.close()


def test_no_workers_at_all(small_project: Path) -> None:
    with pytest.raises(ExecutorError, match="0 workers cannot measure anything"):
        Processes(small_project, 0)
