"""Undo and redo over immutable plans. Qt-free."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from engine.service.messages import PlanData


@dataclass(frozen=True)
class Step:
    """One thing the user did, as the plan before and after it. ``label`` completes "Undo …".

    Steps in a row with the same ``gesture`` (other than "") are one step: a slider that is moved is undone as a whole.
    """

    label: str
    before: PlanData
    after: PlanData
    gesture: str = ""


@dataclass
class History:
    """Steps that can be undone, and undone steps that can be done again (until a new one is pushed)."""

    done: list[Step] = field(default_factory=list[Step])
    undone: list[Step] = field(default_factory=list[Step])

    @property
    def undo_label(self) -> str:
        """What undo would take back; "" when there is nothing."""
        return self.done[-1].label if self.done else ""

    @property
    def redo_label(self) -> str:
        """What redo would do again; "" when there is nothing."""
        return self.undone[-1].label if self.undone else ""

    def push(self, step: Step) -> None:
        last = self.done[-1] if self.done else None
        if last is not None and step.gesture and step.gesture == last.gesture and not self.undone:
            step = replace(step, before=self.done.pop().before)
        if step.before != step.after:
            self.done.append(step)
        self.undone.clear()

    def undo(self) -> PlanData | None:
        """Move one step back and return the plan to restore; None when there is none."""
        if not self.done:
            return None
        step = self.done.pop()
        self.undone.append(step)
        return step.before

    def redo(self) -> PlanData | None:
        """Move one step forward and return the plan to restore; None when there is none."""
        if not self.undone:
            return None
        step = self.undone.pop()
        self.done.append(step)
        return step.after

    def clear(self) -> None:
        self.done.clear()
        self.undone.clear()
