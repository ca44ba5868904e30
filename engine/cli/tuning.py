"""``quantscope tune``: a search of plans, its front as a table, the chosen plan as a project."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from engine.cli.output import decibels, print_table, write_json
from engine.errors import ExecutorError, ProjectError
from engine.files import check_folder
from engine.plan.data import plan_of
from engine.project import SUFFIX
from engine.tune.records import TunePoint, TuneReport, TuneSettings

if TYPE_CHECKING:
    from engine.session import Session
    from engine.tune.executors import Executor
    from engine.tune.tune import Progress

EXECUTORS = ("processes", "inline")
_EVERY_S = 1.0

MOST_HEURISTICS = 12
"""Listed beside the front; the JSON has all."""

COLUMNS = ("plan", "latency ms", "DDR MB", "output dB", "agree %", "int16", "float", "drop, points", "like", "from")
NUMERIC = tuple(range(9))


@dataclass(frozen=True)
class Workers:
    """Who measures: ``executor`` is one of :data:`EXECUTORS`, ``count`` how many processes (None: one a core),
    ``scheduler`` the address of a Dask scheduler instead ("": none)."""

    executor: str = "processes"
    count: int | None = None
    scheduler: str = ""


def tune_project(
    project: Path,
    settings: TuneSettings,
    workers: Workers,
    data: Path | None,
    split: str | None,
    output: Path | None,
    json: Path | None,
) -> bool:
    """Search, print the front, write the chosen plan; returns whether a plan keeps the bounds."""
    from engine.cli.opening import open_project
    from engine.tune.journal import journal_path
    from engine.tune.tune import tune

    if output is not None and output.suffix != SUFFIX:
        raise ProjectError(f"a project's name ends in {SUFFIX}", path=output)
    if output is not None:
        check_folder(output, ProjectError)
    session = open_project(project)
    with _executor(session, workers) as executor, _interruptible() as interrupted, _narrator() as heard:
        report = tune(
            session,
            settings,
            executor=executor,
            journal=journal_path(project),
            data=data,
            split=split,
            listener=heard,
            cancelled=interrupted,
        )
    _show(report)
    write_json(json, report)
    chosen = next((point for point in report.front if point.number == report.chosen), None)
    if output is not None and chosen is not None:
        session.set_plan(plan_of(chosen.plan))
        session.save(output)
        print(f"wrote {output}: plan {chosen.number}")
    return chosen is not None


@contextmanager
def _executor(session: Session, workers: Workers) -> Generator[Executor]:
    """Who measures, as long as the block runs. Processes open a copy of the project as it stands."""
    from engine.tune.bench import Bench
    from engine.tune.cluster import Cluster
    from engine.tune.executors import InProcess
    from engine.tune.processes import Processes

    if workers.executor not in EXECUTORS:
        hint = f"choose {' or '.join(EXECUTORS)}"
        raise ExecutorError(f"there is no executor '{workers.executor}'", hint=hint)
    if workers.scheduler:
        assert session.project is not None
        executor: Executor = Cluster(workers.scheduler, session.project)
    elif workers.executor == "inline":
        executor = InProcess(Bench(session))
    else:
        assert session.project is not None
        executor = Processes(session.project, workers.count or os.cpu_count() or 1)
    try:
        yield executor
    finally:
        executor.close()


@contextmanager
def _interruptible() -> Generator[Callable[[], bool]]:
    """Ctrl+C stops the search, which then reports what it has; a second one ends the program."""
    import signal

    stops: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        stops.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(stops)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _narrator() -> Generator[Callable[[Progress], None]]:
    """One line on standard error, where that is a terminal: how many plans were tried, and the front's ends."""
    front: dict[int, TunePoint] = {}
    said_s = 0.0
    tried = 0
    is_terminal = sys.stderr.isatty()

    def heard(progress: Progress) -> None:
        nonlocal said_s, tried
        tried += 1
        if progress.is_on_front:
            front[progress.point.number] = progress.point
        for number in front.keys() - set(progress.front):
            del front[number]
        if not is_terminal or not front or time.monotonic() - said_s < _EVERY_S:
            return
        said_s = time.monotonic()
        fastest = min(front.values(), key=lambda point: point.latency_ms)
        best = max(front.values(), key=lambda point: point.output_db.mean or 0.0)
        ends = f"{_ends(fastest)} to {_ends(best)}"
        print(f"\r\033[K{tried} plans tried, {len(front)} on the front: {ends}", end="", file=sys.stderr, flush=True)

    yield heard
    if is_terminal and tried:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _ends(point: TunePoint) -> str:
    return f"{point.latency_ms:.3f} ms {decibels(point.output_db.mean)} dB"


def _show(report: TuneReport) -> None:
    rows = [_row(point, point.number == report.chosen) for point in report.front]
    tried = f"{report.measured} plans tried, {report.known} known before, {report.seconds:.0f} s ({report.ended})"
    print_table(f"front of {len(rows)} plans; {tried}", COLUMNS, rows, NUMERIC)
    if report.heuristics:
        best = sorted(report.heuristics, key=lambda point: -(point.output_db.mean or 0.0))[:MOST_HEURISTICS]
        title = f"heuristics, each beaten or equalled by a plan of the front (the best of {len(report.heuristics)})"
        print_table(title, COLUMNS, [_row(point, False) for point in best], NUMERIC)
    print(report.verdict)


def _row(point: TunePoint, is_chosen: bool) -> tuple[str, ...]:
    task = point.task
    return (
        f"> {point.number}" if is_chosen else str(point.number),
        f"{point.latency_ms:.3f}",
        f"{point.ddr_bytes / 1e6:.2f}",
        decibels(point.output_db.mean, point.output_db.half_width),
        "–" if point.agreement is None else f"{100.0 * point.agreement:.1f}",
        str(point.int16_nodes),
        str(point.float_nodes),
        "–" if task is None else f"{task.drop:.2f} ±{task.half_width:.2f}",
        "" if point.like is None else str(point.like),
        point.origin,
    )
