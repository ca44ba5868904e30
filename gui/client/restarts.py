"""How often a process that keeps dying is started again. Qt-free."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class RestartBudget:
    """Allows ``limit`` restarts in any ``period_s`` seconds."""

    def __init__(self, limit: int = 3, period_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._period_s = period_s
        self._clock = clock
        self._spent: deque[float] = deque()

    def spend(self) -> bool:
        """Whether one more restart is allowed now; if so it is counted."""
        now = self._clock()
        while self._spent and now - self._spent[0] >= self._period_s:
            self._spent.popleft()
        if len(self._spent) >= self._limit:
            return False
        self._spent.append(now)
        return True

    def refill(self) -> None:
        """Forget past restarts: the user asks for another try."""
        self._spent.clear()
