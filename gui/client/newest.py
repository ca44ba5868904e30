"""Questions that come faster than they are answered: only the newest counts. Qt-free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Question = TypeVar("Question")


class Newest(Generic[Question]):
    """One question is on its way at a time; of those asked meanwhile, the newest waits and the others are forgotten."""

    def __init__(self, send: Callable[[Question], object]) -> None:
        self._send = send
        self.is_out = False
        self._waiting: Question | None = None

    def ask(self, question: Question) -> None:
        """Send the question, or keep it until the one that is on its way is answered."""
        if self.is_out:
            self._waiting = question
        else:
            self.is_out = True
            self._send(question)

    def answered(self) -> bool:
        """The question on its way is answered, the waiting one follows. Whether it is the newest that was answered."""
        waiting, self._waiting, self.is_out = self._waiting, None, False
        if waiting is not None:
            self.ask(waiting)
        return waiting is None

    def forget(self) -> None:
        """No answer will come."""
        self._waiting, self.is_out = None, False
