"""The suite's own programs (tosa-tools): they make cases, run the system under test, and judge it.

They need an older numpy and have top-level modules called ``tests`` and ``runner``, so that they run in processes of
their own. ``make conformance`` installs them; cases are made once and kept under ``.cache``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from engine.export.tosa.schema import TosaOp
from tests.conformance.tosa.case import DESCRIPTION

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ROOT / ".cache" / "tosa"
SUPPORT = ROOT / ".cache" / "tosa-suite" / "packages"
CASES = ROOT / ".cache" / "tosa-suite" / "cases"
PLUGIN = Path(__file__).resolve().parent / "plugin"
SYSTEM = "quantscope_sut"

PROFILE = ("--profile", "tosa-pro-int", "--extension", "tosa-ext-int16", "--test-type", "positive")
"""Everything that integers can be asked for, and nothing that must be refused."""

TIMEOUT_S = 3600
_MADE = "complete"
_RESULTS = "*.*.npy"
"""Files of results carry the name of the system that computed them; those of inputs have a suffix alone."""


class SuiteError(Exception):
    """The suite's programs are not there, or failed; the text says which and what they said."""


@dataclass(frozen=True)
class Verdict:
    """What the suite's checker says of a case; ``message`` is empty where it passed."""

    passed: bool
    message: str


def cases_of(op: TosaOp, version: str | None = None) -> list[Path]:
    """The folders of all cases of an operator, made where they are not there yet.

    Args:
        op: The operator.
        version: A version of the specification; None is the newest that the suite knows.

    Raises:
        SuiteError: The suite's programs are not installed, or failed.
    """
    folder = CASES / (version or "newest") / op.name.lower()
    if not (folder / _MADE).exists():
        _make(op, version, folder)
    return sorted(path.parent for path in folder.rglob(DESCRIPTION))


def _make(op: TosaOp, version: str | None, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    # Convolutions have a family of cases for each kernel: conv2d_3x3 is one of conv2d's.
    which = ("--filter", rf"{op.name.lower()}(_\d+(x\d+)+)?$", "-o", str(folder))
    of_version = () if version is None else ("--tosa-version", version)
    _tool("generator.tosa_verif_build_tests", *PROFILE, *which, *of_version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MADE).touch()


def judged(folders: Sequence[Path], jobs: int) -> Mapping[Path, Verdict]:
    """Each case by the suite's runner, the engine as its system under test.

    Results of both systems stay in the folders of cases that did not pass; all of them are gigabytes.

    Raises:
        SuiteError: The suite's programs are not installed, or failed.
    """
    if not folders:
        return {}
    with tempfile.TemporaryDirectory() as name:
        listed, report = Path(name) / "cases.txt", Path(name) / "report.xml"
        listed.write_text("\n".join(map(str, folders)), encoding="utf-8")
        system = ("--sut-module", SYSTEM, "--sut-module-args", f"{SYSTEM}:{sys.executable}")
        places = ("--test-list", str(listed), "--xunit-file", str(report))
        _tool("runner.tosa_verif_run_tests", *PROFILE, *system, *places, "--jobs", str(jobs), "--no-color")
        verdicts = _verdicts(report, folders)
    for folder in (folder for folder, verdict in verdicts.items() if verdict.passed):
        for result in folder.glob(_RESULTS):
            result.unlink()
    return verdicts


def _verdicts(report: Path, folders: Sequence[Path]) -> Mapping[Path, Verdict]:
    """Of the report's two systems, the engine and the reference model, the first; what is not there has failed."""
    found: dict[Path, Verdict] = {}
    for suite in ElementTree.parse(report).getroot():
        if suite.get("name") == SYSTEM:
            for case in suite:
                failure = next(iter(case), None)
                said = "" if failure is None else failure.get("message") or failure.text or failure.tag
                found[Path(case.get("name", ""))] = Verdict(failure is None, said)
    missing = Verdict(False, "the runner has no result")
    return {folder: found.get(folder, missing) for folder in folders}


def _tool(module: str, *arguments: str) -> None:
    for folder in (TOOLS / module.partition(".")[0], SUPPORT):
        if not folder.is_dir():
            raise SuiteError("the TOSA conformance suite is not installed: make conformance")
    path = os.pathsep.join(map(str, (SUPPORT, TOOLS, PLUGIN)))
    done = subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise SuiteError(f"{module}: status {done.returncode}: {(done.stdout + done.stderr).strip()[-1500:]}")
