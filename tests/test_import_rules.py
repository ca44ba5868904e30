"""What importing loads, seen from a fresh interpreter: the import contracts as they turn out at run time."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import engine
import gui

ROOT = Path(__file__).parent.parent
MODEL_LIBRARIES = {"torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "numba", "scipy"}
QT = {"PySide6", "shiboken6", "pyqtgraph"}

LOADED_BY = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_window_loads_no_model_library() -> None:
    assert not _loaded_by(*_modules_of(gui.__name__, gui.__path__)) & MODEL_LIBRARIES


def test_engine_loads_no_qt() -> None:
    assert not _loaded_by(*_modules_of(engine.__name__, engine.__path__)) & (QT | {"gui"})


def test_importing_the_engine_is_light() -> None:
    assert not _loaded_by("engine", "engine.errors") & (MODEL_LIBRARIES | {"numpy"})


def _modules_of(package: str, path: Iterable[str]) -> list[str]:
    """Names of a package and all its modules, except those that are programs."""
    names = [module.name for module in pkgutil.walk_packages(path, f"{package}.")]
    return [package, *(name for name in names if not name.endswith("__main__"))]


def _loaded_by(*modules: str) -> set[str]:
    """Top-level packages in memory after a fresh interpreter has imported the modules."""
    command = [sys.executable, "-c", LOADED_BY, *modules]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))
