"""Work in turns: it pauses where it asks, goes on where it was, and leaves no thread behind."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from engine.errors import Cancelled, DataError
from engine.turns import in_turns

Watch = Callable[[], bool]


def counting(found: list[int], until: int) -> Callable[[Watch], int]:
    def work(watch: Watch) -> int:
        for number in range(until):
            if watch():
                raise Cancelled
            found.append(number)
        return until

    return work


def result_of(turns: object) -> tuple[int, object]:
    """How often the caller had the word, and what came of it."""
    count = 0
    while True:
        try:
            next(turns)  # type: ignore[call-overload]
        except StopIteration as end:
            return count, end.value
        count += 1


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "work in turns"]


def test_the_work_pauses_and_goes_on_where_it_was() -> None:
    found: list[int] = []
    turns = in_turns(counting(found, 5), turn_s=0.0)
    next(turns)
    assert found == [], "it asks before its first step"
    next(turns)
    assert found == [0]
    assert result_of(turns) == (3, 5)
    assert found == list(range(5)), "no step is done twice"
    assert not threads()


def test_only_what_is_wanted_interrupts_a_turn() -> None:
    wanted = iter([False, True, False, True, False])
    found: list[int] = []
    assert result_of(in_turns(counting(found, 5), is_wanted=lambda: next(wanted), turn_s=1e9)) == (2, 5)
    assert found == list(range(5))


def test_who_cancels_stops_it() -> None:
    stop = iter([False, False, True])
    found: list[int] = []
    with pytest.raises(Cancelled):
        result_of(in_turns(counting(found, 5), cancelled=lambda: next(stop)))
    assert found == [0, 1]
    assert not threads()


def test_what_it_raises_is_raised() -> None:
    def work(watch: Watch) -> int:
        raise DataError("no data")

    with pytest.raises(DataError, match="no data"):
        result_of(in_turns(work))
    assert not threads()


def test_closing_it_ends_the_thread() -> None:
    found: list[int] = []
    turns = in_turns(counting(found, 5), turn_s=0.0)
    next(turns)
    assert threads()
    turns.close()
    assert not threads()
    assert found == []


def test_one_that_never_began_has_no_thread() -> None:
    in_turns(counting([], 5)).close()
    assert not threads()
