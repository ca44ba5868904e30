"""The small widgets over a canvas, kept in place and up to date: legend, minimap and hover card."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QPoint, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QPainter, QPixmap
from PySide6.QtWidgets import QWidget

from gui.canvas.camera import Camera
from gui.canvas.model import CanvasModel
from gui.canvas.overlays import Caption, HoverCard, Legend, Minimap
from gui.canvas.renderer import Renderer
from gui.canvas.scene import PRECISIONS
from gui.theme import Theme

_EDGE = 10
_CARD_DELAY_MS = 350
_MINIMAP = QSize(210, 150)


class Furniture(QObject):
    """Legend at the lower left, minimap at the lower right while not all is in sight, and a card at the pointer."""

    goTo = Signal(float, float)

    def __init__(self, canvas: QWidget, model: CanvasModel, theme: Theme) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._model = model
        self._legend = Legend(canvas, theme)
        self._minimap = Minimap(canvas, theme)
        self._minimap.goTo.connect(self.goTo)
        self._card = HoverCard(canvas, theme)
        self._card_text: Callable[[], str] = str
        self._pointer: Callable[[], QPoint] = QPoint
        self._timer = QTimer(self, interval=_CARD_DELAY_MS, singleShot=True)
        self._timer.timeout.connect(lambda: self._card.showText(self._card_text(), self._pointer()))
        self._caption = Caption(canvas, theme)
        self._legend.hide()
        self._minimap.hide()

    def set_theme(self, theme: Theme) -> None:
        """Paint in other colours."""
        for part in (self._legend, self._minimap, self._card, self._caption):
            part.setTheme(theme)

    def set_caption(self, text: str, is_warning: bool) -> None:
        """Say what the graph is; "" says nothing."""
        self._caption.say(text, is_warning)
        self._caption.place(self._canvas.width())

    def refresh_legend(self) -> None:
        """The scale or the precisions in use changed."""
        used = {decoration.effective for decoration in self._model.decorations.values()}
        self._legend.setContent(self._model.scale, [name for name in PRECISIONS if name in used])
        self._legend.move(_EDGE, self._canvas.height() - self._legend.height() - _EDGE)

    def refresh_minimap(self, renderer: Renderer) -> None:
        """Layout or colours changed."""
        layout = self._model.layout
        if not layout.items:
            return
        scale = min(_MINIMAP.width() / max(layout.width, 1.0), _MINIMAP.height() / max(layout.height, 1.0))
        size = QSize(max(24, round(layout.width * scale)), max(24, round(layout.height * scale)))
        self._minimap.resize(size)
        self._minimap.setPicture(lambda: self._overview(renderer, size, scale))

    def _overview(self, renderer: Renderer, size: QSize, scale: float) -> QPixmap:
        ratio = self._canvas.devicePixelRatioF()
        picture = QPixmap(size * ratio)
        picture.setDevicePixelRatio(ratio)
        picture.fill(Qt.GlobalColor.transparent)
        with QPainter(picture) as painter:
            renderer.paint_overview(painter, size.width(), size.height(), Camera(scale, 0.0, 0.0))
        return picture

    def place(self, camera: Camera) -> None:
        """The view or the window's size changed."""
        width, height = self._canvas.width(), self._canvas.height()
        self._caption.place(width)
        self._legend.move(_EDGE, height - self._legend.height() - _EDGE)
        self._minimap.move(width - self._minimap.width() - _EDGE, height - self._minimap.height() - _EDGE)
        layout = self._model.layout
        left, top = camera.scene_point(0.0, 0.0)
        right, bottom = camera.scene_point(width, height)
        shows_all = left <= 0 and top <= 0 and right >= layout.width and bottom >= layout.height
        has_room = width > 3 * _MINIMAP.width() and height > 2 * _MINIMAP.height()
        self._minimap.setVisible(bool(layout.items) and not shows_all and has_room)
        whole_x, whole_y = max(layout.width, 1.0), max(layout.height, 1.0)
        view = QRectF(left / whole_x, top / whole_y, (right - left) / whole_x, (bottom - top) / whole_y)
        self._minimap.setView(view)

    def point_at(self, item_id: str, text: Callable[[], str], pointer: Callable[[], QPoint]) -> None:
        """The pointer is over another item ("": none): its value on the legend at once, its card after a moment."""
        self.hide_card()
        self._card_text, self._pointer = text, pointer
        if item_id:
            self._timer.start()
        box = self._model.box_of(item_id) if item_id else None
        self._legend.setValue(float(self._model.heat().value[box]) if box is not None else float("nan"))

    def hide_card(self) -> None:
        """No card now, and none on its way."""
        self._timer.stop()
        self._card.hide()
