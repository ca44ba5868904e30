"""``quantscope advise``: tables, JSON, what it applies, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from engine.cli.advising import EXIT_STATUS
from engine.cli.main import app
from engine.errors import PlanError, ProjectError
from engine.reports_advice import Answer
from engine.session import Session

PROJECT_NODE = "/blocks.0/project/conv/Conv"


def spoil(project: Path) -> None:
    """Clip nearly all of one value: what a remedy must find and mend."""
    session = Session.open(project)
    (value,) = session.graph.by_id[PROJECT_NODE].outputs
    session.set_plan(session.plan.with_thresholds({value: 0.3}))
    session.save(project)


def run(project: Path, *options: str, status: int) -> tuple[str, dict[str, Any]]:
    output = project.with_suffix(".json")
    arguments = ["advise", str(project), "--node", PROJECT_NODE, "--samples", "6", "--json", str(output), *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == status, (result.output, result.exception)
    return result.output, json.loads(output.read_text(encoding="utf-8"))


def test_a_spoilt_project_is_mended(project: Path) -> None:
    spoil(project)
    before = Session.open(project).plan
    text, found = run(project, "--min-db", "15", "--apply-all", status=0)
    assert "1 nodes that matter" in text
    assert "clips 7" in text
    assert text.rstrip().splitlines()[-1] == "no verdict: only the chosen nodes were looked at"
    assert found["verdict"] is None
    assert found["combination"]["reaches"]
    assert f"applied to {project}" in text
    assert found["applied"]
    assert Session.open(project).plan != before


def test_one_remedy_is_applied_by_its_number(project: Path) -> None:
    spoil(project)
    _, found = run(project, "--min-db", "15", "--apply", "1", status=0)
    best = max((t for t in found["trials"] if t["is_offered"]), key=lambda trial: trial["effect"]["gain_db"]["mean"])
    assert found["applied"] == f"{PROJECT_NODE}: {best['title']}"


def test_every_answer_has_an_exit_status() -> None:
    assert {answer: EXIT_STATUS[answer] > 0 for answer in Answer} == {
        answer: answer in (Answer.TRAIN, Answer.UNDECIDED) for answer in Answer
    }


def test_what_cannot_be_done_is_said(project: Path, models: Path) -> None:
    arguments = ["advise", str(project), "--node", PROJECT_NODE, "--samples", "4", "--min-db", "1", "--apply", "99"]
    before = Session.open(project).plan
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, PlanError)
    assert Session.open(project).plan == before
    assert "there is no remedy 99" in str(result.exception)
    result = CliRunner().invoke(app, ["advise", str(models / "mobile_fmnist.onnx")])
    assert isinstance(result.exception, ProjectError)
