"""``quantscope train``: train a project's plan, tell how it goes, and write what was learned into the project."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import msgspec

from engine.calibrate.recipe import load_recipe
from engine.cli.opening import open_project
from engine.cli.output import progress_bar, write_json
from engine.errors import PlanError, ProjectError
from engine.files import check_folder
from engine.train.records import MetricPoint, TrainOptions, TrainProgress, TrainReport, drop_text, with_bounds
from engine.train.trainer import train


@dataclass(frozen=True)
class Sources:
    """Where a run reads and what it keeps."""

    data: Path
    recipe: Path | None
    split: str | None
    samples: int | None
    device: str
    checkpoint: Path | None
    resume: bool


def options(**given: object) -> TrainOptions:
    """The options by name. Raises PlanError where one is of the wrong kind."""
    try:
        return msgspec.convert(given, TrainOptions)
    except msgspec.ValidationError as error:
        raise PlanError(f"cannot train so: {error}") from error


def train_project(
    project: Path, output: Path | None, sources: Sources, chosen: TrainOptions, json: Path | None
) -> None:
    """Train, print the course, and save the project (under another name where there is an ``output``)."""
    if sources.resume and sources.checkpoint is None:
        raise PlanError("there is nothing to go on from", hint="name the file with --checkpoint")
    check_folder(output or project, ProjectError)
    session = open_project(project)
    with _stopping() as stopped, progress_bar("training") as progress:
        plan, report = train(
            session,
            sources.data,
            chosen,
            recipe=None if sources.recipe is None else load_recipe(sources.recipe),
            split=sources.split,
            samples=sources.samples,
            device=sources.device,
            checkpoint=sources.checkpoint,
            resume=sources.checkpoint if sources.resume else None,
            observe=lambda course: _tell(course, progress),
            cancelled=stopped,
        )
    _print_report(report)
    if report.is_better:
        session.set_plan(plan)
        print(f"wrote {session.save(output or project)}")
    write_json(json, report)


def _tell(course: TrainProgress, progress: Callable[[int, int], None]) -> None:
    progress(course.step, course.steps)
    for point in course.metrics:
        print(f"step {point.step} of {course.steps}: {_figures(course.metric, point)}", flush=True)


def _figures(metric: str, point: MetricPoint) -> str:
    parts = (f"{metric} {with_bounds(metric, point)}", drop_text(point), f"loss {point.loss:.5g}")
    return ", ".join(filter(None, parts))


def _print_report(report: TrainReport) -> None:
    if report.float_metric is not None:
        print(f"{report.metric} of the float model on the samples kept aside {report.float_metric:.2%}")
    print(report.text)
    if report.compared:
        print(f"the project's program and the trained module: the same bits on {report.compared} samples")


@contextmanager
def _stopping() -> Generator[Callable[[], bool]]:
    """Whether the user asked to stop: the first Ctrl+C ends the run in order, a second one at once."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)
