"""Operators and closed groups, in three levels of detail.

Far: one coloured rectangle each. Middle: border, header and title. Near: everything, drawn box by box. The fill is the
heat, the border and the badge are the precision, the header's colour is the kind of operator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPen

from gui.canvas.batch import ColourAtlas
from gui.canvas.heat import STEPS, colour_table, needs_white_text
from gui.canvas.layers.context import PaintContext, colour
from gui.canvas.model import STRIP_BINS, BoxHeat, CanvasModel
from gui.canvas.scene import KINDS, Decoration, GroupDecoration, HeatScale
from gui.theme import PRECISION_BADGES, Theme, text_on

MIDDLE_FROM = 0.15
TITLES_FROM = 0.3
# Below, room is short: bold letters are an eighth wider.
_BOLD_FROM = 0.45
# A title that does not fit is set smaller before it is shortened.
_LEAST_PIXELS = 8.0
NEAR_FROM = 0.75
HEADER = 20.0
_RADIUS = 5.0
_STRIP = 9.0
_DEFAULT_MAP = "cividis"


class BoxPalette:
    """The theme's and the scale's colours as one atlas: heat first, then blank, kinds, group header, outlines."""

    def __init__(self, theme: Theme, scale: HeatScale | None) -> None:
        self.map_name = scale.colour_map if scale else _DEFAULT_MAP
        heat = ["#{:02x}{:02x}{:02x}".format(*row) for row in colour_table(self.map_name).tolist()]
        self.white_text = needs_white_text(self.map_name)
        precisions = list(theme.precisions.values())
        self.blank = STEPS
        self.kind = {kind: STEPS + 1 + i for i, kind in enumerate(KINDS)}
        self.group_header = self.blank + 1 + len(KINDS)
        self.outline = self.group_header + 1
        self.precision = {name: self.outline + 1 + i for i, name in enumerate(theme.precisions)}
        self.stopped = self.outline + 1 + len(precisions)
        kinds = [theme.kinds[kind] for kind in KINDS]
        self.colours = [*heat, theme.box, *kinds, theme.group_header, theme.box_outline, *precisions, theme.warning]
        self.atlas = ColourAtlas(self.colours)

    def suits(self, scale: HeatScale | None) -> bool:
        """Whether the palette has the colours of a scale."""
        return self.map_name == (scale.colour_map if scale else _DEFAULT_MAP)

    def body(self, heat: NDArray[np.int64]) -> NDArray[np.int64]:
        """Atlas index of the fill of heat indices (−1: none)."""
        return np.where(heat >= 0, heat, self.blank)


@dataclass(frozen=True)
class Badge:
    """What a badge says, and whose colour it takes: filled for a user's choice, as a warning for a refused one.

    A box that cannot run is hatched in the colour of warnings beside.
    """

    text: str
    precision: str
    is_chosen: bool
    is_refused: bool
    is_stopped: bool = False


@dataclass(frozen=True, eq=False)
class _BoxColours:
    """Atlas indices per box."""

    body: NDArray[np.int64]
    header: NDArray[np.int64]
    border: NDArray[np.int64]
    far: NDArray[np.int64]


class BoxLayer:
    """The boxes of one layout with one palette, their badges and heat."""

    def __init__(self, palette: BoxPalette, model: CanvasModel, badges: list[Badge]) -> None:
        self._palette = palette
        self._model = model
        self._heat: BoxHeat = model.heat()
        self._badges = badges
        self._colours = self._box_colours()

    def _box_colours(self) -> _BoxColours:
        model, palette = self._model, self._palette
        nodes = model.scene.nodes
        header = np.array(
            [
                palette.kind.get(nodes[item].kind, palette.kind["other"]) if item >= 0 else palette.group_header
                for item in model.layout.items
            ],
            dtype=np.int64,
        )
        border = np.array(
            [
                palette.stopped if badge.is_stopped else palette.precision.get(badge.precision, palette.outline)
                for badge in self._badges
            ],
            dtype=np.int64,
        )
        body = palette.body(self._heat.colour)
        far = body if model.scale is not None else header
        return _BoxColours(body, header, border, far)

    def paint(self, context: PaintContext) -> None:
        """Draw the boxes in the window at the detail that the zoom allows."""
        found, shown = context.visible(self._model.layout.boxes, margin=6.0)
        if context.camera.zoom < MIDDLE_FROM:
            self._paint_far(context, found, shown)
        elif context.camera.zoom < NEAR_FROM:
            self._paint_middle(context, found, shown)
        else:
            for box, (x, y, width, height) in zip(found.tolist(), shown.tolist(), strict=True):
                self._paint_near(context, box, QRectF(x, y, width, height))

    def paint_choices(self, context: PaintContext) -> None:
        """In the middle distance, over everything else, the precisions that the user chose."""
        if not TITLES_FROM <= context.camera.zoom < NEAR_FROM:
            return
        context.painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        found, shown = context.visible(self._model.layout.boxes, margin=6.0)
        for box, (x, y, width, height) in zip(found.tolist(), shown.tolist(), strict=True):
            if self._badges[box].is_chosen or self._badges[box].is_stopped:
                self._paint_badge(context, box, QRectF(x + 5, y - 11, width, height), 8.5 / 10.0)

    # -- far and middle ----------------------------------------------------------------------------------------
    def _paint_far(self, context: PaintContext, found: NDArray[np.int64], shown: NDArray[np.float64]) -> None:
        painter = context.painter
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        shown = np.concatenate([shown[:, :2], np.maximum(shown[:, 2:], 1.0)], axis=1)
        if context.camera.zoom > 0.05:
            rim = np.array([-1.0, -1.0, 2.0, 2.0])
            self._palette.atlas.draw(painter, shown + rim, self._colours.border[found])
        self._palette.atlas.draw(painter, shown, self._colours.far[found])

    def _paint_middle(self, context: PaintContext, found: NDArray[np.int64], shown: NDArray[np.float64]) -> None:
        painter, zoom = context.painter, context.camera.zoom
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        shown = np.round(shown)
        border = max(1.0, round(3.0 * zoom))
        rim = np.array([-border, -border, 2 * border, 2 * border])
        self._palette.atlas.draw(painter, shown + rim, self._colours.border[found])
        self._palette.atlas.draw(painter, shown, self._colours.body[found])
        for box, place in zip(found.tolist(), shown.tolist(), strict=True):
            if self._badges[box].is_stopped:
                self._paint_hatch(context, QRectF(*place))
        header = shown.copy()
        header[:, 3] = max(2.0, round(7.0 * zoom))
        self._palette.atlas.draw(painter, header, self._colours.header[found])
        self._paint_strips(context, found, shown)
        if zoom >= TITLES_FROM:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
            top = float(header[0, 3]) if len(header) else 0.0
            for box, (x, y, width, height) in zip(found.tolist(), shown.tolist(), strict=True):
                bottom = max(2.0, _STRIP * zoom) if box in self._heat.strips else 0.0
                self._paint_title(context, box, (x + 1, y + top, width - 2, height - top - bottom))

    def _paint_strips(self, context: PaintContext, found: NDArray[np.int64], shown: NDArray[np.float64]) -> None:
        """The distribution of every closed group's children, best to worst, along the lower side."""
        if self._model.scale is None:
            return
        groups = [(i, box) for i, box in enumerate(found.tolist()) if box in self._heat.strips]
        if not groups:
            return
        height = max(2.0, round(_STRIP * context.camera.zoom))
        rectangles = np.repeat(shown[[i for i, _ in groups]], STRIP_BINS, axis=0)
        step = np.tile(np.arange(STRIP_BINS), len(groups)) / STRIP_BINS
        left = np.floor(rectangles[:, 0] + rectangles[:, 2] * step)
        right = np.floor(rectangles[:, 0] + rectangles[:, 2] * (step + 1 / STRIP_BINS))
        strips = np.stack([left, rectangles[:, 1] + rectangles[:, 3] - height, right - left, left * 0 + height], axis=1)
        colours = np.concatenate([self._heat.strips[box] for _, box in groups])
        self._palette.atlas.draw(context.painter, strips, self._palette.body(colours))

    def _paint_title(self, context: PaintContext, box: int, room: tuple[float, float, float, float]) -> None:
        painter, zoom = context.painter, context.camera.zoom
        painter.setPen(self._text_colour(context.theme, box))
        pixels = min(max(9.0, 15.0 * zoom), 12.0)
        x, y, width, height = room
        title, detail = self._title(box), self._detail(box)
        is_bold = zoom >= _BOLD_FROM
        has_two_lines = height >= 2.1 * pixels and bool(detail)
        pixels = context.texts.fitting(title, width, pixels, _LEAST_PIXELS, is_bold)
        if has_two_lines:
            half = height / 2
            context.texts.draw(painter, title, (x, y, width, half), pixels, is_bold, 0.5)
            context.texts.draw(painter, detail, (x, y + half, width, half), pixels, False, 0.5)
        else:
            context.texts.draw(painter, title, room, pixels, is_bold, 0.5)

    # -- near --------------------------------------------------------------------------------------------------
    def _paint_near(self, context: PaintContext, box: int, place: QRectF) -> None:
        painter, zoom, theme = context.painter, context.camera.zoom, context.theme
        item = self._model.layout.items[box]
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        radius = _RADIUS * zoom
        if item < 0:
            self._paint_stack(context, place, radius)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour(self._palette.colours[int(self._colours.header[box])]))
        painter.drawRoundedRect(place, radius, radius)
        header = HEADER * zoom
        body = place.adjusted(0, header, 0, 0)
        painter.setBrush(colour(self._palette.colours[int(self._colours.body[box])]))
        painter.drawRoundedRect(body, radius, radius)
        painter.drawRect(QRectF(body.x(), body.y(), body.width(), radius))
        if item < 0:
            self._paint_near_strip(context, box, place)
        border = self._palette.colours[int(self._colours.border[box])]
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(colour(border), (3.0 if self._badges[box].precision in theme.precisions else 1.2) * zoom))
        painter.drawRoundedRect(place, radius, radius)
        if self._badges[box].is_stopped:
            self._paint_hatch(context, body)
        self._paint_near_texts(context, box, place)

    @staticmethod
    def _paint_hatch(context: PaintContext, place: QRectF) -> None:
        """Slanted lines over a box that cannot run."""
        context.painter.setPen(Qt.PenStyle.NoPen)
        context.painter.setBrush(QBrush(colour(context.theme.warning, 0.45), Qt.BrushStyle.BDiagPattern))
        context.painter.drawRect(place)

    @staticmethod
    def _paint_stack(context: PaintContext, place: QRectF, radius: float) -> None:
        """Two cards behind a closed group: there is more inside."""
        painter, zoom = context.painter, context.camera.zoom
        painter.setPen(QPen(colour(context.theme.box_outline), 1.0))
        painter.setBrush(colour(context.theme.box))
        for i in (2, 1):
            step = 3.0 * i * zoom
            painter.drawRoundedRect(place.translated(step, step), radius, radius)

    def _paint_near_strip(self, context: PaintContext, box: int, place: QRectF) -> None:
        if self._model.scale is None:
            return
        painter, zoom = context.painter, context.camera.zoom
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        inset = 7.0 * zoom
        line = np.array([[place.x() + inset, place.y(), place.width() - 2 * inset, place.height() - 6.0 * zoom]])
        self._paint_strips(context, np.array([box]), line)
        strip = QRectF(line[0][0], line[0][1] + line[0][3] - _STRIP * zoom, line[0][2], _STRIP * zoom)
        painter.setPen(QPen(colour(context.theme.canvas, 0.9), 1.0))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(strip.adjusted(-1, -1, 0, 0))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)

    def _paint_near_texts(self, context: PaintContext, box: int, place: QRectF) -> None:
        painter, zoom, model = context.painter, context.camera.zoom, self._model
        item = model.layout.items[box]
        inset = 7.0 * zoom
        left, width = place.x() + inset, place.width() - 2 * inset
        header_fill = self._palette.colours[int(self._colours.header[box])]
        used = self._paint_badge(context, box, place, zoom)
        painter.setPen(colour(text_on(header_fill)))
        header = (left, place.y(), width - used, HEADER * zoom)
        title = self._title(box)
        pixels = context.texts.fitting(title, header[2], 12.0 * zoom, 9.0 * zoom, True)
        context.texts.draw(painter, title, header, pixels, True)
        painter.setPen(self._text_colour(context.theme, box))
        row = 18.0 * zoom
        first = place.y() + (HEADER + 1.0) * zoom
        value = self._value(box)
        taken = context.texts.draw(painter, value, (left, first, width, row), 11.0 * zoom, True, 1.0) if value else 0.0
        room = (left, first, width - taken - 4 * zoom, row)
        if item < 0:
            context.texts.draw(painter, f"{model.hierarchy.groups[~item].size} {model.scene.noun}", room, 11.0 * zoom)
            return
        node = model.scene.nodes[item]
        pixels = context.texts.fitting(node.op_type, room[2], 11.0 * zoom, 8.5 * zoom)
        context.texts.draw(painter, node.op_type, room, pixels)
        second = (left, first + row - zoom, width, row)
        fused = model.decoration(item).fused_into
        mark = f"⊂ {fused}" if fused else ""
        right_half = (left + width * 0.5, second[1], width * 0.5, row)
        marked = context.texts.draw(painter, mark, right_half, 10.0 * zoom, False, 1.0)
        rest = (left, second[1], width - marked - 4 * zoom, row)
        context.texts.draw(painter, node.shapes, rest, 10.5 * zoom, elide=Qt.TextElideMode.ElideRight)

    def _paint_badge(self, context: PaintContext, box: int, place: QRectF, zoom: float) -> float:
        """The precision at the header's right end: filled if the user chose it. Returns the width it takes."""
        badge, theme = self._badges[box], context.theme
        if not badge.text:
            return 0.0
        painter = context.painter
        width = context.texts.width(badge.text, 10.0 * zoom, True) + 8 * zoom
        pill = QRectF(place.right() - width - 4 * zoom, place.y() + 3.5 * zoom, width, (HEADER - 6.5) * zoom)
        tint = theme.precisions.get(badge.precision, theme.box_outline)
        tint = theme.warning if badge.is_refused or badge.is_stopped else tint
        fill = tint if badge.is_chosen or badge.is_stopped else theme.box
        painter.setPen(QPen(colour(tint), 1.2 * zoom))
        painter.setBrush(colour(fill))
        painter.drawRoundedRect(pill, 3 * zoom, 3 * zoom)
        painter.setPen(colour(text_on(fill)))
        room = (pill.x(), pill.y(), pill.width(), pill.height())
        context.texts.draw(painter, badge.text, room, 10.0 * zoom, True, 0.5)
        return width + 8 * zoom

    # -- what the texts say ------------------------------------------------------------------------------------
    def _title(self, box: int) -> str:
        item = self._model.layout.items[box]
        if item >= 0:
            return self._model.scene.nodes[item].title
        return f"▸ {self._model.hierarchy.groups[~item].title}"

    def _value(self, box: int) -> str:
        scale = self._model.scale
        value = float(self._heat.value[box])
        if scale is None or value != value:
            return ""
        return scale.format(value)

    def _detail(self, box: int) -> str:
        """The second line of the middle distance: the value, else the kind."""
        item = self._model.layout.items[box]
        value = self._value(box)
        if value:
            return value
        scene = self._model.scene
        return scene.nodes[item].op_type if item >= 0 else f"{self._model.hierarchy.groups[~item].size} {scene.noun}"

    def _text_colour(self, theme: Theme, box: int) -> QColor:
        heat = int(self._heat.colour[box])
        if heat < 0:
            return colour(theme.box_text)
        return colour("#ffffff" if self._palette.white_text[heat] else "#0b0e13")


