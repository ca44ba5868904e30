"""What was measured, kept beside the project: a search that is stopped, or dies, goes on where it was.

An append-only file of JSON lines. Each is keyed by the content that its figures follow from (model, target, ranges,
samples, plan), so that a project that changed meanwhile finds only what still holds. A torn last line is what a process
leaves that dies while writing; it is taken off.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine.errors import ProjectError
from engine.files import write_failure
from engine.plan.data import PlanData
from engine.tune.bench import plan_text
from engine.tune.records import Measured, Trial

if TYPE_CHECKING:
    from engine.session import Session

SUFFIX = ".tune.jsonl"


class Entry(msgspec.Struct, frozen=True):
    """A line: what a trial gave. ``origin`` is where its plan came from, for a person who reads the file."""

    key: str
    origin: str
    samples: int
    plan: PlanData
    measured: Measured


def journal_path(project: Path) -> Path:
    """Where a project's journal is."""
    return project.with_suffix(SUFFIX)


def context_of(session: Session) -> str:
    """What all figures of a session follow from besides the plan: model, target, ranges and samples."""
    calibration = session.calibration
    ranges = {} if calibration is None else dict(calibration.ranges)
    hasher = hashlib.blake2b(digest_size=16)
    hasher.update(session.source_graph.digest.encode())
    hasher.update(repr(session.target).encode())
    hasher.update(msgspec.json.encode(ranges, order="deterministic"))
    hasher.update(("" if calibration is None else calibration.fingerprint).encode())
    return hasher.hexdigest()


class Journal:
    """Measurements by content, in memory and (given a ``path``) in the file of that name.

    Raises:
        ProjectError: The file is no journal, or cannot be read or written.
    """

    def __init__(self, path: Path | None, context: str) -> None:
        self._path = path
        self._context = context
        self._known: dict[str, Measured] = {}
        self._stream: io.FileIO | None = None
        if path is not None:
            self._read(path)
            try:
                self._stream = path.open("ab", buffering=0)  # a line is one write: searches may share the file
            except OSError as failure:
                raise write_failure(path, failure, ProjectError) from failure

    def __len__(self) -> int:
        return len(self._known)

    def find(self, trial: Trial) -> Measured | None:
        """What the trial gave, if it was ever measured."""
        return self._known.get(self._key(trial))

    def add(self, trial: Trial, origin: str, measured: Measured) -> None:
        """Keep a measurement; a line on the disk before this returns.

        Raises:
            ProjectError: The file cannot be written.
        """
        key = self._key(trial)
        self._known[key] = measured
        if self._stream is None or self._path is None:
            return
        entry = Entry(key, origin, trial.samples, trial.plan, measured)
        try:
            left = memoryview(msgspec.json.encode(entry) + b"\n")
            while left:  # a full disk takes a part, and refuses the rest
                left = left[self._stream.write(left) :]
        except OSError as failure:
            raise write_failure(self._path, failure, ProjectError) from failure

    def close(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()

    def _key(self, trial: Trial) -> str:
        hasher = hashlib.blake2b(self._context.encode(), digest_size=16)
        hasher.update(f"{trial.samples} {trial.is_timed} ".encode())
        hasher.update(plan_text(trial.plan))
        return hasher.hexdigest()

    def _read(self, path: Path) -> None:
        """Take over the lines of a file, if it is there, and cut a torn one off its end."""
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as failure:
            raise ProjectError(f"cannot be read: {failure.strerror or failure}", path=path) from failure
        whole = data.rfind(b"\n") + 1
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except msgspec.DecodeError as error:
                hint = "remove the file to search anew"
                raise ProjectError(f"line {number} is no record of a search", path=path, hint=hint) from error
            self._known[entry.key] = entry.measured
        if whole < len(data):
            try:
                os.truncate(path, whole)
            except OSError as failure:
                raise write_failure(path, failure, ProjectError) from failure
