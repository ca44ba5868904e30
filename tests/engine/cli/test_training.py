"""`quantscope train`: what it prints and writes, how it is stopped, and what it refuses."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.cli import training
from engine.cli.main import app
from engine.errors import PlanError, ProjectError
from engine.session import Session
from engine.train.records import TrainProgress


def run(*arguments: str | Path) -> None:
    app(["train", *map(str, arguments)], standalone_mode=False)


def test_it_tells_the_course_and_writes_another_project(
    project: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = project.read_bytes()
    output = project.with_name("trained.qscope")
    options = ("--split", "calibration", "--samples", "48", "--batch", "8", "--lr", "1e-4", "--seed", "1")
    run(project, "--data", samples, *options, "-o", output, "--distill")
    printed = capsys.readouterr().out
    assert "step 0 of 5: top-1 " in printed
    assert "step 5 of 5: top-1 " in printed
    assert " points (95 %: " in printed
    assert "top-1 of the float model on the samples kept aside" in printed
    assert project.read_bytes() == before
    if "wrote" in printed:  # it became better
        assert "the same bits on 4 samples" in printed
        assert Session.open(output).plan.corrections
        output.unlink()
    else:
        assert "nothing was better" in printed and not output.exists()


def test_ctrl_c_ends_the_run_in_order(
    project: Path, samples: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    tell = training._tell  # pyright: ignore[reportPrivateUsage]

    def interrupted(course: TrainProgress, progress: Callable[[int, int], None]) -> None:
        tell(course, progress)
        if course.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(training, "_tell", interrupted)
    run(project, "--data", samples, "--split", "calibration", "--samples", "48", "--batch", "8")
    assert "stopped after 2 of 5 steps" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "name the file with --checkpoint"),
        (["--optimizer", "lion"], "cannot train so: .*optimiser"),
        (["--epochs", "0"], "0 epochs"),
    ],
)
def test_what_makes_no_sense_is_refused(project: Path, samples: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        run(project, "--data", samples, "--split", "calibration", *arguments)


def test_a_model_is_no_project(models: Path, samples: Path) -> None:
    with pytest.raises(ProjectError, match="is not a project"):
        run(models / "mobile_fmnist.onnx", "--data", samples)
