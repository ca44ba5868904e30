"""Every case of the operators that the ``tosa`` export writes, the executor as the system under test.

    python -m tests.conformance.tosa [--operator NAME ...] [--all] [--tosa-version V] [--jobs N]

A row an operator: cases, how many the suite's checker passed, how many it did not, and how many ask for what no integer
program can say; the reasons follow. Without ``--all``, at most ``--sample`` cases of an operator, evenly chosen. Cases
are made on first use (all: minutes) and kept under ``.cache``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.export.tosa.schema import TosaOp
from tests.conformance.tosa.case import case_program
from tests.conformance.tosa.suite import SuiteError, Verdict, cases_of, judged
from tests.conformance.tosa.translate import OutsideError

SAMPLE = 40
_SHOWN = 10
_SHOWN_CHARACTERS = 300


@dataclass
class Row:
    """What became of an operator's cases; ``present`` is how many there are, chosen or not."""

    op: TosaOp
    present: int
    mapped: list[Path] = field(default_factory=list[Path])
    skipped: Counter[str] = field(default_factory=Counter[str])
    mismatched: dict[Path, Verdict] = field(default_factory=dict[Path, Verdict])

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Cases, passed, mismatched, skipped."""
        mapped, mismatched, skipped = len(self.mapped), len(self.mismatched), self.skipped.total()
        return mapped + skipped, mapped - mismatched, mismatched, skipped


def row_of(op: TosaOp, options: argparse.Namespace) -> Row:
    """The operator's cases and what cannot be mapped, not yet judged.

    Raises:
        SuiteError: The suite's programs are not installed, or failed.
    """
    folders = cases_of(op, options.tosa_version)
    row = Row(op, len(folders))
    for folder in folders if options.all else evenly(folders, options.sample):
        try:
            case_program(folder)
        except OutsideError as reason:
            row.skipped[str(reason)] += 1
        else:
            row.mapped.append(folder)
    return row


def judge(rows: Sequence[Row], jobs: int) -> None:
    """Fill in the mismatches.

    Raises:
        SuiteError: The suite's programs failed.
    """
    verdicts = judged([folder for row in rows for folder in row.mapped], jobs)
    for row in rows:
        row.mismatched = {folder: verdicts[folder] for folder in row.mapped if not verdicts[folder].passed}


def evenly(folders: Sequence[Path], count: int) -> list[Path]:
    """``count`` of the folders (all where there are fewer), the same in every run."""
    if len(folders) <= count:
        return list(folders)
    return [folders[index * len(folders) // count] for index in range(count)]


def main() -> None:
    """Parse arguments and print."""
    names = {op.name: op for op in TosaOp}
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--operator", nargs="+", choices=names, default=list(names), metavar="NAME")
    parser.add_argument("--all", action="store_true", help="every case of each operator")
    parser.add_argument("--sample", type=int, default=SAMPLE, metavar="N", help="cases of an operator without --all")
    parser.add_argument("--tosa-version", metavar="V", help="of the specification (default: the suite's newest)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N")
    options = parser.parse_args()
    try:
        rows = [row_of(names[name], options) for name in options.operator]
        judge(rows, options.jobs)
    except SuiteError as error:
        sys.exit(str(error))
    print("\n".join(table(rows)))
    sys.exit(any(row.mismatched for row in rows))


def table(rows: Sequence[Row]) -> Iterator[str]:
    """A line an operator, the sum, the reasons for what was skipped, and the first cases of what mismatched."""
    yield f"{'operator':24}{'cases':>7}{'passed':>8}{'mismatched':>12}{'skipped':>9}"
    for row in rows:
        more = "" if row.counts[0] == row.present else f"   of {row.present}"
        yield _line(row.op.name, row.counts) + more
    yield _line("all", tuple(map(sum, zip(*(row.counts for row in rows), strict=True))))
    for row in rows:
        for reason, count in row.skipped.items():
            yield f"skipped {count:4}  {row.op.name}: {reason}"
        for folder, verdict in list(row.mismatched.items())[:_SHOWN]:
            yield f"mismatched    {folder.name}: {' '.join(verdict.message.split())[:_SHOWN_CHARACTERS]}"


def _line(name: str, counts: Sequence[int]) -> str:
    cases, passed, mismatched, skipped = counts
    return f"{name:24}{cases:7}{passed:8}{mismatched:12}{skipped:9}"


if __name__ == "__main__":
    main()