def badges_of(model: CanvasModel) -> list[Badge]:
    """The badge of every box that shows."""
    return [
        node_badge(model.decoration(item)) if item >= 0 else group_badge(model.group_decoration(~item))
        for item in model.layout.items
    ]


def node_badge(decoration: Decoration) -> Badge:
    """"i8", or "i16→i8" where the target refused the user's choice; "" where nothing is known. What cannot run says so
    instead.
    """
    if decoration.problem:
        return Badge("cannot run", "", False, False, is_stopped=True)
    effective = PRECISION_BADGES.get(decoration.effective, "")
    requested = PRECISION_BADGES.get(decoration.requested, decoration.requested)
    text = effective or (requested if decoration.is_user_choice else "")
    if decoration.is_refused:
        text = f"{requested}→{effective}"
    return Badge(text, decoration.effective, decoration.is_user_choice, decoration.is_refused)


def group_badge(decoration: GroupDecoration) -> Badge:
    """The precision that all share or "mixed"; if any was set or refused, how many: a closed group hides them."""
    text = PRECISION_BADGES.get(decoration.effective, decoration.effective)
    if decoration.stopped:
        text = f"{decoration.stopped} cannot run"
    elif decoration.refused:
        text = f"{decoration.refused} refused"
    elif decoration.chosen:
        text = f"{decoration.chosen} set"
    return Badge(text, decoration.effective, decoration.chosen > 0, decoration.refused > 0, decoration.stopped > 0)
