"""Groups: modules, their calls, what is merged away, and what shows at first."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gui.canvas.compound import CompoundBuilder, CompoundLayout
from gui.canvas.folding import Viewport
from gui.canvas.hierarchy import ROOT, Hierarchy
from gui.canvas.scene import Scene, SceneEdge, SceneNode
from tests.gui.canvas.graphs import SceneBuilder, random_edges, swin

WINDOW = Viewport(1300.0, 800.0)


def titles(hierarchy: Hierarchy, group: int = ROOT) -> list[str]:
    return [
        hierarchy.scene.nodes[c].title if c >= 0 else hierarchy.groups[~c].title for c in hierarchy.children(group)
    ]


def shared_relu() -> Scene:
    """A block that calls one ReLU module twice, as torchvision's do, each call of two operators."""
    build = SceneBuilder()
    x = build.add("Conv", "conv", ("block",))
    for _ in range(2):
        x = build.add("Relu", "activation", ("block", "relu"), [x])
        x = build.add("Clip", "activation", ("block", "relu"), [x])
        x = build.add("Conv", "conv", ("block",), [x])
    build.add("output", "io", (), [x])
    return build.scene()


def test_groups_follow_namespaces_in_graph_order() -> None:
    hierarchy = Hierarchy(swin((2, 1)))
    assert titles(hierarchy) == ["input", "features", "ReduceMean", "head", "output"]
    features = hierarchy.group_index["features"]
    assert titles(hierarchy, features) == [*(f"features.{i}" for i in range(3)), "features.3.0", "features.4"]
    assert titles(hierarchy, hierarchy.group_index["features/1/0"]) == ["norm1", "attn", "Add", "norm2", "mlp", "Add"]


def test_a_single_operator_is_no_group_and_single_levels_are_merged() -> None:
    nodes = (
        SceneNode("a", "a", "Conv", ("model", "stem", "conv")),
        SceneNode("b", "b", "Relu", ("model", "stem", "act")),
        SceneNode("c", "c", "Gemm", ("head",)),
    )
    hierarchy = Hierarchy(Scene(nodes, (SceneEdge("a", "b"), SceneEdge("b", "c"))))
    assert titles(hierarchy) == ["model/stem", "c"]
    assert titles(hierarchy, 0) == ["a", "b"]


def test_a_module_called_twice_is_two_groups() -> None:
    hierarchy = Hierarchy(shared_relu())
    block = hierarchy.group_index["block"]
    assert titles(hierarchy, block) == ["Conv", "relu", "Conv", "relu (2)", "Conv"]
    assert {"block/relu", "block/relu#2"} <= set(hierarchy.group_index)
    layout = CompoundBuilder(hierarchy).build({block}, WINDOW)
    assert not layout.is_upward.any()


def test_leaves_of_a_group_are_its_operators() -> None:
    hierarchy = Hierarchy(swin((1,)))
    for index, group in enumerate(hierarchy.groups):
        inside = hierarchy.nodes_of(index)
        assert group.size == len(inside) == len(set(inside.tolist()))
        assert all(index in hierarchy.ancestors_of_node(int(node)) for node in inside)
    assert sorted(hierarchy.leaf_order.tolist()) == list(range(len(hierarchy.scene.nodes)))


def test_the_first_view_opens_whole_levels_up_to_a_limit() -> None:
    hierarchy = Hierarchy(swin())
    for limit in (10, 20, 60, 100_000):
        expanded = hierarchy.default_expanded(limit)
        assert len(hierarchy.visible_items(expanded)) <= 4 * limit
    assert len(hierarchy.visible_items(hierarchy.default_expanded(60))) > 20
    assert len(hierarchy.visible_items(hierarchy.default_expanded(100_000))) == len(hierarchy.scene.nodes)


def test_the_first_view_is_never_three_boxes_that_say_nothing() -> None:
    hierarchy = Hierarchy(swin((1,) * 60))
    assert 60 < len(hierarchy.visible_items(hierarchy.default_expanded(60))) <= 240


def inside(inner: np.ndarray, outer: np.ndarray) -> bool:
    return bool(
        inner[0] >= outer[0]
        and inner[1] >= outer[1]
        and inner[0] + inner[2] <= outer[0] + outer[2] + 1e-6
        and inner[1] + inner[3] <= outer[1] + outer[3] + 1e-6
    )


def overlapping(layout: CompoundLayout) -> int:
    x, y, w, h = layout.boxes.T
    apart = (x[:, None] + w[:, None] <= x + 1e-6) | (x + w <= x[:, None] + 1e-6)
    apart |= (y[:, None] + h[:, None] <= y + 1e-6) | (y + h <= y[:, None] + 1e-6)
    np.fill_diagonal(apart, True)
    return int((~apart).sum()) // 2


