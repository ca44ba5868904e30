"""What the canvas knows without a window: heat, picking, selection, edges, numbers and colours."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gui.canvas.camera import Camera
from gui.canvas.folding import Viewport
from gui.canvas.heat import (
    colour_index,
    colour_table,
    needs_white_text,
    positions,
    quantiles,
    shares,
    ticks,
    worst_first,
)
from gui.canvas.layers.boxes import Badge, group_badge, node_badge
from gui.canvas.lines import rounded_lines, straight_lines, touching
from gui.canvas.model import CanvasModel
from gui.canvas.scene import Decoration, GroupDecoration, HeatScale, format_number
from gui.theme import BOUND_COLOURS, CATEGORY_COLOURS, COLOUR_MAPS, THEMES, Theme, channels, contrast, text_on
from tests.gui.canvas.graphs import swin

LOG = HeatScale(1e-6, 1e-2, log=True, label="MSE")


@pytest.fixture
def model() -> CanvasModel:
    made = CanvasModel()
    made.set_scene(swin((2,)), most_boxes=20)
    made.lay_out(Viewport(1200.0, 800.0))
    return made


def find(model: CanvasModel, title: str, within: str = "") -> str:
    return next(n.id for n in model.scene.nodes if n.title == title and n.id.startswith(within))


def test_positions_are_worst_at_one() -> None:
    values = np.array([1e-7, 1e-6, 1e-4, 1e-2, 1.0, 0.0, np.nan])
    assert positions(values, LOG) == pytest.approx([0, 0, 0.5, 1, 1, 0, np.nan], nan_ok=True)
    sqnr = HeatScale(10.0, 50.0, label="SQNR", unit="dB", higher_is_worse=False)
    assert positions(np.array([10.0, 30.0, 50.0]), sqnr) == pytest.approx([1.0, 0.5, 0.0])
    assert positions(np.array([3.0]), HeatScale(3.0, 3.0)) == pytest.approx([0.0])


def test_a_closed_group_shows_its_worst_operator_never_a_mean(model: CanvasModel) -> None:
    model.set_heat({n.id: 1e-6 for n in model.scene.nodes} | {find(model, "Softmax"): 1e-2}, LOG)
    model.expand_all(False)
    model.lay_out(Viewport())
    heat = model.heat()
    box = model.box_of("features")
    assert box is not None
    assert heat.position[box] == 1.0
    assert heat.value[box] == 1e-2
    assert heat.strips[box][0] == 0
    assert heat.strips[box][-1] == 255, "one bad operator among many keeps its place in the strip"
    assert heat.worst[0] == (box, model.scene.index[find(model, "Softmax")])


def test_nodes_without_a_value_stay_blank(model: CanvasModel) -> None:
    model.set_heat({model.scene.nodes[1].id: math.nan}, LOG)
    assert set(model.heat().colour.tolist()) == {-1}
    assert model.heat().worst == []


def test_worst_first_is_stable_and_leaves_out_the_best() -> None:
    assert worst_first(np.array([0.2, 0.9, 0.0, 0.9, np.nan]), 3) == [1, 3, 0]


def test_quantiles_of_one_value_and_of_none() -> None:
    assert quantiles(np.array([np.nan, 0.3]), 4).tolist() == [0.3] * 4
    assert np.isnan(quantiles(np.array([np.nan]), 4)).all()


def test_picking_finds_boxes_and_frames(model: CanvasModel) -> None:
    for box, (x, y, width, height) in enumerate(model.layout.boxes.tolist()):
        assert model.box_at(x + width / 2, y + height / 2) == box
        assert model.box_at(x - 3, y - 3) != box
    frame = model.layout.frame_groups.index(model.hierarchy.group_index["features"])
    x, y, _, _ = model.layout.frames[frame].tolist()
    assert model.frame_at(x + 2, y + 2) == frame
    assert model.frame_at(-500.0, -500.0) is None
    everything = model.boxes_touching(0, 0, model.layout.width, model.layout.height)
    assert len(everything) == len(model.layout.items)


def test_selecting_a_group_selects_its_operators(model: CanvasModel) -> None:
    assert model.select(model.indices(["features/1/0/attn"]))
    chosen = model.selected_ids()
    assert len(chosen) == model.hierarchy.groups[model.hierarchy.group_index["features/1/0/attn"]].size
    assert all(name.startswith("features/1/0/attn/") for name in chosen)
    assert not model.select(model.indices(["features/1/0/attn"])), "nothing changed"


def test_toggling_takes_away_what_was_wholly_selected(model: CanvasModel) -> None:
    first, second = model.scene.nodes[0].id, model.scene.nodes[1].id
    model.select(model.indices([first]))
    model.select(model.indices([first, second]), "toggle")
    assert model.selected_ids() == [first, second]
    model.select(model.indices([first, second]), "toggle")
    assert model.selected_ids() == []


def test_a_partly_selected_group_is_told_apart(model: CanvasModel) -> None:
    model.expand_all(False)
    model.lay_out(Viewport())
    model.select(model.indices([find(model, "Softmax"), model.scene.nodes[0].id]))
    whole, part = model.selected_boxes()
    assert [model.item_id(model.layout.items[b]) for b in whole.tolist()] == [model.scene.nodes[0].id]
    assert [model.item_id(model.layout.items[b]) for b in part.tolist()] == ["features"]


def test_a_groups_precision_is_its_operators_or_mixed(model: CanvasModel) -> None:
    group = model.hierarchy.group_index["features"]
    assert model.group_decoration(group) == GroupDecoration()
    model.decorations = {n.id: Decoration(effective="int8") for n in model.scene.nodes}
    assert model.group_decoration(group) == GroupDecoration("int8")
    model.decorations = {**model.decorations, find(model, "Softmax"): Decoration(effective="lut")}
    assert model.group_decoration(group) == GroupDecoration("mixed")


def test_a_closed_group_does_not_hide_refused_choices(model: CanvasModel) -> None:
    group = model.hierarchy.group_index["features"]
    model.decorations = {
        find(model, "Softmax"): Decoration("int16", "int8"),
        find(model, "Gelu"): Decoration("int8", "int8"),
    }
    assert model.group_decoration(group) == GroupDecoration("int8", chosen=2, refused=1)
    assert group_badge(model.group_decoration(group)) == Badge("1 refused", "int8", True, True)
    assert group_badge(GroupDecoration("mixed", chosen=2)).text == "2 set"


@pytest.mark.parametrize(
    ("decoration", "text"),
    [
        (Decoration(), ""),
        (Decoration("auto", "int8"), "i8"),
        (Decoration("int16", "int16"), "i16"),
        (Decoration("int16", "lut"), "i16→LUT"),
        (Decoration("float", ""), "f32"),
        (Decoration("auto", ""), ""),
    ],
)
def test_badges(decoration: Decoration, text: str) -> None:
    assert node_badge(decoration).text == text


def test_requested_and_effective_precision_are_told_apart() -> None:
    assert Decoration("int16", "int8").is_refused
    assert not Decoration("auto", "int8").is_refused
    assert not Decoration("auto", "int8").is_user_choice
    assert not Decoration("int8", "int8").is_refused


def test_opening_around_a_node_shows_it(model: CanvasModel) -> None:
    model.expand_all(False)
    softmax = find(model, "Softmax")
    assert model.open_around(softmax)
    model.lay_out(Viewport())
    box = model.box_of(softmax)
    assert box is not None
    assert model.item_id(model.layout.items[box]) == softmax
    assert not model.open_around(softmax)


def test_edges_of_a_box_end_at_it(model: CanvasModel) -> None:
    model.expand_all()
    model.lay_out(Viewport())
    box = model.box_of(find(model, "Softmax"))
    assert box is not None
    into, out_of = model.stretches_of([box])
    assert len(into) == len(out_of) == 1
    x, y, width, height = model.layout.boxes[box].tolist()
    end = model.layout.points[model.layout.starts[into[0] + 1] - 1].tolist()
    start = model.layout.points[model.layout.starts[out_of[0]]].tolist()
    assert end == pytest.approx([x + width / 2, y])
    assert start == pytest.approx([x + width / 2, y + height])


def test_lines_join_all_corners_and_rounding_keeps_the_ends(model: CanvasModel) -> None:
    straight, rounded = straight_lines(model.layout), rounded_lines(model.layout)
    stretches = list(range(len(model.layout.starts) - 1))
    assert len(straight.of(stretches)) == len(model.layout.points) - len(stretches)
    for stretch in stretches:
        sharp, soft = straight.of([stretch]), rounded.of([stretch])
        assert soft[0, :2] == pytest.approx(sharp[0, :2])
        assert soft[-1, 2:] == pytest.approx(sharp[-1, 2:])
        assert soft[1:, :2] == pytest.approx(soft[:-1, 2:])


def test_lines_outside_the_window_are_left_out() -> None:
    lines = np.array([[0.0, 0.0, 10.0, 10.0], [-20.0, 5.0, 20.0, 5.0], [50.0, 50.0, 60.0, 60.0]])
    assert touching(lines, 0, 0, 20, 20).tolist() == [True, True, False]


def test_zooming_keeps_the_point_under_the_pointer() -> None:
    camera = Camera(0.5, 30.0, -20.0)
    before = camera.scene_point(200.0, 100.0)
    assert camera.zoomed(3.0, 200.0, 100.0).scene_point(200.0, 100.0) == pytest.approx(before)


def test_fitting_centres_and_does_not_enlarge() -> None:
    camera = Camera.fitting((0, 0, 100, 50), (0, 0, 1000, 1000))
    assert camera.zoom == 1.0
    assert camera.point(50, 25) == (500.0, 500.0)
    assert Camera.fitting((0, 0, 4000, 50), (0, 0, 1000, 1000)).zoom == 0.25


@pytest.mark.parametrize("name", sorted(COLOUR_MAPS))
def test_text_on_every_heat_colour_is_readable(name: str) -> None:
    for row, white in zip(colour_table(name).tolist(), needs_white_text(name), strict=True):
        fill = "#{:02x}{:02x}{:02x}".format(*row)
        assert contrast("#ffffff" if white else "#0b0e13", fill) > 4.2


@pytest.mark.parametrize("name", sorted(THEMES))
def test_themes_are_readable(name: str) -> None:
    theme = THEMES[name]
    assert contrast(theme.text, theme.panel) > 7
    assert contrast(theme.muted_text, theme.panel) > 4.5
    assert contrast(theme.edge_label, theme.group_fill) > 4.5
    for fill in (*theme.kinds.values(), theme.group_header, *theme.precisions.values(), theme.warning):
        assert contrast(text_on(fill), fill) > 4.5


def test_an_unknown_colour_map_is_named() -> None:
    with pytest.raises(ValueError, match="no colour map 'jet'; there are blue-orange, bounds, cividis, viridis"):
        colour_table("jet")


def test_colours_of_nan_are_none() -> None:
    assert colour_index(np.array([0.0, 1.0, np.nan])).tolist() == [0, 255, -1]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.0123, "0.0123"), (12.345, "12.3"), (1234.5, "1,234"), (-3.5e-9, "−3.5e−9"), (2e6, "2.0e6")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert format_number(value) == text


def test_ticks_are_round() -> None:
    assert [value for value, _ in ticks(LOG)] == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
    assert [value for value, _ in ticks(HeatScale(0.0, 47.0))] == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert LOG.format(math.nan) == "–"


def test_values_on_boxes_keep_their_digits() -> None:
    assert HeatScale(0.0, 60.0, unit="dB").format(36.0) == "36.0 dB"
    assert format_number(36.0) == "36"


# Categories

BOUND_SCALE = HeatScale.of_categories(tuple(BOUND_COLOURS), "Bound by", "bounds")
MAC, DMA = list(BOUND_COLOURS).index("mac"), list(BOUND_COLOURS).index("dma")


def test_each_category_has_its_own_colour() -> None:
    index = colour_index(positions(np.arange(len(BOUND_COLOURS), dtype=np.float64), BOUND_SCALE))
    shown = colour_table("bounds")[index].tolist()
    assert [tuple(colour) for colour in shown] == [channels(colour) for colour in CATEGORY_COLOURS["bounds"]]
    assert BOUND_SCALE.format(float(DMA)) == "dma"


def test_a_closed_group_shows_the_category_of_most_weight(model: CanvasModel) -> None:
    slow = find(model, "Softmax")
    bounds = {node.id: float(MAC) for node in model.scene.nodes} | {slow: float(DMA)}
    model.expand_all(False)
    model.lay_out(Viewport())
    box = model.box_of("features")
    assert box is not None
    model.set_heat(bounds, BOUND_SCALE, {node.id: 1.0 for node in model.scene.nodes})
    assert model.heat().value[box] == MAC, "one among many"
    inside = len(model.hierarchy.nodes_of(model.hierarchy.group_index["features"]))
    model.set_heat(bounds, BOUND_SCALE, {node.id: 1.0 for node in model.scene.nodes} | {slow: 3.0 * inside})
    assert model.heat().value[box] == DMA, "it takes most of the time"
    assert model.heat().worst[0] == (box, model.scene.index[slow])
    dma = colour_index(positions(np.array([float(DMA)]), BOUND_SCALE))[0]
    assert np.mean(model.heat().strips[box] == dma) == pytest.approx(0.75, abs=0.04)


def test_shares_of_one_and_of_none() -> None:
    assert shares(np.array([np.nan, 0.5]), np.zeros(2), 3).tolist() == [0.5] * 3
    assert np.isnan(shares(np.array([np.nan]), np.ones(1), 3)).all()


SEEN_WITH = {
    "all cones": np.eye(3),
    "no red cones": np.array([[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]),
    "no green cones": np.array([[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]),
    "no blue cones": np.array([[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]),
}
"""Linear RGB as colour-blind eyes see it: Machado, Oliveira and Fernandes 2009, severity 1."""


@pytest.mark.parametrize("eyes", SEEN_WITH)
def test_bounds_can_be_told_apart_by_all_eyes(eyes: str) -> None:
    seen = [lab_of(SEEN_WITH[eyes], colour) for colour in BOUND_COLOURS.values()]
    for index, first in enumerate(seen):
        for second in seen[:index]:
            assert np.linalg.norm(first - second) >= 25.0


@pytest.mark.parametrize("theme", THEMES.values(), ids=lambda theme: theme.name)
def test_bounds_stand_out_from_panels(theme: Theme) -> None:
    assert min(contrast(colour, theme.panel) for colour in BOUND_COLOURS.values()) >= 2.0


def lab_of(eyes: np.ndarray, colour: str) -> np.ndarray:
    """CIELAB (D65) of a colour seen with some eyes; a difference of 2 is just visible."""
    share = np.array(channels(colour)) / 255
    linear = np.clip(eyes @ np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ linear / np.array([0.9505, 1.0, 1.0888])
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
