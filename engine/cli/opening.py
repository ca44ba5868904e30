"""Opening the project that a command is about."""

from __future__ import annotations

from pathlib import Path

from engine.errors import ProjectError
from engine.project import SUFFIX
from engine.session import Session


def open_project(path: Path) -> Session:
    """The session of a project; prints its warnings. Raises ProjectError where the file is none."""
    if path.suffix != SUFFIX:
        raise ProjectError("is not a project", path=path, hint="make one with `quantscope new`")
    session = Session.open(path)
    print_warnings(session)
    return session


def print_warnings(session: Session) -> None:
    """What the user should know of what was opened or calibrated."""
    for warning in session.warnings:
        print(f"warning: {warning}")