@pytest.mark.parametrize("opened", ["none", "first", "all"])
def test_children_lie_in_their_frames_and_boxes_apart(opened: str) -> None:
    hierarchy = Hierarchy(swin((2, 2)))
    expanded = {"none": (), "first": hierarchy.default_expanded(30), "all": range(len(hierarchy.groups))}[opened]
    layout = CompoundBuilder(hierarchy).build(expanded, WINDOW)
    assert overlapping(layout) == 0
    frame_of = {group: layout.frames[i] for i, group in enumerate(layout.frame_groups)}
    for item, box in zip(layout.items, layout.boxes, strict=True):
        parent = hierarchy.parent_of_node[item] if item >= 0 else hierarchy.groups[~item].parent
        assert parent == ROOT or inside(box, frame_of[parent])
    for group, frame in frame_of.items():
        parent = hierarchy.groups[group].parent
        assert parent == ROOT or inside(frame, frame_of[parent])


def test_every_edge_is_an_unbroken_line_from_box_to_box() -> None:
    hierarchy = Hierarchy(swin((2,)))
    layout = CompoundBuilder(hierarchy).build(range(len(hierarchy.groups)), WINDOW)
    assert len(layout.link_source) == len(hierarchy.scene.edges)
    for link, way in enumerate(layout.link_stretches):
        parts = [layout.points[layout.starts[s] : layout.starts[s + 1]] for s in way]
        for before, after in itertools.pairwise(parts):
            assert before[-1] == pytest.approx(after[0])
        source, target = layout.boxes[layout.link_source[link]], layout.boxes[layout.link_target[link]]
        assert parts[0][0, 1] == pytest.approx(source[1] + source[3])
        assert parts[-1][-1, 1] == pytest.approx(target[1])
        assert target[0] <= parts[-1][-1, 0] <= target[0] + target[2]


def test_edges_between_closed_groups_are_one_line() -> None:
    hierarchy = Hierarchy(swin((1, 1)))
    layout = CompoundBuilder(hierarchy).build({hierarchy.group_index["features"]}, WINDOW)
    block, merging = (hierarchy.group_index[name] for name in ("features/1/0", "features/2"))
    between = [
        int(layout.link_count[i])
        for i in range(len(layout.link_source))
        if layout.items[int(layout.link_source[i])] == ~block and layout.items[int(layout.link_target[i])] == ~merging
    ]
    assert between == [4], "four slices read one tensor"


def test_a_deeply_nested_and_an_empty_scene() -> None:
    deep = tuple(
        SceneNode(f"n{i}{j}", "x", "Op", tuple(f"m{k}" for k in range(i))) for i in range(300) for j in range(2)
    )
    hierarchy = Hierarchy(Scene(deep, ()))
    assert len(CompoundBuilder(hierarchy).build(range(len(hierarchy.groups)), WINDOW).items) == 600
    assert CompoundBuilder(Hierarchy(Scene())).build((), WINDOW).items == []


def test_a_scene_says_which_edge_is_wrong() -> None:
    with pytest.raises(ValueError, match="no node 'b'"):
        Scene((SceneNode("a", "a", "Op"),), (SceneEdge("a", "b"),))
    with pytest.raises(ValueError, match="share an id"):
        Scene((SceneNode("a", "a", "Op"), SceneNode("a", "b", "Op")))


def random_scene(count: int, seed: int) -> Scene:
    """A graph whose modules are entered and left at random: groups that are not convex included."""
    source = random.Random(seed)
    nodes = tuple(
        SceneNode(f"n{i}", f"n{i}", "Op", tuple(source.choice("abc") for _ in range(source.randrange(4))))
        for i in range(count)
    )
    return Scene(nodes, tuple(SceneEdge(f"n{a}", f"n{b}") for a, b in random_edges(count, seed, reach=20)))


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 45), seed=st.integers(0, 100_000), opened=st.integers(0, 2**16))
def test_any_modules_in_any_state_are_laid_out_soundly(count: int, seed: int, opened: int) -> None:
    hierarchy = Hierarchy(random_scene(count, seed))
    expanded = {g for g in range(len(hierarchy.groups)) if opened >> (g % 16) & 1}
    layout = CompoundBuilder(hierarchy).build(expanded, Viewport(700.0, 500.0))
    assert overlapping(layout) == 0
    shown = {item: layout.boxes[b] for b, item in enumerate(layout.items)}
    frames = {group: layout.frames[i] for i, group in enumerate(layout.frame_groups)}
    for item, box in [*shown.items(), *((~group, frame) for group, frame in frames.items())]:
        parent = hierarchy.parent_of_node[item] if item >= 0 else hierarchy.groups[~item].parent
        assert parent == ROOT or inside(box, frames[parent])
    for link, way in enumerate(layout.link_stretches):
        parts = [layout.points[layout.starts[s] : layout.starts[s + 1]] for s in way]
        assert all(before[-1] == pytest.approx(after[0]) for before, after in itertools.pairwise(parts))
        source, target = layout.boxes[layout.link_source[link]], layout.boxes[layout.link_target[link]]
        assert parts[0][0, 1] == pytest.approx(source[1] + source[3])
        assert parts[-1][-1, 1] == pytest.approx(target[1])
    assert sorted(hierarchy.leaf_order.tolist()) == list(range(count))
