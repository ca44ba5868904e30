"""Long work in turns: whoever runs it has the word again every moment, and the work goes on where it was.

A method that takes minutes asks a watch now and then whether to stop. Here the watch is also where it pauses: the work
runs in a thread of its own, which moves only while its caller waits for it. The two are never at work at the same time,
so what both use needs no locks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from engine.errors import Cancelled

TURN_S = 0.1
"""After which the caller has the word again."""

Watch = Callable[[], bool]
Result = TypeVar("Result")


def _never() -> bool:
    return False


def in_turns(
    work: Callable[[Watch], Result], cancelled: Watch = _never, is_wanted: Watch = _never, turn_s: float = TURN_S
) -> Generator[None, None, Result]:
    """Do work that is given a watch, and yield wherever it asks that and has had its turn, or something else is wanted
    meanwhile. Closing the generator stops the work where it asks next.

    Raises:
        Cancelled: ``cancelled()``, or what else the work raises.
    """
    other = _Other(work, cancelled, is_wanted, turn_s)
    try:
        while other.resume():
            yield
        return other.result()
    finally:
        other.end()


class _Other(Generic[Result]):
    """The thread, and whose turn it is."""

    def __init__(
        self, work: Callable[[Watch], Result], cancelled: Watch, is_wanted: Watch, turn_s: float
    ) -> None:
        self._work = work
        self._cancelled = cancelled
        self._is_wanted = is_wanted
        self._turn_s = turn_s
        self._to_work, self._to_caller = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="work in turns", daemon=True)
        self._began = 0.0
        self._is_over = False
        self._is_ending = False
        self._found: list[Result] = []
        self._failure: BaseException | None = None

    def resume(self) -> bool:
        """Let the work have its turn; whether there is more to do."""
        self._began = time.monotonic()
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._to_work.release()
        self._to_caller.acquire()
        return not self._is_over

    def result(self) -> Result:
        """What came of it; raises what it raised."""
        if self._failure is not None:
            raise self._failure
        return self._found[0]

    def end(self) -> None:
        """Have the thread come to its end."""
        self._is_ending = True
        if self._thread.ident is not None:
            self._to_work.release()
            self._thread.join()

    def _run(self) -> None:
        try:
            self._found.append(self._work(self._watch))
        except BaseException as failure:  # it is the caller's to see
            self._failure = failure
        self._is_over = True
        self._to_caller.release()

    def _watch(self) -> bool:
        """What the work asks; here it waits while others have the word."""
        if not self._is_ending and (self._is_wanted() or time.monotonic() - self._began >= self._turn_s):
            self._to_caller.release()
            self._to_work.acquire()
        if self._is_ending:
            raise Cancelled
        return self._cancelled()
