"""Pixel shuffles spelled as reshape, transpose, reshape."""

from __future__ import annotations

import numpy as np
import pytest

from engine.ops.layout import DepthToSpace, SpaceToDepth
from tests.engine.graph.onnx_models import assert_same, build, node, operators, type_names

X = np.random.default_rng(0).normal(size=(2, 12, 4, 6)).astype(np.float32)
SHUFFLES = {
    "pixel shuffle": ((2, 3, 2, 2, 4, 6), (0, 1, 4, 2, 5, 3), (2, 3, 8, 12), DepthToSpace(2, "CRD")),
    "depth to space": ((2, 2, 2, 3, 4, 6), (0, 3, 4, 1, 5, 2), (2, 3, 8, 12), DepthToSpace(2, "DCR")),
    "pixel unshuffle": ((2, 12, 2, 2, 3, 2), (0, 1, 3, 5, 2, 4), (2, 48, 2, 3), SpaceToDepth(2, "CRD")),
    "space to depth": ((2, 12, 2, 2, 3, 2), (0, 3, 5, 1, 2, 4), (2, 48, 2, 3), SpaceToDepth(2, "DCR")),
}
OTHERS = {
    "another order": ((2, 3, 2, 2, 4, 6), (0, 1, 4, 3, 5, 2), (2, 3, 8, 12)),
    "blocks that are not square": ((2, 2, 3, 2, 4, 6), (0, 1, 4, 2, 5, 3), (2, 2, 12, 12)),
    "another shape behind": ((2, 3, 2, 2, 4, 6), (0, 1, 4, 2, 5, 3), (2, 3, 96, 1)),
}


def spelled(split: tuple[int, ...], perm: tuple[int, ...], whole: tuple[int, ...]):
    nodes = [
        node("Reshape", ["x", "split"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=perm),
        node("Reshape", ["b", "whole"], ["y"]),
    ]
    return build(nodes, {"x": X}, ["y"], {"split": np.array(split), "whole": np.array(whole)})


@pytest.mark.parametrize("name", SHUFFLES)
def test_becomes_one_operator(name: str) -> None:
    *spelling, op = SHUFFLES[name]
    assert operators(assert_same(spelled(*spelling), {"x": X})) == [op]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OTHERS)
def test_others_stay_what_they_are(name: str) -> None:
    assert type_names(assert_same(spelled(*OTHERS[name]), {"x": X})) == ["Reshape", "Transpose", "Reshape"]
