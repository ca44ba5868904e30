"""The notices that show, without Qt."""

from __future__ import annotations

from gui.document.notice import Notice

MOST_SHOWN = 3


class NoticeBoard:
    """The newest notices first; the same text again takes the place of its older self."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def add(self, notice: Notice) -> None:
        self.dismiss(notice.text)
        self.notices = [notice, *self.notices][:MOST_SHOWN]

    def dismiss(self, text: str) -> None:
        self.notices = [notice for notice in self.notices if notice.text != text]

    def clear(self) -> None:
        self.notices = []
