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


@pytest.fixture(scope="session")
def softmax_project(tmp_path_factory: pytest.TempPathFactory, models: Path, samples: Path, recipe: Path) -> Path:
    """A project of mobile_fmnist with probabilities for outputs: a softmax behind it, and a movement behind that."""
    import onnx
    from onnx import TensorProto, helper

    from engine.session import Session

    folder = tmp_path_factory.mktemp("softmax")
    model = onnx.load(models / "mobile_fmnist.onnx")
    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["shares"], axis=-1))
    model.graph.node.append(helper.make_node("Unsqueeze", ["shares", "axes"], ["probabilities"]))
    model.graph.initializer.append(helper.make_tensor("axes", TensorProto.INT64, [1], [1]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None))
    onnx.save(model, folder / "softmax.onnx")
    session = Session.open(folder / "softmax.onnx")
    session.calibrate(samples, recipe=recipe, samples=8)
    return session.save(folder / "softmax.qscope")
