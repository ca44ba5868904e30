"""What ``analyze`` adds when asked: outputs, sensitivity, causes, channels, another project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import app
from engine.errors import PlanError

LAYER = "blocks.0.depthwise.conv.Conv"


def analyzed(project: Path, folder: Path, *options: object) -> dict[str, Any]:
    answer = folder / "answer.json"
    arguments = ["analyze", project, "--samples", 2, *options, "--json", answer]
    app([str(argument) for argument in arguments], standalone_mode=False)
    return json.loads(answer.read_text(encoding="utf-8"))


def test_nothing_is_measured_that_is_not_asked_for(project: Path, tmp_path: Path) -> None:
    found = analyzed(project, tmp_path)
    assert [found[key] for key in ("sensitivity", "causes", "channels", "comparison")] == [None] * 4
    (output,) = found["outputs"]
    assert output["sqnr_db"] == pytest.approx(found["output_sqnr_db"], abs=0.01)
    assert output["worst_samples"] == []


def test_sensitivities_come_worst_first_and_causes_sum_to_one(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = analyzed(project, tmp_path, "--sensitivity", "--causes", "--worst-samples", 1)
    noises = [row["noise"] for row in found["sensitivity"]]
    assert noises == sorted(noises, reverse=True) and noises[0] > 0.0
    for row in found["causes"]:
        assert sum(part["share"] or 0.0 for part in row["causes"]) == pytest.approx(1.0, abs=1e-6), row["id"]
    assert [item["sample"] for item in found["outputs"][0]["worst_samples"]] in ([0], [1])
    printed = capsys.readouterr().out
    assert "only this node quantised" in printed and "requantisation" in printed


def test_channels_of_a_node(project: Path, tmp_path: Path) -> None:
    found = analyzed(project, tmp_path, "--channels", LAYER)
    channels = found["channels"]
    assert channels["axis"] == 1 and channels["samples"] == 2
    assert len(channels["sqnr_db"]) > 8 and any(level is not None for level in channels["sqnr_db"])
    with pytest.raises(PlanError, match="no node matches 'ghost'"):
        analyzed(project, tmp_path, "--channels", "ghost")


def test_two_plans_part_at_the_first_node_that_differs(project: Path, tmp_path: Path) -> None:
    other = project.with_name("other.qscope")
    other.write_bytes(project.read_bytes())
    app(["mark", str(other), "--node", LAYER, "--precision", "int16"], standalone_mode=False)
    found = analyzed(project, tmp_path, "--compare", other)["comparison"]
    other.unlink()
    assert found["first"].startswith("/blocks.0/depthwise/"), "the unit's last node has its values"
    assert {row["id"] for row in found["nodes"]} >= {found["first"], found["largest"]}
    same = analyzed(project, tmp_path, "--compare", project)["comparison"]
    assert same["first"] == same["largest"] == ""
