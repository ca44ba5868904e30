"""A session from a project file, and back."""

from __future__ import annotations

from pathlib import Path

from engine.errors import ProjectError
from engine.graph.load import load_model
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
from engine.session import DataSource, Session


def open_session(path: Path, target: str | None = None) -> Session:
    """Open a project; ``target`` overrides the project's.

    Calibration data that moved is a warning of the session: its ranges are in the project.

    Raises:
        ProjectError: The file is malformed, its model moved or changed, or it marks nodes that the model lacks.
    """
    project = load_project(path)
    graph = load_model(locate_model(project, path), bindings=project.model.bindings)
    check_digest(project, path, graph.digest)
    session = Session(graph, target or _target(project, path), project.model.bindings)
    lost = sorted(node for node in project.plan.choices if node not in graph.by_id)
    if lost:
        hint = "remove them from [choices], or make a new project with 'quantscope new'"
        raise ProjectError(f"marks nodes that the model does not have: {', '.join(lost[:3])}", path=path, hint=hint)
    session.set_plan(project.plan)
    session.calibration = project.result
    session.data = _data(project, path)
    session.project = path
    if session.data is not None and not session.data.path.exists():
        session.warnings = (f"{path}: its calibration data {session.data.path} is not there; errors need samples",)
    return session


def save_session(session: Session, path: Path) -> None:
    """Write a session's project file.

    Raises:
        ProjectError: The session's model has no file, or the project cannot be written.
    """
    if session.graph.source is None:
        hint = "export the module to .onnx or .pt2 and open that"
        raise ProjectError("a model that was opened from Python has no file to refer to", path=path, hint=hint)
    project = ProjectFile(
        model=ModelReference(
            path=reference_to(session.graph.source, path),
            digest=session.graph.digest,
            bindings=dict(session.bindings),
        ),
        target=TargetReference(name=_target_reference(session, path)),
        data=None if session.data is None else _data_reference(session.data, path),
    )
    project.with_plan(session.plan).with_result(session.calibration).save(path)


def _target(project: ProjectFile, path: Path) -> str:
    name = project.target.name
    return str(located(name, path)) if name.endswith(".toml") else name


def _target_reference(session: Session, path: Path) -> str:
    reference = session.target_reference
    return reference_to(Path(reference), path) if reference.endswith(".toml") else reference


def _data(project: ProjectFile, path: Path) -> DataSource | None:
    data = project.data
    if data is None:
        return None
    return DataSource(located(data.path, path), project.data_recipe(path), data.samples, data.split)


def _data_reference(data: DataSource, path: Path) -> DataReference:
    return DataReference(
        path=reference_to(data.path, path), split=data.split, samples=data.samples, input=data.recipe
    )


