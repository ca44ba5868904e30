"""One call into Qt for thousands of shapes: numpy buffers handed over in Qt's own memory layout.

Qt takes a pointer to the first shape and a count; the stubs know neither the pointer nor that form of the calls,
hence the casts.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import shiboken6
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QRectF
from PySide6.QtGui import QColor, QImage, QPaintEngine, QPainter, QPixmap

_FRAGMENT_NUMBERS = 10


def draw_lines(painter: QPainter, lines: NDArray[np.float64]) -> None:
    """Draw `[n, 4]` lines x1, y1, x2, y2 with the painter's pen."""
    if len(lines):
        buffer = np.ascontiguousarray(lines, dtype=np.float64)
        first = shiboken6.wrapInstance(buffer.ctypes.data, QLineF)
        painter.drawLines(cast(Any, first), len(buffer))


def draw_rects(painter: QPainter, rectangles: NDArray[np.float64]) -> None:
    """Draw `[n, 4]` rectangles x, y, width, height with the painter's pen and brush."""
    if len(rectangles):
        buffer = np.ascontiguousarray(rectangles, dtype=np.float64)
        first = shiboken6.wrapInstance(buffer.ctypes.data, QRectF)
        painter.drawRects(cast(Any, first), len(buffer))


def is_raster(painter: QPainter) -> bool:
    """Whether the painter fills pixels, rather than recording shapes (SVG, PDF), where pixmaps are no gain."""
    return painter.paintEngine().type() is QPaintEngine.Type.Raster


class ColourAtlas:
    """A pixmap with one square per colour, from which rectangles of any colour are drawn in one call."""

    _CELL = 4

    def __init__(self, colours: list[str]) -> None:
        self._colours = [QColor(colour) for colour in colours]
        image = QImage(self._CELL * len(colours), self._CELL, QImage.Format.Format_ARGB32_Premultiplied)
        with QPainter(image) as painter:
            for i, colour in enumerate(self._colours):
                painter.fillRect(i * self._CELL, 0, self._CELL, self._CELL, colour)
        self._pixmap = QPixmap.fromImage(image)

    def draw(self, painter: QPainter, rectangles: NDArray[np.float64], colours: NDArray[np.int64]) -> None:
        """Fill `[n, 4]` rectangles (x, y, width, height), each in the atlas colour `colours[n]`."""
        if not is_raster(painter):
            for (x, y, width, height), index in zip(rectangles.tolist(), colours.tolist(), strict=True):
                painter.fillRect(QRectF(x, y, width, height), self._colours[index])
            return
        if not len(rectangles):
            return
        inner = self._CELL - 2
        fragments = np.zeros((len(rectangles), _FRAGMENT_NUMBERS))
        fragments[:, 0:2] = rectangles[:, 0:2] + rectangles[:, 2:4] / 2
        fragments[:, 2] = colours * self._CELL + 1
        fragments[:, 3] = 1
        fragments[:, 4:6] = inner
        fragments[:, 6:8] = rectangles[:, 2:4] / inner
        fragments[:, 9] = 1
        first = shiboken6.wrapInstance(fragments.ctypes.data, QPainter.PixmapFragment)
        painter.drawPixmapFragments(cast(Any, first), len(fragments), self._pixmap)


def draw_stamps(painter: QPainter, stamp: QPixmap, centres: NDArray[np.float64]) -> None:
    """Draw a pixmap centred at each of `[n, 2]` points."""
    if not len(centres):
        return
    ratio = stamp.devicePixelRatio()
    fragments = np.zeros((len(centres), _FRAGMENT_NUMBERS))
    fragments[:, 0:2] = centres
    fragments[:, 4], fragments[:, 5] = stamp.width(), stamp.height()
    fragments[:, 6:8] = 1 / ratio
    fragments[:, 9] = 1
    first = shiboken6.wrapInstance(fragments.ctypes.data, QPainter.PixmapFragment)
    painter.drawPixmapFragments(cast(Any, first), len(fragments), stamp)
