"""What the window tells the user without stopping the work. Qt-free."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Notice:
    """One line for the user. ``details`` can be unfolded and copied; ``action`` is the id of a command
    offered with it.
    """

    level: Level
    text: str
    details: str = ""
    action: str = ""
