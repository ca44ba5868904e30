"""A random model as a user has it: a file, samples, a calibrated session with a target and marks drawn by chance."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from engine.precision import Precision
from engine.session import Session
from tests.conformance.sketch import Feeds, RandomModel

TARGETS = ("generic-int8", "journey5", "bayes-e-x5")
_REQUESTS = (
    *(Precision.AUTO,) * 3, *(Precision.INT8,) * 2, *(Precision.INT16,) * 3, Precision.LUT, Precision.FLOAT,
)  # fmt: skip
_BEYOND = 3.0


@dataclass(frozen=True)
class Choices:
    """What a user would choose: the target, and what every node is marked."""

    target: str
    marks: Mapping[str, Precision]

    @staticmethod
    def drawn(model: RandomModel) -> Choices:
        """By chance, from the model's seed; one model in four is left to ``auto``."""
        rng = random.Random(f"plan {model.seed}")
        target = rng.choice(TARGETS)
        if rng.random() < 0.25:
            return Choices(target, {})
        return Choices(target, {node.name: rng.choice(_REQUESTS) for node in model.proto.graph.node})


def planned(model: RandomModel, choices: Choices, folder: Path) -> Session:
    """The session of the model, written to ``folder`` with its samples and calibrated on them.

    Raises:
        QuantscopeError: The model is refused.
    """
    onnx.save(model.proto, folder / "model.onnx")
    stacked = {name: np.concatenate([sample[name] for sample in model.samples]) for name in model.samples[0]}
    np.savez(folder / "samples.npz", allow_pickle=False, **stacked)
    session = Session.open(folder / "model.onnx", target=choices.target)
    session.calibrate(folder / "samples.npz")
    for node in session.graph.nodes:
        precision = choices.marks.get(node.id, Precision.AUTO)
        session.set_plan(session.plan.mark((node.id,), precision))
    return session


def judged_samples(model: RandomModel) -> tuple[Feeds, ...]:
    """One that the model was calibrated with, and one far beyond the calibrated ranges."""
    first, second = model.samples[:2]
    return first, {name: (np.asarray(array, np.float32) * np.float32(_BEYOND)) for name, array in second.items()}
