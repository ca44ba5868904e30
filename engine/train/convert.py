# pyright: reportUnknownMemberType=false
"""Between a session and a module to train: the user's own training loop stands between these two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.errors import PlanError
from engine.plan.types import Plan
from engine.program.executor import run_program
from engine.train.module import IntegerModule

if TYPE_CHECKING:
    from engine.session import Session

TITLE = "trained with the integer program in the loop"


def prepare(session: Session) -> IntegerModule:
    """The session's integer program as a torch module to train; see :class:`IntegerModule`.

    Raises:
        CalibrationError, GraphError: The session has no integer program.
    """
    return IntegerModule(session)


def convert(session: Session, module: IntegerModule, title: str = TITLE) -> Plan:
    """The session's plan with what the module learned: ``session.set_plan(plan)`` takes it over.

    The session's program is then the module's, bit for bit. Its corrections gain one; the session's plan is not
    changed.

    Raises:
        PlanError: Precisions, ranges or corrections of the session are not those that the module was made with.
    """
    plan, made = session.plan, module.plan()
    if replace(made, thresholds=plan.thresholds, regions=plan.regions, compile=plan.compile) != plan:
        hint = "prepare the module again"
        raise PlanError("precisions or ranges changed since the module was prepared", hint=hint)
    digest = session.corrections.add(module.correction(title))
    return plan.with_thresholds(made.thresholds).with_correction(digest)


def differing_bits(session: Session, plan: Plan, module: IntegerModule, inputs: Mapping[str, Tensor]) -> int:
    """How many output elements the plan's program and the module's forward pass differ in, for inputs of the session's
    batch."""
    found = run_program(session.with_plan(plan).program(), inputs)
    with torch.no_grad():
        own = module.outputs(inputs)
    return sum(int((own[name].cpu() != found[name]).sum()) for name in found)
