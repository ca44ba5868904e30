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
    offered with it, ``more_actions`` those of others.
    """

    level: Level
    text: str
    details: str = ""
    action: str = ""
    more_actions: tuple[str, ...] = ()

    @property
    def actions(self) -> tuple[str, ...]:
        """Ids of all commands offered."""
        return ((self.action,) if self.action else ()) + self.more_actions
