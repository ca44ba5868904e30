"""Paints a canvas model: keeps what one layout, one heat map and one view need, and paints the layers in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPixmap

from gui.canvas.camera import Camera
from gui.canvas.draft import RegionDraft
from gui.canvas.layers.boxes import Badge, BoxLayer, BoxPalette, badges_of
from gui.canvas.layers.context import PaintContext, Texts
from gui.canvas.layers.draft import DraftLayer, paint_lasso, paint_touched
from gui.canvas.layers.edges import EdgeLayer
from gui.canvas.layers.frames import paint_frame_titles, paint_frames, title_places
from gui.canvas.layers.marks import paint_band, paint_flash, paint_hover, paint_selection, paint_worst
from gui.canvas.layers.regions import RegionLayer
from gui.canvas.model import CanvasModel
from gui.theme import Theme

# More selected boxes than this do not light their edges: the picture would be all light.
_MOST_LIT = 24


@dataclass
class Overlay:
    """What is over the graph for a moment: the hovered id, the rubber band or the lasso's points with the boxes that it
    touches, the fusion region that might be, the node that flashes and how strongly.
    """

    hovered: str = ""
    band: QRectF | None = None
    lasso: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    touched: list[int] = field(default_factory=list[int])
    draft: RegionDraft | None = None
    flash: str = ""
    flash_strength: float = 0.0


@dataclass
class _Cache:
    """Painted frames and edges, and the view for which they hold."""

    key: tuple[object, ...] = ()
    pixmap: QPixmap = field(default_factory=QPixmap)


class Renderer:
    """Paints one canvas. Say what changed: layout, decorations or heat; the rest is cached."""

    def __init__(self, model: CanvasModel, theme: Theme) -> None:
        self._model = model
        self._cache = _Cache()
        self.set_theme(theme)

    def set_theme(self, theme: Theme) -> None:
        """Paint in other colours from now on."""
        self.theme = theme
        self._palette: BoxPalette | None = None
        self._texts = Texts(theme.font_family)
        self.layout_changed()

    def layout_changed(self) -> None:
        """Boxes or edges are elsewhere."""
        self._edges: EdgeLayer | None = None
        self._cache = _Cache()
        self.regions_changed()
        self.decorations_changed()

    def regions_changed(self) -> None:
        """Fusion regions changed; everything is where it was."""
        self._regions: RegionLayer | None = None
        self._draft: tuple[RegionDraft, DraftLayer] | None = None

    def decorations_changed(self) -> None:
        """Precisions or fusion changed; everything is where it was, but edges may name other element types."""
        self._cache = _Cache()
        self._badges: list[Badge] | None = None
        self.heat_changed()

    def heat_changed(self) -> None:
        """Values or their scale changed; everything is where it was."""
        self._boxes: BoxLayer | None = None

    def paint(self, painter: QPainter, camera: Camera, width: int, height: int, overlay: Overlay | None = None) -> None:
        """Paint the view into the painter's upper left `width` × `height` pixels."""
        device = painter.device()
        ratio = float(device.devicePixelRatio()) if device is not None else 1.0
        painter.drawPixmap(0, 0, self._background(camera, width, height, ratio))
        context = self._context(painter, camera, width, height)
        overlay = overlay or Overlay()
        self._region_layer().paint(context)
        draft = self._draft_layer(overlay.draft)
        if draft is not None:
            draft.paint(context)
        self._light_edges(context, overlay)
        self._box_layer().paint(context)
        paint_frame_titles(context)
        paint_selection(context)
        self._region_layer().paint_tabs(context)
        self._box_layer().paint_choices(context)
        if overlay.hovered and (rectangle := self._model.rectangle_of(overlay.hovered)):
            paint_hover(context, rectangle)
        paint_worst(context)
        if overlay.flash and (rectangle := self._model.rectangle_of(overlay.flash)):
            paint_flash(context, rectangle, overlay.flash_strength)
        if overlay.touched:
            paint_touched(context, overlay.touched)
        if draft is not None:
            draft.paint_marks(context)
        if overlay.band is not None:
            paint_band(context, overlay.band)
        if overlay.lasso:
            paint_lasso(context, overlay.lasso)

    def paint_all(self, painter: QPainter, camera: Camera, width: int, height: int) -> None:
        """Paint without the cache and without what is momentary: shapes stay shapes on a device that keeps them."""
        painter.fillRect(0, 0, width, height, QColor(self.theme.canvas))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        context = self._context(painter, camera, width, height)
        paint_frames(context)
        self._edge_layer().paint(context)
        self._region_layer().paint(context)
        self._box_layer().paint(context)
        paint_frame_titles(context)
        self._region_layer().paint_tabs(context)
        self._box_layer().paint_choices(context)
        paint_worst(context)

    def frame_title_at(self, camera: Camera, width: int, height: int, x: float, y: float) -> int | None:
        """The frame whose title is at a pixel."""
        # Only metrics are needed here, so an idle painter will do.
        context = self._context(QPainter(), camera, width, height)
        for frame, left, top, wide, tall in title_places(context):
            if left <= x <= left + wide and top <= y <= top + tall:
                return frame
        return None

    def region_at(self, camera: Camera, width: int, height: int, x: float, y: float) -> str:
        """The fusion region whose tab is at a pixel; "" for none."""
        return self._region_layer().tab_at(self._context(QPainter(), camera, width, height), x, y)

    def is_nearest_at(
        self, draft: RegionDraft | None, camera: Camera, width: int, height: int, x: float, y: float
    ) -> bool:
        """Whether the tab of a draft's nearest legal region is at a pixel."""
        layer = self._draft_layer(draft)
        return layer is not None and layer.is_tab_at(self._context(QPainter(), camera, width, height), x, y)

    def _context(self, painter: QPainter, camera: Camera, width: int, height: int) -> PaintContext:
        return PaintContext(painter, camera, float(width), float(height), self._model, self.theme, self._texts)

    def _background(self, camera: Camera, width: int, height: int, ratio: float) -> QPixmap:
        key = (camera, width, height, ratio)
        if self._cache.key != key:
            pixmap = QPixmap(max(1, round(width * ratio)), max(1, round(height * ratio)))
            pixmap.setDevicePixelRatio(ratio)
            pixmap.fill(QColor(self.theme.canvas))
            with QPainter(pixmap) as painter:
                painter.setRenderHint(QPainter.RenderHint.Antialiasing, camera.zoom > 0.3)
                context = self._context(painter, camera, width, height)
                paint_frames(context)
                self._edge_layer().paint(context)
            self._cache = _Cache(key, pixmap)
        return self._cache.pixmap

    def _light_edges(self, context: PaintContext, overlay: Overlay) -> None:
        """Edges into and out of the hovered box, and of a few selected ones, in their colours."""
        context.painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        whole, _ = self._model.selected_boxes()
        boxes = set(whole.tolist()) if len(whole) <= _MOST_LIT else set[int]()
        hovered = self._model.box_of(overlay.hovered) if overlay.hovered else None
        if hovered is not None:
            boxes.add(hovered)
        if boxes:
            into, out_of = self._model.stretches_of(boxes)
            self._edge_layer().paint_highlight(context, into, self.theme.edge_in)
            self._edge_layer().paint_highlight(context, out_of, self.theme.edge_out)

    def _edge_layer(self) -> EdgeLayer:
        if self._edges is None:
            self._edges = EdgeLayer(self._model.layout)
        return self._edges

    def _region_layer(self) -> RegionLayer:
        if self._regions is None:
            self._regions = RegionLayer(self._model)
        return self._regions

    def _draft_layer(self, draft: RegionDraft | None) -> DraftLayer | None:
        if draft is None:
            return None
        if self._draft is None or self._draft[0] is not draft:
            self._draft = (draft, DraftLayer(self._model, draft))
        return self._draft[1]

    def _box_layer(self) -> BoxLayer:
        if self._boxes is None:
            if self._badges is None:
                self._badges = badges_of(self._model)
            if self._palette is None or not self._palette.suits(self._model.scale):
                self._palette = BoxPalette(self.theme, self._model.scale)
            self._boxes = BoxLayer(self._palette, self._model, self._badges)
        return self._boxes

    def paint_overview(self, painter: QPainter, width: int, height: int, camera: Camera) -> None:
        """Frames and boxes only, for the minimap."""
        context = self._context(painter, camera, width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        paint_frames(context)
        self._box_layer().paint(context)
