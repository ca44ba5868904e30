"""Vela as a program beside ours: where it is installed, and what it makes of networks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import distributions
from pathlib import Path

from engine.errors import ExportError

PACKAGE = "ethos-u-vela"
INSTALL = 'pip install "quantscope[ethos-u]"'
TIMEOUT_S = 1800
"""A network of 12 G multiply-accumulates takes 4 s. What takes this long has hung."""

_RUNNER = Path(__file__).with_name("runner.py")
_TAIL = 300


@dataclass(frozen=True)
class Job:
    """A network file to compile into a folder, both relative to where Vela runs: its files name them."""

    network: Path
    folder: Path


@dataclass(frozen=True)
class Vela:
    """An installed Vela: the folder that its package lies in, and its version."""

    root: Path
    version: str

    def compile(self, jobs: Sequence[Job], arguments: Sequence[str], scratch: Path) -> list[str]:
        """Compile networks; for each, why Vela did not, in one line, or "" where it did.

        A crash ends Vela's process, not ours: the jobs behind it run in another one.

        Args:
            jobs: The networks, in folders that exist.
            arguments: Options of Vela's command line, the same for all.
            scratch: The folder that Vela runs in.

        Raises:
            ExportError: Vela cannot be started at all, or does not take the arguments.
        """
        problems: list[str] = []
        while len(problems) < len(jobs):
            problems += self._attempt(jobs[len(problems) :], arguments, scratch)
        return problems

    def _attempt(self, jobs: Sequence[Job], arguments: Sequence[str], scratch: Path) -> list[str]:
        """The problems of the jobs up to the first one that Vela crashed on."""
        outcomes = [scratch / f"{number}.outcome" for number in range(len(jobs))]
        for outcome in outcomes:
            outcome.unlink(missing_ok=True)
        ended = self._run(jobs, arguments, outcomes, scratch)
        done = [_problem(outcome) for outcome in outcomes if outcome.exists()]
        return done if len(done) == len(jobs) else [*done, ended]

    def _run(self, jobs: Sequence[Job], arguments: Sequence[str], outcomes: Sequence[Path], scratch: Path) -> str:
        """Run the program; how it ended, for where it did not get through."""
        records = [
            {
                "arguments": [str(job.network), "--output-dir", str(job.folder), *arguments],
                "outcome": str(outcome),
            }
            for job, outcome in zip(jobs, outcomes, strict=True)
        ]
        listed = scratch / "jobs.json"
        listed.write_text(json.dumps(records), encoding="utf-8")
        # -P: the folder of the script stays off the path, whose modules have common names.
        command = [sys.executable, "-P", str(_RUNNER), str(listed)]
        try:
            done = subprocess.run(
                command,
                env=self._environment(),
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"it did not end within {TIMEOUT_S} s"
        except OSError as error:
            raise ExportError(f"Vela cannot be started: {error.strerror or error}") from error
        return _how_it_ended(done.returncode, done.stderr)

    def _environment(self) -> dict[str, str]:
        paths = [str(self.root), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def find_vela() -> Vela:
    """The installed Vela; it is not imported here.

    Raises:
        ExportError: There is none.
    """
    # Python's own find_spec would import the package around it, and remember it where it was.
    around = PathFinder.find_spec("ethosu", sys.path)
    spec = PathFinder.find_spec("ethosu.vela", around and around.submodule_search_locations)
    if spec is None or spec.origin is None:
        raise ExportError(f"the ethos-u export needs the package '{PACKAGE}'", hint=INSTALL)
    root = Path(spec.origin).parents[2]
    version = next((item.version for item in distributions(name=PACKAGE, path=[str(root)])), "of unknown version")
    return Vela(root, version)


def _problem(outcome: Path) -> str:
    """What the program wrote of a job that it got through."""
    record = json.loads(outcome.read_text(encoding="utf-8"))
    if record["is_setup"]:
        raise ExportError(f"Vela does not take these options: {record['problem']}", hint="change them")
    return record["problem"]


def _how_it_ended(status: int, stderr: str) -> str:
    """One line on a process that ended before its work was done."""
    if status < 0:
        return f"it crashed ({_signal_name(-status)})"
    last = next(reversed(stderr.strip().splitlines()), "")
    return f"it ended with exit status {status}" + (f": {last[-_TAIL:]}" if last else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
