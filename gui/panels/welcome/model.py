"""Recent files and demo projects, without Qt."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

MOST_RECENT = 8


def with_opened(recent: Sequence[str], path: str) -> list[str]:
    """The recent files after ``path`` was opened: newest first, each once."""
    full = str(Path(path).absolute())
    return [full, *(other for other in recent if other != full)][:MOST_RECENT]


def demo_projects() -> list[str]:
    """The shipped demo projects; their models where a project is not there."""
    folder = Path(str(files("resources").joinpath("models")))
    if not folder.is_dir():
        return []
    models = sorted(folder.glob("*.onnx"))
    projects = [model.with_suffix(".qscope") for model in models]
    return [str(project if project.is_file() else model) for model, project in zip(models, projects, strict=True)]
