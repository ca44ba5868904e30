# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""A run's state in a file: what a run needs to go on as if it had not stopped."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from engine.errors import PlanError, ProjectError
from engine.files import replacing
from engine.train.records import LossPoint, MetricPoint

_MAGIC = b"quantscope training run 2\n"
_DIGEST_BYTES = 16
"""Of the content behind it: torch's own reader takes damaged numbers for good."""


@dataclass(eq=False)
class TrainState:
    """How far a run is: steps done, curves, and the parameters of the best program so far."""

    step: int = 0
    losses: list[LossPoint] = field(default_factory=list[LossPoint])
    metrics: list[MetricPoint] = field(default_factory=list[MetricPoint])
    best_point: MetricPoint = field(default_factory=lambda: MetricPoint(0, 0.0, 0.0))
    best: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    told_losses: int = 0
    told_metrics: int = 0


def write_state(
    path: Path, identity: Mapping[str, object], state: TrainState, module: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Write a checkpoint, atomically. Raises ProjectError where that fails; what was there before is intact."""
    content = {
        "identity": dict(identity),
        "step": state.step,
        "curves": msgspec.msgpack.encode((state.losses, state.metrics, state.best_point)),
        "best": state.best,
        "module": module.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    saved = io.BytesIO()
    torch.save(content, saved)
    with replacing(path, ProjectError) as stream:
        stream.write(_MAGIC + _digest(saved.getbuffer()))
        stream.write(saved.getbuffer())


def read_state(
    path: Path, identity: Mapping[str, object], module: nn.Module, optimiser: torch.optim.Optimizer
) -> TrainState:
    """Read a checkpoint into the module and its optimiser; returns the state.

    Raises:
        PlanError: It is no checkpoint, or that of another run: the message names what differs.
    """
    content = _read(path)
    for name, value in identity.items():
        if content["identity"].get(name) != value:
            there = content["identity"].get(name)
            what = "the plan" if name == "plan" else f"{name} {there} instead of {value}"
            hint = "go on with the same model, plan, data and options, or start anew"
            raise PlanError(f"this checkpoint is of another run: it has {what}", path=path, hint=hint)
    module.load_state_dict(content["module"])
    optimiser.load_state_dict(content["optimiser"])
    curves = msgspec.msgpack.decode(content["curves"], type=tuple[list[LossPoint], list[MetricPoint], MetricPoint])
    return TrainState(content["step"], *curves, best=content["best"])


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PlanError(f"cannot be read: {error.strerror or error}", path=path) from error
    head = len(_MAGIC) + _DIGEST_BYTES
    if data[:head] != _MAGIC + _digest(data[head:]):
        hint = "it is damaged, or of another version: start anew without --resume"
        raise PlanError("is no checkpoint of a training run", path=path, hint=hint)
    return torch.load(io.BytesIO(data[head:]), weights_only=True)


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
