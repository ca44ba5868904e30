"""What a comparison is given, and what it answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from engine.program.types import Program
from engine.reports import Agreement, Comparison, Mismatch, Stage
from engine.verify.processes import Watch
from engine.verify.tally import Tally
from engine.verify.values import Arrays, nodes_of

if TYPE_CHECKING:
    from engine.session import Session


@dataclass(frozen=True)
class Job:
    """A calibrated session, samples by input name, and whether the user stopped."""

    session: Session
    samples: tuple[Arrays, ...]
    cancelled: Watch

    @property
    def program(self) -> Program:
        return self.session.program()

    @cached_property
    def nodes(self) -> Mapping[str, str]:
        """The node of each value, of the program and of the float graph."""
        graph = self.session.graph
        return {value: node.id for value, node in graph.producer.items()} | dict(nodes_of(graph, self.program))


@dataclass(frozen=True)
class Outcome:
    """What a comparison found.

    Attributes:
        tally: The counts by value.
        unit: Of the largest difference.
        text: What was compared and tolerated, for people.
        agreement: The judgement, where it is not the tally's.
        lists_all: Whether all values that differ are worth naming, or the first one alone.
    """

    tally: Tally
    unit: str
    text: str
    agreement: Agreement | None = None
    lists_all: bool = True


def _all_sessions(session: Session) -> bool:
    return True


class NotComparedError(Exception):
    """The comparison cannot be made with this session; the text says why."""


@dataclass(frozen=True)
class Check:
    """A comparison of one stage.

    ``run`` raises NotComparedError where it cannot be made here, and ThirdPartyError or ExportError where the other
    program or the export does not take part. ``concerns`` says for which sessions there is such a comparison at all.
    """

    stage: Stage
    party: str
    what: str
    run: Callable[[Job], Outcome]
    version: Callable[[], str] = str
    concerns: Callable[[Session], bool] = _all_sessions

    @property
    def title(self) -> str:
        """The other program with its version."""
        return f"{self.party} {self.version()}".strip()

    def absent(self, agreement: Agreement, why: str) -> Comparison:
        """The comparison that was not made."""
        return Comparison(self.stage, self.title, self.what, agreement, why)

    def comparison(self, outcome: Outcome, nodes: Mapping[str, str]) -> Comparison:
        """What was found, for people."""
        tally, first = outcome.tally, outcome.tally.first()
        return Comparison(
            self.stage,
            self.title,
            self.what,
            outcome.agreement or _judged(tally),
            outcome.text,
            len(tally.values),
            tally.elements,
            tally.differing,
            tally.beyond,
            tally.worst,
            outcome.unit,
            nodes.get(first, ""),
            first,
        )

    def mismatches(self, outcome: Outcome, nodes: Mapping[str, str]) -> list[Mismatch]:
        """The values that differ."""
        found = {value: count for value, count in outcome.tally.values.items() if count.differing}
        if not outcome.lists_all:
            first = outcome.tally.first()
            found = {first: found[first]} if first else {}
        return [
            Mismatch(
                self.stage,
                self.title,
                self.what,
                nodes.get(value, ""),
                value,
                count.elements,
                count.differing,
                count.beyond,
                count.worst,
                outcome.unit,
            )
            for value, count in found.items()
        ]


def _judged(tally: Tally) -> Agreement:
    if tally.beyond:
        return Agreement.DIFFERS
    return Agreement.WITHIN if tally.worst > 0.0 else Agreement.SAME


def processor_count() -> int:
    """How many processors this process may use."""
    return os.cpu_count() or 1
