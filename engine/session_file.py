"""What a project file says about a session, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.calibrate.recipe import Recipe
from engine.calibrate.result import CalibrationResult
from engine.correction_files import folder_of, read_corrections, remove_others, write_corrections
from engine.errors import ProjectError
from engine.graph.graph import Graph
from engine.graph.load import load_model
from engine.plan.corrections import CorrectionStore
from engine.plan.types import Plan
from engine.project import (
    DataReference,
    ModelReference,
    ProjectFile,
    TargetReference,
    check_digest,
    load_project,
    locate_model,
    located,
    reference_to,
)


@dataclass(frozen=True)
class DataSource:
    """Where samples come from: a folder or ``.npz``, how a picture becomes an input, and which part to take."""

    path: Path
    recipe: Recipe | None = None
    samples: int | None = None
    split: str | None = None


@dataclass(frozen=True, eq=False)
class SavedSession:
    """Everything about a session that a project file keeps. ``target`` is a name, or the path of a description."""

    graph: Graph
    target: str
    bindings: Mapping[str, int]
    plan: Plan
    calibration: CalibrationResult | None
    data: DataSource | None
    corrections: CorrectionStore


def read_session(path: Path) -> SavedSession:
    """Open a project and its model.

    Raises:
        ProjectError: The file is malformed, its model moved or changed, or it marks nodes that the model lacks.
        ModelFileError, GraphError: The model cannot be opened.
    """
    project = load_project(path)
    graph = load_model(locate_model(project, path), bindings=project.model.bindings)
    check_digest(project, path, graph.digest)
    lost = sorted(node for node in project.plan.choices if node not in graph.by_id)
    if lost:
        hint = "remove them from [choices], or make a new project with 'quantscope new'"
        raise ProjectError(f"marks nodes that the model does not have: {', '.join(lost[:3])}", path=path, hint=hint)
    corrections = read_corrections(folder_of(path), project.corrections)
    given = (graph, _target(project, path), project.model.bindings, project.plan, project.result, _data(project, path))
    return SavedSession(*given, corrections)


def write_session(saved: SavedSession, path: Path) -> None:
    """Write the project file, atomically, after the corrections that it names, which are files beside it.

    Raises:
        ProjectError: The session's model has no file, or the project cannot be written.
    """
    if saved.graph.source is None:
        hint = "export the module to .onnx or .pt2 and open that"
        raise ProjectError("a model that was opened from Python has no file to refer to", path=path, hint=hint)
    project = ProjectFile(
        model=ModelReference(
            path=reference_to(saved.graph.source, path), digest=saved.graph.digest, bindings=dict(saved.bindings)
        ),
        target=TargetReference(name=_target_reference(saved.target, path)),
        data=None if saved.data is None else _data_reference(saved.data, path),
    )
    applied = saved.plan.corrections
    write_corrections(folder_of(path), map(saved.corrections.get, applied))
    project.with_plan(saved.plan).with_result(saved.calibration).save(path)
    remove_others(folder_of(path), applied)


def _target(project: ProjectFile, path: Path) -> str:
    name = project.target.name
    return str(located(name, path)) if name.endswith(".toml") else name


def _target_reference(target: str, path: Path) -> str:
    return reference_to(Path(target), path) if target.endswith(".toml") else target


def _data(project: ProjectFile, path: Path) -> DataSource | None:
    data = project.data
    if data is None:
        return None
    return DataSource(located(data.path, path), project.data_recipe(path), data.samples, data.split)


def _data_reference(data: DataSource, path: Path) -> DataReference:
    return DataReference(path=reference_to(data.path, path), split=data.split, samples=data.samples, input=data.recipe)
