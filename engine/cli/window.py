"""Commands that open the window. The window is found through its entry points: the engine does not know it."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from engine.cli.output import write_json
from engine.errors import PlanError

GROUP = "quantscope.window"
OVERLAYS = ("accumulated", "introduced", "latency", "bound", "sensitivity")


def window_entry(name: str) -> Callable[..., Any]:
    """The window's function of that name. Raises PlanError where the window is not installed."""
    for entry in entry_points(group=GROUP, name=name):
        return entry.load()
    raise PlanError("the window is not installed", hint="install quantscope with its gui package")


def take_screenshot(project: Path, output: Path, overlay: str, size: str, json: Path | None) -> None:
    """Render the project's window to a PNG file.

    Raises:
        PlanError: Overlay or size are not as they should be.
    """
    if overlay not in OVERLAYS:
        raise PlanError(f"unknown overlay '{overlay}'", hint=f"choose one of {', '.join(OVERLAYS)}")
    match = re.fullmatch(r"(\d{3,5})x(\d{3,5})", size)
    if match is None:
        raise PlanError(f"'{size}' is not a size", hint="give it as WIDTHxHEIGHT, for example 1600x1000")
    width, height = int(match[1]), int(match[2])
    window_entry("screenshot")(str(project), str(output), overlay, (width, height))
    print(f"wrote {output}")
    write_json(json, {"path": str(output), "overlay": overlay, "width": width, "height": height})
