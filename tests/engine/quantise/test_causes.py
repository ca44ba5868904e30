"""The cause is named with its numbers, and with the layers that can take it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.quantise.causes import ChannelCauses, causes
from engine.reports_advice import CauseKind
from engine.session import Session
from tests.engine.quantise.hard import harden, planted_outliers, scaled_channels


@pytest.fixture(scope="module")
def hard_swin(tmp_path_factory: pytest.TempPathFactory, models: Path, samples: Path, recipe: Path) -> Session:
    folder = tmp_path_factory.mktemp("causes")
    session = Session.open(harden(models / "swin_fmnist.onnx", folder / "swin.onnx", planted_outliers()))
    session.calibrate(samples, recipe=recipe, samples=8)
    return session


def test_planted_outliers_are_counted_and_measured(hard_swin: Session) -> None:
    (cause,) = causes(hard_swin, "/layers.1/blocks.0/norm2/LayerNormalization")
    assert cause.kind is CauseKind.OUTLIERS
    found = re.match(r"(\d+) of 96 channels of LayerNormalization .* are up to (\d+)× the median: fold", cause.text)
    assert found is not None, cause.text
    assert 2 <= int(found[1]) <= 4 and 20 <= int(found[2]) <= 120
    assert "/layers.1/blocks.0/mlp/fc1" in cause.text


def test_scaled_channels_are_a_spread(tmp_path: Path, models: Path, samples: Path, recipe: Path) -> None:
    session = Session.open(harden(models / "mobile_fmnist.onnx", tmp_path / "hard.onnx", scaled_channels()))
    session.calibrate(samples, recipe=recipe, samples=4)
    named = ChannelCauses(session)
    (cause,) = named.of("/blocks.3/expand/conv/Conv")
    assert cause.kind is CauseKind.CHANNELS
    found = re.search(r"differ by 2\^(\d+\.\d)", cause.text)
    assert found is not None and 4.0 <= float(found[1]) <= 12.0
    assert "equalise with '/blocks.3/depthwise/conv/Conv'" in cause.text
    assert named.of("/blocks.3/expand/act/Clip") == named.of("/blocks.3/expand/conv/Conv"), "they are one unit"


def test_a_model_of_even_channels_has_none(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    named = ChannelCauses(session)
    assert named.of("input/image") == ()
    assert named.of("/head/Gemm") == ()
