"""Run the benchmarks, each in a process of its own.

    python -m tests.benchmarks              all of them
    python -m tests.benchmarks NAME ...     the named ones
    python -m tests.benchmarks --list       names and what they measure

One that cannot run here (its data or packages are not to be had) says why, and the others go on; the exit status is
then 1. Options of a single benchmark: python -m tests.benchmarks.NAME --help.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
REPOSITORY = FOLDER.parents[1]
TIMEOUT_S = 3600

ON_REQUEST = frozenset({"models"})
"""What a run of all leaves out: it builds model files, which the others do as they need them."""


@dataclass(frozen=True)
class Benchmark:
    """A program of this folder: its name, and the first line of its docstring."""

    name: str
    summary: str


def benchmarks(folder: Path = FOLDER) -> Iterator[Benchmark]:
    """The modules of ``folder`` that have a ``main``, by name. None is imported."""
    for path in sorted(folder.glob("[!_]*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(item, ast.FunctionDef) and item.name == "main" for item in module.body):
            yield Benchmark(path.stem, (ast.get_docstring(module) or "").partition("\n")[0])


def run(names: Sequence[str], package: str = "tests.benchmarks", folder: Path = REPOSITORY) -> list[str]:
    """Run modules of ``package``, found from ``folder``, one after the other.

    Each has its own process: what one loads or sets (Qt, threads, peak memory) is no part of the next one's figures.
    Returns a line about each that did not finish.
    """
    failures: list[str] = []
    for name in names:
        print(f"== {name}", flush=True)
        try:
            status = subprocess.run(
                [sys.executable, "-m", f"{package}.{name}"], cwd=folder, check=False, timeout=TIMEOUT_S
            ).returncode
        except subprocess.TimeoutExpired:
            failures.append(f"{name} took more than {TIMEOUT_S} s")
            continue
        if status:
            failures.append(f"{name} ended with status {status}; its last lines say why")
        print(flush=True)
    return failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; returns the exit status."""
    known = {benchmark.name: benchmark for benchmark in benchmarks()}
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Run the benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--list", action="store_true", help="names and what they measure")
    options = parser.parse_args(arguments)
    if options.list:
        for benchmark in known.values():
            print(f"{benchmark.name:16} {benchmark.summary}")
        return 0
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are {', '.join(known)}")
    failures = run(options.names or [name for name in known if name not in ON_REQUEST])
    for failure in failures:
        print(f"not measured: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
