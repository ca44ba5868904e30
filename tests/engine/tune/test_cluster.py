"""A Dask scheduler with real workers on this machine: the same figures as here, also when a worker is killed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine import errors
from engine.errors import ExecutorError
from engine.plan.data import data_of
from engine.session import Session
from engine.tune.bench import Bench
from engine.tune.cluster import Cluster
from engine.tune.executors import InProcess
from engine.tune.records import Measured, Trial
from engine.tune.space import space_of

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None,
    reason='distributed is not installed: pip install "quantscope[cluster]"',
)
ROOT = str(Path(errors.__file__).resolve().parent.parent)


def never() -> bool:
    return False


def started(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment,
    )


@dataclass
class Loopback:
    """A scheduler on a free port of this machine, and its workers."""

    scheduler: subprocess.Popen[str]
    address: str
    workers: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    def add_worker(self) -> None:
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        self.workers.append(started("dask_worker", self.address, *options))

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.communicate()


@pytest.fixture
def cluster() -> Iterator[Loopback]:
    scheduler = started("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    assert scheduler.stderr is not None
    address = next(found[0] for line in scheduler.stderr if (found := re.search(r"tcp://127\.0\.0\.1:\d+", line)))
    made = Loopback(scheduler, address)
    yield made
    made.end()


@pytest.fixture
def trials(session: Session) -> list[Trial]:
    space = space_of(session)
    genomes = [space.changed(space.origin, {place: 1}) for place in range(6)]
    return [Trial(data_of(space.plan(genome), session.target_reference), 4) for genome in genomes]


@needs_dask
@pytest.mark.timeout(300)  # on a busy machine: three processes load torch
def test_the_life_of_a_cluster(cluster: Loopback, session: Session, small_project: Path, trials: list[Trial]) -> None:
    """One cluster from beginning to end: its processes are what takes the time."""
    with pytest.raises(ExecutorError, match=r"has no workers; start one with `dask worker tcp://127\.0\.0\.1"):
        Cluster(cluster.address, small_project, patience_s=0.1)

    # Two workers measure what this process does, also when one of them is killed on the way.
    expected = dict(InProcess(Bench(session)).run(trials, never))
    cluster.add_worker()
    cluster.add_worker()
    executor = Cluster(cluster.address, small_project, patience_s=60.0)
    executor._client.wait_for_workers(2, timeout=60.0)
    found: dict[int, Measured] = {}
    for place, measured in executor.run(trials, never):
        if not found:
            cluster.workers[0].kill()
        found[place] = measured
    assert found == expected

    executor._patience_s = 0.5
    cluster.workers[1].kill()
    with pytest.raises(ExecutorError, match="has lost all of its workers; what was measured is kept"):
        list(executor.run(trials, never))

    executor._patience_s = 60.0
    cluster.scheduler.kill()
    with pytest.raises(ExecutorError, match="is gone; what was measured is kept"):
        list(executor.run(trials, never))
    executor.close()


@needs_dask
def test_a_scheduler_that_is_not_there(small_project: Path) -> None:
    with pytest.raises(ExecutorError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        Cluster("tcp://127.0.0.1:9", small_project, patience_s=1.0)


def test_without_the_package(small_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it were not installed
    with pytest.raises(ExecutorError, match=r"needs the package 'distributed'; pip install \"quantscope\[cluster\]\""):
        Cluster("tcp://127.0.0.1:9", small_project)
