"""What edges say of their tensors."""

from __future__ import annotations

from gui.canvas.layers.edges import tensor_label
from gui.canvas.scene import Decoration, SceneEdge


def test_edges_name_the_planned_type_once_there_is_a_plan() -> None:
    edge = SceneEdge("a", "b", "1×49×96", "float32")
    assert tensor_label(edge, {}) == "1×49×96 f32"
    assert tensor_label(edge, {"a": Decoration(effective="int16", dtype="int16")}) == "1×49×96 i16"
    assert tensor_label(SceneEdge("a", "b", "1×49×96"), {}) == "1×49×96"
