"""A calibrated demo session, made once for all tests of the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "resources" / "models"


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of the demo models, their recipe and their samples."""
    return MODELS


@pytest.fixture(scope="session")
def samples(models: Path) -> Path:
    return models / "fmnist_samples.npz"


@pytest.fixture(scope="session")
def recipe(models: Path) -> Path:
    return models / "fmnist.toml"


@pytest.fixture(scope="session")
def mobile_project(tmp_path_factory: pytest.TempPathFactory, models: Path, samples: Path, recipe: Path) -> Path:
    """A project of mobile_fmnist, calibrated on 8 samples. Tests copy it before they change it."""
    from engine.session import Session

    session = Session.open(models / "mobile_fmnist.onnx")
    session.calibrate(samples, recipe=recipe, samples=8)
    return session.save(tmp_path_factory.mktemp("project") / "mobile.qscope")


@pytest.fixture
def project(mobile_project: Path) -> Path:
    """A copy of the project that the test may change; it is gone afterwards."""
    copy = mobile_project.with_name("copy.qscope")
    copy.write_bytes(mobile_project.read_bytes())
    return copy


@pytest.fixture
def open_mobile(mobile_project: Path) -> Callable[[], object]:
    """Opens the calibrated demo project in a session of its own."""
    from engine.session import Session

    return lambda: Session.open(mobile_project)
