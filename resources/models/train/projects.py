"""Make the demo models' calibrated projects anew: after a model was trained again, or a range search changed.

The same models, samples and recipe give the same files, byte for byte, on one machine: float sums are rounded by the
order in which torch adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from engine.project import SUFFIX
from engine.session import Session

MODELS = ("swin_fmnist", "mobile_fmnist")
TARGET = "journey5"
SAMPLES = 256
FOLDER = Path(__file__).parents[1]


def make_projects(folder: Path = FOLDER) -> Iterator[Path]:
    """Calibrate every demo model in ``folder`` on the samples beside it, and write its project there."""
    for name in MODELS:
        session = Session.open(folder / f"{name}.onnx", target=TARGET)
        session.calibrate(
            folder / "fmnist_samples.npz", recipe=folder / "fmnist.toml", samples=SAMPLES, split="calibration"
        )
        yield session.save(folder / f"{name}{SUFFIX}")


if __name__ == "__main__":
    torch.set_num_threads(1)  # however many cores there are
    for project in make_projects():
        print(project)
