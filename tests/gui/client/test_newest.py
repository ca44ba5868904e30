"""Of questions asked faster than they are answered, only the newest counts."""

from __future__ import annotations

from gui.client.newest import Newest


def test_only_the_newest_waits() -> None:
    sent: list[int] = []
    newest: Newest[int] = Newest(sent.append)
    for question in (1, 2, 3):
        newest.ask(question)
    assert sent == [1]
    assert not newest.answered(), "there is a newer question"
    assert sent == [1, 3]
    assert newest.answered()
    newest.ask(4)
    assert sent == [1, 3, 4]


def test_an_answer_that_never_comes_blocks_nothing() -> None:
    sent: list[int] = []
    newest: Newest[int] = Newest(sent.append)
    newest.ask(1)
    newest.ask(2)
    newest.forget()
    newest.ask(3)
    assert sent == [1, 3]
