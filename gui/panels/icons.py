"""Icons drawn for this window, in the theme's colour: ``resources/icons/*.svg`` with ``currentColor``
strokes.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QIcon, QPainter, QPen, QPixmap
from PySide6.QtSvg import QSvgRenderer

from gui.panels.style import mixed
from gui.theme import Theme

SIZE = 18
BADGE_WIDTH = 30
BADGE_TEXT = 10
SCALES = (1, 2)


@lru_cache(maxsize=128)
def _source(name: str) -> str:
    return files("resources").joinpath("icons", f"{name}.svg").read_text(encoding="utf-8")


def icon(name: str, theme: Theme) -> QIcon:
    """An icon by file name without suffix, sharp on any screen; an empty one for ""."""
    result = QIcon()
    if not name:
        return result
    colours = {
        (QIcon.Mode.Normal, QIcon.State.Off): theme.text,
        (QIcon.Mode.Normal, QIcon.State.On): theme.accent_text,
        (QIcon.Mode.Disabled, QIcon.State.Off): mixed(theme.muted_text, theme.window, 0.5),
    }
    for (mode, state), colour in colours.items():
        for scale in SCALES:
            result.addPixmap(_pixmap(name, colour, SIZE, scale), mode, state)
    return result


def badge(text: str, colour: str) -> QIcon:
    """A precision as the graph's badges show it: short text in a frame of its colour."""
    result = QIcon()
    for mode, alpha in ((QIcon.Mode.Normal, 255), (QIcon.Mode.Disabled, 90)):
        for scale in SCALES:
            result.addPixmap(_badge_pixmap(text, colour, alpha, scale), mode)
    return result


def _badge_pixmap(text: str, colour: str, alpha: int, scale: int) -> QPixmap:
    picture = QPixmap(BADGE_WIDTH * scale, SIZE * scale)
    picture.fill(Qt.GlobalColor.transparent)
    shade = QColor(colour)
    shade.setAlpha(alpha)
    font = QFont()
    font.setPixelSize(BADGE_TEXT * scale)
    font.setBold(True)
    with QPainter(picture) as painter:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(font)
        painter.setPen(QPen(shade, 1.5 * scale))
        frame = QRectF(0, 0, BADGE_WIDTH * scale, SIZE * scale).adjusted(scale, scale, -scale, -scale)
        painter.drawRoundedRect(frame, 4 * scale, 4 * scale)
        painter.drawText(frame, Qt.AlignmentFlag.AlignCenter, text)
    picture.setDevicePixelRatio(scale)
    return picture


def pixmap(name: str, colour: str, size: int = SIZE, scale: int = 2) -> QPixmap:
    """An icon as a picture of ``size`` pixels for labels."""
    return _pixmap(name, colour, size, scale)


def _pixmap(name: str, colour: str, size: int, scale: int) -> QPixmap:
    renderer = QSvgRenderer(QByteArray(_source(name).replace("currentColor", colour).encode()))
    picture = QPixmap(size * scale, size * scale)
    picture.fill(Qt.GlobalColor.transparent)
    with QPainter(picture) as painter:
        renderer.render(painter, QRectF(0, 0, size * scale, size * scale))
    picture.setDevicePixelRatio(scale)
    return picture
