"""One search from beginning to end: :func:`tune`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.analyze.sensitivity import sensitivity
from engine.errors import CalibrationError, Cancelled, DataError, ExecutorError, ProjectError
from engine.tune.archive import Found
from engine.tune.bench import Bench
from engine.tune.confirm import (
    LEAST_POINTS,
    Choice,
    Confirmed,
    Judge,
    alike,
    candidates,
    choose,
    final_front,
    point_of,
)
from engine.tune.executors import Executor, InProcess, Watch
from engine.tune.journal import Journal, context_of
from engine.tune.records import Measured, TunePoint, TuneReport, TuneSettings
from engine.tune.search import Search

if TYPE_CHECKING:
    from engine.session import Session


_SENSITIVITY_SAMPLES = 4

FINISHED = ("converged", "time", "trials")
"""Ends of a search that nobody stopped and nothing broke."""


@dataclass(frozen=True)
class Progress:
    """What a listener is told after each measurement: the point, whether it is on the front now, and the numbers of
    those that are."""

    point: TunePoint
    is_on_front: bool
    front: tuple[int, ...]


Listener = Callable[[Progress], None]


def _ignored(progress: Progress) -> None:
    """Nobody listens."""


def _never() -> bool:
    return False


def tune(
    session: Session,
    settings: TuneSettings,
    *,
    executor: Executor | None = None,
    journal: Path | None = None,
    data: Path | None = None,
    split: str | None = None,
    listener: Listener = _ignored,
    cancelled: Watch = _never,
) -> TuneReport:
    """Search plans around a session's plan, which stays as it is, and return the front.

    Args:
        executor: Who measures plans; this process by default. It stays open.
        journal: File that keeps what was measured, and from which a search that was stopped goes on; None for none.
        data: Labelled samples (and the ``split`` of them) by which the point that ``max_drop`` asks for is chosen.
            The search itself never sees them.
        listener: Told of every plan as it is measured.
        cancelled: Asked between samples. What was measured by then is in the report.

    Raises:
        CalibrationError: The session is not calibrated, or has no samples.
        DataError: ``data`` do not fit the model, or have no labels.
        ProjectError: The journal cannot be read.
        DataError, ExecutorError, ProjectError: Samples cannot be read any more, nobody measures, or the journal cannot
            be written, and no plan was measured yet; otherwise that is why the search ended.
    """
    if session.calibration is None or session.data is None:
        raise CalibrationError("plans can only be tried on samples", hint="calibrate the project with data first")
    kept = Journal(journal, context_of(session))
    try:
        return _Tuning(session, settings, executor or InProcess(Bench(session)), kept, listener, cancelled).run(
            data, split
        )
    finally:
        kept.close()


class _Tuning:
    """The parts of one search, put together."""

    def __init__(
        self,
        session: Session,
        settings: TuneSettings,
        executor: Executor,
        journal: Journal,
        listener: Listener,
        cancelled: Watch,
    ) -> None:
        self._session = session
        self._settings = settings
        self._listener = listener
        self._cancelled = cancelled
        self._search = Search(session, executor, settings, journal, self._heard, cancelled)

    def run(self, data: Path | None, split: str | None) -> TuneReport:
        judge = Judge(self._session, data, split, self._cancelled)
        if self._settings.max_drop is not None:
            judge.check()
        ended = self._searched()
        confirmed = self._confirmed(ended)
        front = final_front(confirmed)
        like = alike(front)
        points = [self._point(item, like.get(item.found.number)) for item in front]
        genomes = {item.found.number: item.found.genome for item in front}
        choice = self._chosen(points, lambda point: judge.judged(point, self._search.space.plan(genomes[point.number])))
        return TuneReport(
            front=choice.front,
            heuristics=tuple(self._point(item) for item in confirmed if item.found.is_heuristic),
            chosen=choice.number,
            verdict=choice.verdict,
            measured=len(self._search.archive),
            known=self._search.known,
            ended=ended,
            seconds=self._search.seconds,
        )

    def _chosen(self, points: Sequence[TunePoint], judged: Callable[[TunePoint], TunePoint]) -> Choice:
        """What the bounds ask for; where that cannot be told, the front is still worth its search."""
        try:
            return choose(points, self._planned_ms(), self._settings, judged)
        except (Cancelled, DataError) as reason:
            return Choice(None, tuple(points), f"no plan was chosen: {reason}")

    def _searched(self) -> str:
        """Search, and why that ended: a failure that leaves something to report is no more than a reason."""
        try:
            return self._search.run(self._noise)
        except Cancelled:
            if not self._search.archive.front:
                raise
            return "stopped"
        except (ExecutorError, DataError, ProjectError) as failure:
            if not self._search.archive.front:
                raise
            return str(failure)

    def _confirmed(self, ended: str) -> Sequence[Confirmed]:
        """What there is to report: measured on all samples, as many as time, user and executor allow; where that is
        none, as it was searched by."""
        archive = self._search.archive
        wanted = candidates(archive.front, archive.heuristics)
        results: Mapping[int, Measured] = {}
        if ended in FINISHED:
            with contextlib.suppress(Cancelled, ExecutorError, DataError, ProjectError):
                results = self._search.confirmed(wanted, LEAST_POINTS)
        if not results:
            return [Confirmed(found, found.measured) for found in wanted]
        return [Confirmed(found, results[found.number]) for found in wanted if found.number in results]

    def _noise(self) -> Mapping[str, float]:
        """By unit, noise to signal at the model's outputs with only that unit in integers, of 8 bits."""
        space = self._search.space
        narrow = self._session.with_plan(space.plan(space.uniform("int8")))
        found = sensitivity(narrow, min(_SENSITIVITY_SAMPLES, self._settings.samples), self._cancelled)
        return {node.id: node.noise for node in found.nodes}

    def _planned_ms(self) -> float:
        return self._session.estimate().latency_ms

    def _heard(self, found: Found, front: Sequence[Found]) -> None:
        if found.measured.problem:
            return
        numbers = tuple(other.number for other in front)
        point = point_of(self._session, self._search.space, found, found.measured)
        self._listener(Progress(point, found.number in numbers, numbers))

    def _point(self, item: Confirmed, like: int | None = None) -> TunePoint:
        return point_of(self._session, self._search.space, item.found, item.measured, like)
