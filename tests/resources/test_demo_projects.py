"""The demo projects: they belong to the shipped models, and open as the first thing that a user sees."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.project import load_project
from engine.session import Session
from resources.models.train import projects

FOLDER = projects.FOLDER


@pytest.fixture(params=projects.MODELS)
def path(request: pytest.FixtureRequest) -> Path:
    return FOLDER / f"{request.param}.qscope"


def test_opens_with_its_own_model_and_data(path: Path) -> None:
    session = Session.open(path)  # checks the model's digest
    assert session.graph.source == path.with_suffix(".onnx")
    assert session.target.name == projects.TARGET
    assert session.warnings == ()
    assert session.calibration is not None
    assert session.calibration.samples == projects.SAMPLES
    assert sum(1 for _ in session.samples(1)) == 1


def test_runs_on_the_chip_whole(path: Path) -> None:
    session = Session.open(path)
    assert session.cpu_nodes() == ()
    assert session.refusals() == ()
    assert session.program().outputs


def test_refers_to_files_beside_itself(path: Path) -> None:
    project = load_project(path)
    assert project.data is not None
    assert (project.model.path, project.data.path) == (f"{path.stem}.onnx", "fmnist_samples.npz")
    assert project.data.input is not None, "the recipe is written into the project"


def test_is_what_its_script_makes(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer samples, twice: the same bytes, and everything but the ranges as in the shipped file."""
    for file in (path.with_suffix(".onnx").name, "fmnist.toml", "fmnist_samples.npz"):
        shutil.copy(FOLDER / file, tmp_path)
    monkeypatch.setattr(projects, "SAMPLES", 2)
    monkeypatch.setattr(projects, "MODELS", (path.stem,))
    (made,) = projects.make_projects(tmp_path)
    first = made.read_bytes()
    (again,) = projects.make_projects(tmp_path)
    assert again.read_bytes() == first
    shipped, small = load_project(path), load_project(made)
    assert (small.model, small.target, small.choices) == (shipped.model, shipped.target, shipped.choices)
    assert small.data is not None and shipped.data is not None
    assert small.data.input == shipped.data.input
    assert set(small.ranges) == set(shipped.ranges)
