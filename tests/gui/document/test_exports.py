"""The window offers what the engine writes."""

from __future__ import annotations

import subprocess
import sys

from gui.document.exports import EXPORT_FORMATS

ENGINE_FORMATS = """
from engine.export.registry import EXPORTERS
print(*(f"{row.name} {row.suffix} {row.options.__name__}" for row in EXPORTERS.values()))
"""


def test_every_format_of_the_engine_has_its_suffix_and_options_here() -> None:
    # In a process of its own: the window's loads no model library.
    done = subprocess.run([sys.executable, "-c", ENGINE_FORMATS], capture_output=True, text=True, check=True)
    rows = [(row.name, row.suffix, row.options.__name__) for row in EXPORT_FORMATS.values()]
    assert done.stdout.split() == [part for row in rows for part in row]
