"""The module that the suite's runner loads as its system under test; each of its threads drives an engine process.

It runs in the suite's own process, whose packages are not the engine's, so that it uses the standard library alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from runner.tosa_test_runner import TosaTestRunner  # pyright: ignore[reportMissingImports]

_ROOT = Path(__file__).resolve().parents[4]
_engines = threading.local()


class TosaSUTRunner(TosaTestRunner):
    """The executor of integer programs; ``runnerArgs`` holds the Python that has the engine's packages."""

    def runTestGraph(self):  # noqa: N802 (the runner's name)
        answer = _engine(*self.runnerArgs).run(Path(self.testDir))
        result = TosaTestRunner.TosaGraphResult
        return (result.TOSA_VALID if answer == "" else result.OTHER_ERROR), answer


class _Engine:
    """A process that computes one case after the other."""

    def __init__(self, python: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        command = [python, "-m", "tests.conformance.tosa.serve"]
        self.process = subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, folder: Path) -> str:
        """Compute a case; returns what went wrong, nothing where all is well."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(f"{folder.resolve()}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return "the engine's process has ended"
        answer = self.process.stdout.readline()
        return answer.strip().removeprefix("ok") if answer else "the engine's process has ended"


def _engine(python: str = sys.executable) -> _Engine:
    """The calling thread's engine; it ends with its standard input, when this process does."""
    if not hasattr(_engines, "mine"):
        _engines.mine = _Engine(python)
    return _engines.mine
