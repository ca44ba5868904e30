"""What every layer paints with: the painter, the camera, the theme's colours and elided text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QStaticText

from gui.canvas.camera import Camera
from gui.canvas.model import CanvasModel
from gui.theme import Theme

_MOST_TEXTS = 20_000


@dataclass(frozen=True)
class Face:
    """A font at a size in pixels with its metrics."""

    font: QFont
    metrics: QFontMetricsF

    @property
    def height(self) -> float:
        return float(self.metrics.height())


class Texts:
    """Elided texts, laid out once per width. Owned by one canvas."""

    def __init__(self, family: str) -> None:
        self._family = family
        self._faces: dict[tuple[int, bool], Face] = {}
        self._widths: dict[tuple[str, int, bool], float] = {}
        self._texts: dict[tuple[str, int, int, bool, int], tuple[QStaticText, float]] = {}

    def face(self, pixels: float, bold: bool = False) -> Face:
        """The font at a size, rounded to whole pixels, at least 6."""
        key = (max(6, round(pixels)), bold)
        if key not in self._faces:
            font = QFont(self._family)
            font.setPixelSize(key[0])
            font.setBold(bold)
            self._faces[key] = Face(font, QFontMetricsF(font))
        return self._faces[key]

    def width(self, text: str, pixels: float, bold: bool = False) -> float:
        """How wide a text is in full."""
        face = self.face(pixels, bold)
        key = (text, face.font.pixelSize(), bold)
        if key not in self._widths:
            if len(self._widths) >= _MOST_TEXTS:
                self._widths.clear()
            self._widths[key] = float(face.metrics.horizontalAdvance(text))
        return self._widths[key]

    def fitting(self, text: str, width: float, pixels: float, least: float, bold: bool = False) -> float:
        """The largest size, from `pixels` down to `least` in whole steps, at which a text fits; `least` if none."""
        size = round(pixels)
        while size > least and self.width(text, size, bold) > width:
            size -= 1
        return float(size)

    def draw(
        self,
        painter: QPainter,
        text: str,
        rectangle: tuple[float, float, float, float],
        pixels: float,
        bold: bool = False,
        align: float = 0.0,
        elide: Qt.TextElideMode = Qt.TextElideMode.ElideMiddle,
    ) -> float:
        """Draw one line, vertically centred in x, y, width, height, elided to its width; returns the width used.

        `align`: 0 is left, 0.5 centred, 1 right. The colour is the painter's pen.
        """
        x, y, width, height = rectangle
        if not text or width < 4:
            return 0.0
        face = self.face(pixels, bold)
        static, used = self._static(text, face, int(width), bold, elide)
        painter.setFont(face.font)
        painter.drawStaticText(QPointF(x + (width - used) * align, y + (height - face.height) / 2), static)
        return used

    def _static(
        self, text: str, face: Face, width: int, bold: bool, elide: Qt.TextElideMode
    ) -> tuple[QStaticText, float]:
        key = (text, width, face.font.pixelSize(), bold, elide.value)
        if key not in self._texts:
            if len(self._texts) >= _MOST_TEXTS:
                self._texts.clear()
            shown = face.metrics.elidedText(text, elide, float(width))
            static = QStaticText(shown)
            static.setTextFormat(Qt.TextFormat.PlainText)
            static.setPerformanceHint(QStaticText.PerformanceHint.AggressiveCaching)
            self._texts[key] = (static, float(face.metrics.horizontalAdvance(shown)))
        return self._texts[key]


@dataclass(frozen=True)
class PaintContext:
    """One paint: the painter works in the window's pixels, `width` × `height`."""

    painter: QPainter
    camera: Camera
    width: float
    height: float
    model: CanvasModel
    theme: Theme
    texts: Texts

    def visible(self, boxes: NDArray[np.float64], margin: float = 0.0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Indices of the `[n, 4]` scene rectangles inside the window, and those rectangles in pixels."""
        shown = self.camera.rectangles(boxes)
        inside = (shown[:, 0] < self.width + margin) & (shown[:, 0] + shown[:, 2] > -margin)
        inside &= (shown[:, 1] < self.height + margin) & (shown[:, 1] + shown[:, 3] > -margin)
        found = np.flatnonzero(inside)
        return found, shown[found]


def colour(text: str, alpha: float = 1.0) -> QColor:
    """A theme's colour, with an opacity of 0 … 1."""
    made = QColor(text)
    made.setAlphaF(alpha)
    return made
