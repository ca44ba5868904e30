"""What the user asks of the compiler. Import-light: the window reads it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Goal(StrEnum):
    """What the search of level O3 improves: time, DDR traffic, or both by a weight."""

    LATENCY = "latency"
    BANDWIDTH = "bandwidth"
    BALANCED = "balanced"


class Level(StrEnum):
    """How much the compiler does: ``O0`` runs every unit as it stands, from and to DDR; ``O1`` removes data movement
    and keeps values on the chip; ``O2`` fuses too; ``O3`` also searches fusions and memory plans."""

    O0 = "O0"
    O1 = "O1"
    O2 = "O2"
    O3 = "O3"


class CompileOptions(msgspec.Struct, frozen=True):
    """Part of the plan.

    ``weight`` (0 to 1) is what DDR traffic counts for in the goal ``balanced``, time the rest. ``cores`` is the number
    of cores that frames are spread over; None is all of the target.
    """

    goal: Goal = Goal.LATENCY
    weight: float = 0.5
    level: Level = Level.O2
    cores: int | None = None

    @property
    def problem(self) -> str:
        """What is wrong with the figures, as one line; "" for nothing."""
        if not 0.0 <= self.weight <= 1.0:
            return f"the weight of DDR traffic is {self.weight:g}, expected 0 to 1"
        if self.cores is not None and self.cores < 1:
            return f"the plan asks for {self.cores} cores, expected 1 or more"
        return ""
