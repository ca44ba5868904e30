"""Mouse gestures as objects: one is made at a press, follows the moves and ends at the release.

A gesture knows nothing of the canvas but the few verbs of `GestureTarget`; which one a press begins is a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from PySide6.QtCore import QPointF, QRectF, Qt

# A press that moves less than this is a click.
CLICK_PIXELS = 4.0


class GestureTarget(Protocol):
    """What gestures may do to a canvas. Positions are in the widget's pixels."""

    def panBy(self, dx: float, dy: float) -> None:
        """Move the content."""
        ...

    def zoomToArea(self, area: QRectF) -> None:
        """Fill the window with an area."""
        ...

    def selectArea(self, area: QRectF, add: bool) -> None:
        """Select the boxes an area touches."""
        ...

    def previewArea(self, area: QRectF, add: bool) -> None:
        """Say what an area touches while it is dragged."""
        ...

    def drawLasso(self, position: QPointF) -> None:
        """Begin a line by hand, or draw it on to a position, and say what it takes."""
        ...

    def selectLasso(self) -> None:
        """Select what the line takes."""
        ...

    def endPreview(self) -> None:
        """The drag is given up: nothing is touched."""
        ...

    def clickAt(self, position: QPointF, toggle: bool) -> None:
        """Select, or toggle, what is under the pointer."""
        ...

    def setBand(self, band: QRectF | None) -> None:
        """Show a rubber band."""
        ...


class Gesture:
    """Between a press and its release. Subclasses act in `dragged`, `dropped` and `clicked`."""

    cursor = Qt.CursorShape.ArrowCursor

    def __init__(self, target: GestureTarget, start: QPointF) -> None:
        self.target = target
        self.start = start
        self.last = start
        self.is_drag = False

    def move(self, position: QPointF) -> None:
        """The pointer moved with the button down."""
        if not self.is_drag and (position - self.start).manhattanLength() < CLICK_PIXELS:
            return
        self.is_drag = True
        self.dragged(position)
        self.last = position

    def finish(self, position: QPointF) -> None:
        """The button was released."""
        self.target.setBand(None)
        if self.is_drag:
            self.dropped(position)
        else:
            self.clicked(position)

    def cancel(self) -> None:
        """Given up with Escape: nothing is selected or magnified."""
        self.target.setBand(None)

    def dragged(self, position: QPointF) -> None:
        """Each move of a drag; `last` is the position before."""

    def dropped(self, position: QPointF) -> None:
        """The end of a drag."""

    def clicked(self, position: QPointF) -> None:
        """A press without a drag."""

    def band(self, position: QPointF) -> QRectF:
        """The rectangle between the press and a position."""
        return QRectF(self.start, position).normalized()


class Pan(Gesture):
    """Drag the content; a click selects."""

    cursor = Qt.CursorShape.ClosedHandCursor

    def dragged(self, position: QPointF) -> None:
        step = position - self.last
        self.target.panBy(step.x(), step.y())

    def clicked(self, position: QPointF) -> None:
        self.target.clickAt(position, toggle=False)


class PanOnly(Pan):
    """The middle button: drag the content; a click does nothing."""

    def clicked(self, position: QPointF) -> None:
        return


class ZoomArea(Gesture):
    """Drag a rectangle to fill the window with it; a click selects."""

    cursor = Qt.CursorShape.CrossCursor

    def dragged(self, position: QPointF) -> None:
        self.target.setBand(self.band(position))

    def dropped(self, position: QPointF) -> None:
        self.target.zoomToArea(self.band(position))

    def clicked(self, position: QPointF) -> None:
        self.target.clickAt(position, toggle=False)


class BoxSelect(Gesture):
    """Drag a rectangle to select what it touches; a click toggles."""

    cursor = Qt.CursorShape.CrossCursor
    adds = False

    def dragged(self, position: QPointF) -> None:
        self.target.setBand(self.band(position))
        self.target.previewArea(self.band(position), add=self.adds)

    def dropped(self, position: QPointF) -> None:
        self.target.selectArea(self.band(position), add=self.adds)

    def clicked(self, position: QPointF) -> None:
        self.target.clickAt(position, toggle=True)

    def cancel(self) -> None:
        super().cancel()
        self.target.endPreview()


class BoxAdd(BoxSelect):
    """As `BoxSelect`, and what was selected stays so."""

    adds = True


class LassoSelect(Gesture):
    """Draw a line around boxes, or along them, to select them; a click toggles."""

    cursor = Qt.CursorShape.CrossCursor

    def dragged(self, position: QPointF) -> None:
        if self.last is self.start:
            self.target.drawLasso(self.start)
        self.target.drawLasso(position)

    def dropped(self, position: QPointF) -> None:
        self.target.drawLasso(position)
        self.target.selectLasso()

    def clicked(self, position: QPointF) -> None:
        self.target.clickAt(position, toggle=True)

    def cancel(self) -> None:
        super().cancel()
        self.target.endPreview()


_Modifier = Qt.KeyboardModifier
_Button = Qt.MouseButton

#: Which gesture a press begins.
GESTURES: Mapping[tuple[Qt.MouseButton, Qt.KeyboardModifier], Callable[[GestureTarget, QPointF], Gesture]] = (
    MappingProxyType(
        {
            (_Button.LeftButton, _Modifier.NoModifier): Pan,
            (_Button.LeftButton, _Modifier.ControlModifier): ZoomArea,
            (_Button.LeftButton, _Modifier.ShiftModifier): BoxSelect,
            (_Button.LeftButton, _Modifier.ShiftModifier | _Modifier.ControlModifier): BoxAdd,
            (_Button.LeftButton, _Modifier.ShiftModifier | _Modifier.AltModifier): LassoSelect,
            (_Button.MiddleButton, _Modifier.NoModifier): PanOnly,
        }
    )
)


def begin(
    target: GestureTarget, button: Qt.MouseButton, modifiers: Qt.KeyboardModifier, position: QPointF
) -> Gesture | None:
    """The gesture that a press begins, None where it begins none."""
    plain = modifiers & (_Modifier.ShiftModifier | _Modifier.ControlModifier)
    make = GESTURES.get((button, plain | (modifiers & _Modifier.AltModifier))) or GESTURES.get((button, plain))
    return make(target, position) if make else None
