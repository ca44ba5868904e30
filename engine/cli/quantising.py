"""The ``quantise`` command: run a preset, print what each step gained, and save the plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from engine.cli.opening import open_project
from engine.cli.output import decibels, print_table, progress_bar, write_json
from engine.errors import CalibrationError, PlanError, ProjectError
from engine.files import check_folder
from engine.quantise.presets import QuantiseReport, quantising, steps_of
from engine.quantise.step import Work
from engine.reports import Interval
from engine.session import Session

FEW_SAMPLES = 8
"""With fewer, the intervals are so wide that hardly any gain can be told from none."""


def check_preset(preset: str) -> None:
    """Raise PlanError unless there is such a preset."""
    steps_of(preset)


def run_preset(session: Session, preset: str, samples: int, max_int16: float | None = None) -> QuantiseReport:
    """Run a preset on a calibrated session, make its plan the session's, and print what came of it; at most a share of
    ``max_int16`` of the operators becomes int16 (None: what the preset allows). Ctrl+C stops it; what was found until
    then is kept.

    Raises:
        PlanError: There is no such preset.
        CalibrationError, DataError: The session is not calibrated, or its samples cannot be read.
    """
    report: QuantiseReport | None = None
    with progress_bar(f"quantising ({preset})") as progress:
        try:
            work = Work(tuple(session.samples(samples)), progress, max_int16=max_int16)
            for found in quantising(session, preset, work):
                report = found
        except KeyboardInterrupt:
            if report is None:
                raise
            report = replace(report, stopped=True)
    assert report is not None
    session.set_plan(report.plan)
    _print(report)
    return report


def _print(report: QuantiseReport) -> None:
    rows = [
        (it.title, _db(it.quality.output_db), _db(it.gain_db), "kept" if it.kept else "–", f"{it.seconds:.1f}")
        for it in report.steps
    ]
    before, after = report.before, report.after
    where = f"fitted on {report.fitted} samples, judged on {report.judged}"
    print_table(f"{report.preset}: {where}", ("step", "output dB", "gain dB", "", "s"), rows, numeric=(1, 2, 4))
    agreement = "" if after.agreement is None else f", agreement with float {after.agreement:.1%}"
    print(f"output {_db(before.output_db)} dB before, {_db(after.output_db)} dB after{agreement}")
    print(f"{report.at_int16} of {report.operators} operators at int16, {report.change_us:+.1f} us")
    if report.stopped:
        print(f"stopped after {len(report.steps)} of {report.total} steps; what they found is kept")
    if report.judged < FEW_SAMPLES:
        print(f"warning: {report.judged} samples tell little: the interval is {_width(after.output_db)}")


def _db(interval: Interval) -> str:
    return "–" if interval.mean is None else decibels(interval.mean, interval.half_width)


def _width(interval: Interval) -> str:
    return "unknown with one" if interval.half_width is None else f"± {interval.half_width:.1f} dB"


def quantise(project: Path, preset: str, samples: int, max_int16: float | None, json: Path | None) -> None:
    """Run a preset on a project and save it."""
    check_preset(preset)
    session = open_project(project)
    check_folder(project, ProjectError)
    if session.calibration is None:
        raise CalibrationError("the project is not calibrated", path=project, hint="make one with `quantscope new`")
    if session.data is None:
        raise PlanError("the project names no calibration data to measure on", hint="make one with `quantscope new`")
    report = run_preset(session, preset, samples, max_int16)
    session.save(project)
    write_json(json, {"project": str(project), **msgspec.to_builtins(report.record())})
