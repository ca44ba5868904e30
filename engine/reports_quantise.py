"""What a run of a preset answers while it goes on, as plain typed records. Import-light, as :mod:`engine.reports`."""

from __future__ import annotations

import msgspec

from engine.reports import Interval


class StepResult(msgspec.Struct, frozen=True):
    """What one step came to on the held-out samples: the output with its plan, its gain over the plan before it (in
    front of a last softmax or sigmoid), and whether it was kept. ``agreement`` is the part of predictions that are the
    float model's (None: no classes).
    """

    name: str
    title: str
    output_db: Interval
    gain_db: Interval
    kept: bool
    agreement: float | None = None
    seconds: float = 0.0


class QuantiseProgress(msgspec.Struct, frozen=True):
    """A run of a preset so far. ``fitted`` samples are what steps see, ``judged`` those that they are judged on;
    ``steps`` are those that were run, of ``total``. ``stopped``: somebody did, and what was found until then is
    kept. Of the ``operators`` the plan computes ``at_int16`` in int16, and its frame takes ``change_us`` longer than
    before.
    """

    preset: str
    before_db: Interval
    output_db: Interval
    fitted: int
    judged: int
    total: int
    steps: tuple[StepResult, ...] = ()
    agreement: float | None = None
    stopped: bool = False
    operators: int = 0
    at_int16: int = 0
    change_us: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether every step was run."""
        return len(self.steps) == self.total
