"""Packages that only some export formats need."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from engine.errors import ExportError


@contextmanager
def needs_extra(name: str) -> Generator[None]:
    """Imports that need an optional extra of the same name as the export format.

    Raises:
        ExportError: A package is not installed; says the one command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        hint = f'pip install "quantscope[{name}]"'
        raise ExportError(f"the {name} export needs the package '{package}'", hint=hint) from error
