"""What a post-training method is: a step from one plan to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from engine.analyze.evaluator import Sample
    from engine.plan.types import Plan
    from engine.session import Session


def _never() -> bool:
    return False


def _silent(done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Work:
    """What a step is given: ``samples`` to fit on, whom to tell how far it is, who may stop it, and the largest share
    of the operators that it may bring to int16 (None: its own)."""

    samples: tuple[Sample, ...]
    progress: Callable[[int, int], None] = _silent
    cancelled: Callable[[], bool] = _never
    max_int16: float | None = None


class Step(Protocol):
    """One method. It looks at the session and answers with a plan to try; the session's own plan stays.

    A step puts its corrections into ``session.corrections`` and fits on the samples of its work alone. Whether the plan
    is better is not its business: :mod:`engine.quantise.presets` judges, on samples that it has not seen.
    """

    @property
    def title(self) -> str:
        """What it does, for people."""
        ...

    def __call__(self, session: Session, work: Work) -> Plan:
        """A plan to try (the session's own where there is nothing to gain).

        Raises:
            Cancelled: ``work.cancelled()``.
        """
        ...
