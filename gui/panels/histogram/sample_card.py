"""The sample that a panel is about: its picture, and what both models make of it."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from engine.reports_distribution import Picture, SampleView
from gui.panels.histogram.model import sample_lines
from gui.panels.parts import set_role

WIDTH = 190
_BYTES_A_PIXEL = 3


class SampleCard(QWidget):
    """A column with picture and lines; it has no picture where no input of the model is one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.picture, self.lines = PictureView(), QLabel()
        self.lines.setWordWrap(True)
        self.lines.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.lines.setAlignment(Qt.AlignmentFlag.AlignTop)
        set_role(self.lines, "muted")
        self.setFixedWidth(WIDTH)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 0, 0, 6)
        layout.setSpacing(4)
        layout.addWidget(self.lines)
        layout.addWidget(self.picture, 1)

    def show_view(self, view: SampleView | None) -> None:
        """Show a sample; None hides the card."""
        self.setVisible(view is not None)
        if view is not None:
            self.lines.setText("\n".join(sample_lines(view)))
            self.picture.show_picture(view.picture)


class PictureView(QWidget):
    """A picture as large as there is room, its pixels square and sharp."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.image = QImage()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Input picture of the sample")

    def show_picture(self, picture: Picture | None) -> None:
        self.image = QImage() if picture is None else _image(picture)
        self.setVisible(picture is not None)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(WIDTH, WIDTH)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, 0)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self.image.isNull():
            return
        ratio = self.devicePixelRatioF()
        room = self.size() * ratio
        size = self.image.size().scaled(room, Qt.AspectRatioMode.KeepAspectRatio)
        is_larger = size.width() > self.image.width()
        how = Qt.TransformationMode.FastTransformation if is_larger else Qt.TransformationMode.SmoothTransformation
        shown = self.image.scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, how)
        with QPainter(self) as painter:
            painter.drawImage(QRectF(0.0, 0.0, size.width() / ratio, size.height() / ratio), shown)


def _image(picture: Picture) -> QImage:
    """A copy of the pixels as Qt has them."""
    stride = picture.width * _BYTES_A_PIXEL
    return QImage(picture.pixels, picture.width, picture.height, stride, QImage.Format.Format_RGB888).copy()
