"""``quantscope quantise`` and ``new --preset``, through the real entry point."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from engine.cli.main import main
from engine.session import Session


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["quantscope", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_a_preset_is_judged_and_saved(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record.json"
    assert run(monkeypatch, "quantise", project, "--preset", "balanced", "--samples", 4, "--json", record) == 0
    found = json.loads(record.read_text())
    assert (found["preset"], found["fitted"], found["judged"], found["stopped"]) == ("balanced", 3, 1, False)
    assert [step["name"] for step in found["steps"]] and found["total"] == len(found["steps"])
    assert found["output_db"]["mean"] >= found["before_db"]["mean"]
    out = capsys.readouterr().out
    assert "fitted on 3 samples, judged on 1" in out
    assert "warning: 1 samples tell little: the interval is unknown with one" in out
    session = Session.open(project)
    kept = [step for step in found["steps"] if step["kept"]]
    assert bool(kept) == (session.plan != Session.open(project.with_name("mobile.qscope")).plan)
    assert session.program().outputs


def test_new_with_a_preset(
    models: Path, samples: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.qscope"
    model = models / "mobile_fmnist.onnx"
    options = ("--calibration", samples, "--recipe", recipe, "--samples", 8, "--preset", "fast", "-o", path)
    assert run(monkeypatch, "new", model, *options) == 0
    session = Session.open(path)
    assert session.calibration is not None and session.calibration.samples == 8


@pytest.mark.parametrize("command", ["quantise", "new"])
def test_an_unknown_preset(
    command: str,
    project: Path,
    models: Path,
    samples: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rest = (project,)
    if command == "new":
        rest = (models / "mobile_fmnist.onnx", "--calibration", samples, "-o", project.with_name("no.qscope"))
    assert run(monkeypatch, command, *rest, "--preset", "magic") == 1
    err = capsys.readouterr().err
    assert err.startswith("quantscope: there is no preset 'magic'; choose one of fast, balanced, best")
    assert err.count("\n") == 1
    assert not project.with_name("no.qscope").exists()
