"""``quantscope tune``: the front on standard output, the chosen plan as a project, one line for what cannot be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.cli.main import main
from engine.session import Session
from engine.tune.journal import journal_path

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command on arguments; returns the exit status."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["quantscope", "tune", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0)

    return call


INLINE = ("--executor", "inline", "--samples", 2)


def test_tune_writes_the_chosen_plan(
    project: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    best, report = tmp_path / "best.qscope", tmp_path / "report.json"
    assert run(project, "--max-latency-ms", 100, "--trials", 4, *INLINE, "-o", best, "--json", report) == 0
    printed = capsys.readouterr().out
    assert "front of" in printed and "the most accurate within the bounds" in printed
    found = json.loads(report.read_text())
    chosen = next(point for point in found["front"] if point["number"] == found["chosen"])
    choices = {node: wanted.value for node, wanted in Session.open(best).plan.choices.items()}
    assert choices == chosen["plan"]["choices"]
    assert journal_path(project).exists()
    journal_path(project).unlink()


def test_bounds_that_nothing_keeps(project: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "--max-ddr-mb", 0.001, "--trials", 2, *INLINE, "-o", tmp_path / "best.qscope") == 1
    assert "no plan keeps the bounds" in capsys.readouterr().out
    assert not (tmp_path / "best.qscope").exists()
    journal_path(project).unlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--executor", "magic"), "there is no executor 'magic'; choose processes or inline"),
        (("-o", "best.onnx"), "a project's name ends in .qscope"),
    ],
)
def test_what_cannot_be(
    project: Path, run: Run, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run(project, *arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_a_model_is_no_project(models: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(models / "mobile_fmnist.onnx") == 1
    assert "is not a project; make one with `quantscope new`" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C reaches a process in other ways there")
def test_ctrl_c_ends_it_in_order_and_the_next_search_goes_on(project: Path, tmp_path: Path) -> None:
    """As a terminal does it: to all processes of the group, workers included."""
    environment = {**os.environ, "PYTHONPATH": str(Path(main.__code__.co_filename).parents[2])}
    command = [sys.executable, "-m", "engine.cli.main", "tune", str(project), "--workers", "1", "--samples", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        while process.poll() is None and not _lines(journal_path(project)):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        printed, said = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert "(stopped)" in printed and "front of" in printed
    assert said == ""
    assert len(_lines(journal_path(project))) > 0
    journal_path(project).unlink()


def _lines(journal: Path) -> list[bytes]:
    return journal.read_bytes().splitlines() if journal.exists() else []
