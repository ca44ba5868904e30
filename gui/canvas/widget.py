"""The graph canvas: shows a scene, reports what is pointed at and selected. Painting and data live elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QCursor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from gui.canvas.camera import Camera
from gui.canvas.describe import describe
from gui.canvas.draft import RegionDraft
from gui.canvas.draft_card import VerdictCard
from gui.canvas.folding import Viewport
from gui.canvas.furniture import Furniture
from gui.canvas.gestures import Gesture, begin
from gui.canvas.heat import worst_first
from gui.canvas.lasso import Lasso
from gui.canvas.model import CanvasModel, ViewState
from gui.canvas.overlays import Legend
from gui.canvas.renderer import Overlay, Renderer
from gui.canvas.scene import Decoration, HeatScale, Scene, SceneRegion
from gui.theme import LIGHT, Theme

_MARGIN = 22.0
_WHEEL_STEP = 1.0015
_FLASH_STEP_MS = 30
_FLASH_STEPS = 36
_REVEAL_ZOOM = 0.9
# The graph is folded anew when the window's proportions change by more than this.
_REFOLD = 1.15


@dataclass(frozen=True)
class CanvasSettings:
    """What a user may set. `wheel_zooms`: the plain wheel zooms; otherwise it scrolls and Ctrl+wheel zooms."""

    wheel_zooms: bool = True
    most_first_boxes: int = 60


class GraphCanvas(QWidget):
    """A graph with its modules as groups, painted in batches.

    Ids are those of the scene's nodes, and of groups: their modules joined by "/". The selection holds nodes only;
    selecting a group selects every operator in it.

    Gestures: drag pans, wheel and Ctrl+wheel zoom, Ctrl+drag zooms to an area, Shift+drag selects an area (with Ctrl
    adds to the selection), Shift+Alt+drag selects what a line drawn by hand takes, click selects, Shift+click toggles,
    double-click opens or closes a group, Space fits.

    While an area or a line is dragged, `areaDragged` tells the nodes that it takes each time they change; then comes
    `areaDropped` (they are selected now) or `areaCancelled`. `nearestChosen`: the tab of a draft's nearest legal region
    was clicked; `draftChosen`: a button of its card, by its id. `regionClicked` and `regionActivated`: a region's tab
    was clicked, or double-clicked. `escaped`: Escape with nothing being dragged.
    """

    selectionChanged = Signal(list)
    hovered = Signal(str)
    contextMenuRequested = Signal(list, QPoint)
    nodeActivated = Signal(str)
    expandedChanged = Signal()
    areaDragged = Signal(list)
    areaDropped = Signal()
    areaCancelled = Signal()
    nearestChosen = Signal()
    draftChosen = Signal(str)
    regionClicked = Signal(str)
    regionActivated = Signal(str)
    escaped = Signal()

    def __init__(self, parent: QWidget | None = None, theme: Theme = LIGHT) -> None:
        super().__init__(parent)
        self.settings = CanvasSettings()
        self._model = CanvasModel()
        self._renderer = Renderer(self._model, theme)
        self._camera = Camera()
        self._overlay = Overlay()
        self._gesture: Gesture | None = None
        self._lasso: Lasso | None = None
        self._is_fitted = True
        self._folded_for = Viewport()
        self._card_text: Callable[[str], str] = self.describe
        self._furniture = Furniture(self, self._model, theme)
        self._furniture.goTo.connect(self._go_to_share)
        self._pointer = QPointF()
        self._card_point = (0.0, 0.0)
        self._verdict_card = VerdictCard(self, theme)
        self._verdict_card.chosen.connect(self.draftChosen)
        self._flash_timer = QTimer(self, interval=_FLASH_STEP_MS)
        self._flash_timer.timeout.connect(self._step_flash)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName("Graph")

    # -- content -----------------------------------------------------------------------------------------------
    def setScene(self, scene: Scene) -> None:
        """Show another graph: first levels open, fitted, nothing selected, no heat and no decorations."""
        had_selection = bool(self._model.is_selected.any())
        self._model.decorations = {}
        self._model.regions = ()
        self._model.set_heat({}, None)
        self._model.set_scene(scene, self.settings.most_first_boxes)
        self._overlay = Overlay()
        self._gesture = self._lasso = None
        self._verdict_card.hide()
        self._lay_out()
        self.fit()
        self._furniture.refresh_legend()
        if had_selection:
            self.selectionChanged.emit([])
        self.expandedChanged.emit()

    def scene(self) -> Scene:
        """The graph that shows."""
        return self._model.scene

    def setDecorations(self, decorations: Mapping[str, Decoration]) -> None:
        """Precisions and fusion by node id. Nothing moves."""
        self._model.decorations = dict(decorations)
        self._renderer.decorations_changed()
        self._looks_changed()

    def setRegions(self, regions: Sequence[SceneRegion]) -> None:
        """Nodes that run as one kernel, drawn as hulls behind their boxes. Nothing moves."""
        if tuple(regions) != self._model.regions:
            self._model.regions = tuple(regions)
            self._renderer.regions_changed()
            self.update()

    def setDraft(self, draft: RegionDraft | None) -> None:
        """A fusion region that might be, with what stands in its way and a card at the pointer; none: none. Nothing
        moves.
        """
        if draft is not None and self._overlay.draft is None:
            self._card_point = self._camera.scene_point(self._pointer.x(), self._pointer.y())
        if draft != self._overlay.draft:
            self._overlay.draft = draft
            self._verdict_card.showDraft(draft, self._card_position())
            self.update()

    def _card_position(self) -> QPoint:
        """At the pointer while it drags, and from then on where it was on the graph."""
        return QPointF(*self._camera.point(*self._card_point)).toPoint()

    def setHeat(
        self, values: Mapping[str, float], scale: HeatScale | None, weights: Mapping[str, float] | None = None
    ) -> None:
        """A number per node id, painted as its fill; NaN and missing nodes stay blank. ``weights`` say how much each
        node counts where the scale has categories. Nothing moves.
        """
        self._model.set_heat(values, scale, weights)
        self._renderer.heat_changed()
        self._looks_changed()

    def setCaption(self, text: str, is_warning: bool = False) -> None:
        """A line above the graph that says what it is; "" for none."""
        self._furniture.set_caption(text, is_warning)

    def setTheme(self, theme: Theme) -> None:
        """Paint in other colours."""
        self._renderer.set_theme(theme)
        self._furniture.set_theme(theme)
        self._verdict_card.setTheme(theme)
        self._furniture.refresh_minimap(self._renderer)
        self.update()

    def setCardText(self, text: Callable[[str], str]) -> None:
        """What the hover card says about an id: plain text or simple HTML, "" for no card."""
        self._card_text = text

    def describe(self, item_id: str) -> str:
        """The hover card's text unless `setCardText` gave another: what the scene itself knows."""
        return describe(self._model, item_id)

    def _looks_changed(self) -> None:
        self._furniture.refresh_legend()
        self._furniture.refresh_minimap(self._renderer)
        self.update()

    # -- selection ---------------------------------------------------------------------------------------------
    def selection(self) -> list[str]:
        """Ids of the selected nodes, in the scene's order."""
        return self._model.selected_ids()

    def setSelection(self, ids: Iterable[str]) -> None:
        """Select nodes; a group's id selects all in it. Emits `selectionChanged` if that changes anything."""
        self._select(self._model.select(self._model.indices(ids)))

    def _select(self, is_changed: bool) -> None:
        if is_changed:
            self.update()
            self.selectionChanged.emit(self.selection())

    def worstNodes(self, most: int) -> list[str]:
        """Ids of the nodes with the worst heat, worst first: what "next worst" steps through."""
        return [self._model.scene.nodes[node].id for node in worst_first(self._model.ranks, most)]

    # -- groups ------------------------------------------------------------------------------------------------
    def collapse(self, group: str) -> None:
        """Close a group; unknown ids are ignored."""
        self._set_open(group, False)

    def expand(self, group: str) -> None:
        """Open a group; unknown ids are ignored."""
        self._set_open(group, True)

    def toggle(self, group: str) -> None:
        """Open a closed group, close an open one."""
        index = self._model.group(group)
        if index is not None:
            self._set_open(group, index not in self._model.expanded)

    def _set_open(self, group: str, is_open: bool) -> None:
        index = self._model.group(group)
        if index is None or not self._model.set_expanded(index, is_open):
            return
        before = self._model.rectangle_of(group)
        self._lay_out(keep_shape=True)
        after = self._model.rectangle_of(group)
        if before and after:
            # The group's upper left corner stays where it was: the eye keeps its place.
            zoom = self._camera.zoom
            self._set_camera(self._camera.moved((before[0] - after[0]) * zoom, (before[1] - after[1]) * zoom))
        self.expandedChanged.emit()

    def expandAll(self) -> None:
        """Open every group and fit."""
        self._set_all_open(True)

    def collapseAll(self) -> None:
        """Close every group and fit."""
        self._set_all_open(False)

    def _set_all_open(self, is_open: bool) -> None:
        self._model.expand_all(is_open)
        self._lay_out()
        self.fit()
        self.expandedChanged.emit()

    def visibleBoxes(self) -> list[str]:
        """Ids of the boxes that show: nodes, and closed groups."""
        return [self._model.item_id(item) for item in self._model.layout.items]

    def expandedGroups(self) -> list[str]:
        """Ids of the open groups."""
        return list(self._model.expanded_ids())

    # -- view --------------------------------------------------------------------------------------------------
    def fit(self) -> None:
        """Show the whole graph, folded to the window's proportions."""
        if self._needs_refold():
            self._lay_out()
        layout = self._model.layout
        self._set_camera(Camera.fitting((0.0, 0.0, layout.width, layout.height), self._room()))
        self._is_fitted = True

    def reveal(self, item_id: str) -> None:
        """Open what is around a node or group, bring it to the middle and let it flash."""
        if self._model.open_around(item_id):
            self._lay_out(keep_shape=True)
            self.expandedChanged.emit()
        rectangle = self._model.rectangle_of(item_id)
        if rectangle is None:
            return
        x, y, width, height = rectangle
        zoom = max(self._camera.zoom, min(_REVEAL_ZOOM, self.width() / width, self.height() / height))
        self._set_camera(
            Camera(zoom, self.width() / 2 - (x + width / 2) * zoom, self.height() / 2 - (y + height / 2) * zoom)
        )
        self._overlay.flash, self._overlay.flash_strength = item_id, 1.0
        self._flash_timer.start()

    @property
    def isFitted(self) -> bool:
        """Whether the whole graph shows, and will when the window changes."""
        return self._is_fitted

    def isInSight(self, item_id: str) -> bool:
        """Whether the box in which a node or group shows is inside the window."""
        rectangle = self._model.rectangle_of(item_id)
        if rectangle is None:
            return False
        left, top = self._camera.point(rectangle[0], rectangle[1])
        right, bottom = self._camera.point(rectangle[0] + rectangle[2], rectangle[1] + rectangle[3])
        return left >= 0 and top >= 0 and right <= self.width() and bottom <= self.height()

    def nodeCenter(self, item_id: str) -> QPointF:
        """The middle, in the widget's pixels, of the box in which a node or group shows; of an open group its title.

        Raises:
            KeyError: the scene has neither a node nor a group of this id.
        """
        rectangle = self._model.rectangle_of(item_id)
        if rectangle is None:
            raise KeyError(item_id)
        x, y, width, height = rectangle
        if self._model.box_of(item_id) is None:
            left, top = self._camera.point(x, y)
            return QPointF(left + 16.0, top + 8.0)
        return QPointF(*self._camera.point(x + width / 2, y + height / 2))

    def viewState(self) -> ViewState:
        """Magnification, middle and open groups, for the window to restore."""
        x, y = self._camera.scene_point(self.width() / 2, self.height() / 2)
        anchor, left, top = self._model.anchor_near(x, y)
        return ViewState(self._camera.zoom, x - left, y - top, self._model.expanded_ids(), anchor)

    def setViewState(self, state: ViewState) -> None:
        """Restore a view; groups that no longer exist are skipped."""
        groups = (self._model.group(name) for name in state.expanded)
        self._model.expanded = frozenset(g for g in groups if g is not None)
        self._lay_out()
        left, top, *_ = self._model.rectangle_of(state.anchor) or (0.0, 0.0)
        zoom, x, y = state.zoom, state.centre_x + left, state.centre_y + top
        self._set_camera(Camera(zoom, self.width() / 2 - x * zoom, self.height() / 2 - y * zoom))
        self.expandedChanged.emit()

    def zoomBy(self, factor: float, position: QPointF | None = None) -> None:
        """Magnify about a position in the widget (its middle if None)."""
        at = position or QPointF(self.width() / 2, self.height() / 2)
        self._set_camera(self._camera.zoomed(factor, at.x(), at.y()))

    def paintTo(self, painter: QPainter, width: int, height: int) -> None:
        """Paint the whole graph into `width` × `height` pixels of any device, for pictures and print."""
        layout = self._model.layout
        room = (_MARGIN, _MARGIN, width - 2 * _MARGIN, height - 2 * _MARGIN)
        camera = Camera.fitting((0.0, 0.0, layout.width, layout.height), room, most_zoom=4.0)
        self._renderer.paint_all(painter, camera, width, height)

    def sceneSize(self) -> QSize:
        """The whole graph's size at a magnification of 1."""
        return QSize(round(self._model.layout.width + 2 * _MARGIN), round(self._model.layout.height + 2 * _MARGIN))

    def sizeHint(self) -> QSize:
        return QSize(900, 640)

    def minimumSizeHint(self) -> QSize:
        return QSize(240, 180)

    def _viewport(self) -> Viewport:
        _, _, width, height = self._room()
        return Viewport(max(width, 100.0), max(height, 100.0))

    def _room(self) -> tuple[float, float, float, float]:
        """Where a fitted graph goes: the window without its margins and the legend's strip.

        The strip is kept free before there is a legend too, so that heat arriving moves nothing.
        """
        bottom = float(Legend.HEIGHT)
        return (_MARGIN, _MARGIN, self.width() - 2 * _MARGIN, self.height() - 2 * _MARGIN - bottom)

    def _needs_refold(self) -> bool:
        now, then = self._viewport(), self._folded_for
        ratio = (now.width / now.height) / (then.width / then.height)
        grown = now.width / then.width
        return not (1 / _REFOLD < ratio < _REFOLD and 1 / _REFOLD < grown < _REFOLD)

    def _lay_out(self, keep_shape: bool = False) -> None:
        self._folded_for = self._viewport()
        self._model.lay_out(self._folded_for, keep_shape)
        self._renderer.layout_changed()
        self._furniture.refresh_minimap(self._renderer)
        self.update()

    def _set_camera(self, camera: Camera) -> None:
        self._camera = camera
        self._is_fitted = False
        self._furniture.hide_card()
        self._furniture.place(camera)
        self._verdict_card.moveBeside(self._card_position())
        self.update()

    def _go_to_share(self, x: float, y: float) -> None:
        scene_x, scene_y = x * self._model.layout.width, y * self._model.layout.height
        at_x, at_y = self._camera.point(scene_x, scene_y)
        self._set_camera(self._camera.moved(self.width() / 2 - at_x, self.height() / 2 - at_y))

    def _step_flash(self) -> None:
        self._overlay.flash_strength -= 1.0 / _FLASH_STEPS
        if self._overlay.flash_strength <= 0:
            self._overlay.flash = ""
            self._flash_timer.stop()
        self.update()

    # -- what gestures do --------------------------------------------------------------------------------------
    def panBy(self, dx: float, dy: float) -> None:
        """Move the content by pixels."""
        self._set_camera(self._camera.moved(dx, dy))

    def zoomToArea(self, area: QRectF) -> None:
        """Fill the window with an area of it."""
        left, top = self._camera.scene_point(area.left(), area.top())
        right, bottom = self._camera.scene_point(area.right(), area.bottom())
        room = (0.0, 0.0, float(self.width()), float(self.height()))
        self._set_camera(Camera.fitting((left, top, right - left, bottom - top), room, most_zoom=4.0))

    def selectArea(self, area: QRectF, add: bool) -> None:
        """Select every operator of the boxes that an area of the window touches."""
        self._drop(self._model.nodes_in(self._boxes_in(area)), add)

    def previewArea(self, area: QRectF, add: bool) -> None:
        """Tell what an area of the window touches; `add`: besides what is selected."""
        self._touch(self._boxes_in(area), add)

    def drawLasso(self, position: QPointF) -> None:
        """Begin a line by hand at a position, or draw it on, and tell what it takes."""
        point = self._camera.scene_point(position.x(), position.y())
        if self._lasso is None:
            self._lasso = Lasso(self._model.layout.boxes, point)
        self._lasso.extend(point)
        self._overlay.lasso = self._lasso.points
        self._touch(self._lasso.taken(), add=False)

    def selectLasso(self) -> None:
        """Select every operator of the boxes that the line takes."""
        if self._lasso is not None:
            self._drop(self._model.nodes_in(self._lasso.taken()), add=False)

    def endPreview(self) -> None:
        """The drag is given up."""
        was_dragging = bool(self._overlay.touched or self._lasso)
        self._forget_drag()
        if was_dragging:
            self.areaCancelled.emit()

    def _boxes_in(self, area: QRectF) -> NDArray[np.int64]:
        left, top = self._camera.scene_point(area.left(), area.top())
        right, bottom = self._camera.scene_point(area.right(), area.bottom())
        return self._model.boxes_touching(left, top, right, bottom)

    def _touch(self, boxes: NDArray[np.int64], add: bool) -> None:
        touched = boxes.tolist()
        if touched != self._overlay.touched:
            self._overlay.touched = touched
            nodes = self._model.nodes_in(boxes)
            if add:
                nodes = np.union1d(nodes, np.flatnonzero(self._model.is_selected))
            self.areaDragged.emit([self._model.scene.nodes[node].id for node in nodes.tolist()])
        self.update()

    def _drop(self, nodes: NDArray[np.int64], add: bool) -> None:
        self._forget_drag()
        self._model.select(nodes, "add" if add else "replace")
        self._select(True)
        self.areaDropped.emit()

    def _forget_drag(self) -> None:
        self._overlay.touched, self._overlay.lasso, self._lasso = [], [], None
        self.update()

    def clickAt(self, position: QPointF, toggle: bool) -> None:
        """Select (or toggle) what is at a position; nothing there: select nothing."""
        if self._click_tab(position):
            return
        item = self.itemAt(position)
        nodes = self._model.indices([item] if item else [])
        if item or not toggle:
            self._model.select(nodes, "toggle" if toggle else "replace")
            self._select(True)  # also where it was selected: more may be behind a box than others have selected

    def regionAt(self, position: QPointF) -> str:
        """The fusion region whose tab is at a position; "" for none."""
        return self._renderer.region_at(self._camera, self.width(), self.height(), position.x(), position.y())

    def _click_tab(self, position: QPointF) -> bool:
        """Whether a tab is at the position, which then has been told."""
        view = (self._camera, self.width(), self.height(), position.x(), position.y())
        if self._renderer.is_nearest_at(self._overlay.draft, *view):
            self.nearestChosen.emit()
            return True
        if region := self.regionAt(position):
            self.regionClicked.emit(region)
            return True
        return False

    def setBand(self, band: QRectF | None) -> None:
        """Show a rubber band, or none."""
        self._overlay.band = band
        self.update()

    def itemAt(self, position: QPointF) -> str:
        """The id of the box, or of the open group whose title is, at a position; "" for neither."""
        frame = self._renderer.frame_title_at(
            self._camera, self.width(), self.height(), position.x(), position.y()
        )
        if frame is not None:
            return self._model.hierarchy.groups[self._model.layout.frame_groups[frame]].id
        box = self._model.box_at(*self._camera.scene_point(position.x(), position.y()))
        return "" if box is None else self._model.item_id(self._model.layout.items[box])

    def _group_at(self, position: QPointF) -> str:
        """The group that a double-click at a position means: a closed one, a title, or the frame around it."""
        item = self.itemAt(position)
        if item:
            return item if self._model.group(item) is not None else ""
        frame = self._model.frame_at(*self._camera.scene_point(position.x(), position.y()))
        return "" if frame is None else self._model.hierarchy.groups[self._model.layout.frame_groups[frame]].id

    # -- events ------------------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._renderer.paint(painter, self._camera, self.width(), self.height(), self._overlay)

    def resizeEvent(self, event: QResizeEvent) -> None:
        if self._is_fitted:
            self.fit()
        else:
            old = event.oldSize()
            if old.isValid():
                dx, dy = (self.width() - old.width()) / 2, (self.height() - old.height()) / 2
                self._set_camera(self._camera.moved(dx, dy))
        self._furniture.place(self._camera)

    def wheelEvent(self, event: QWheelEvent) -> None:
        turn = event.pixelDelta() if not event.pixelDelta().isNull() else event.angleDelta()
        wants_zoom = self.settings.wheel_zooms or bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if wants_zoom:
            self.zoomBy(_WHEEL_STEP ** float(turn.y()), event.position())
        else:
            self.panBy(float(turn.x()), float(turn.y()))
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._furniture.hide_card()
        self._gesture = begin(self, event.button(), event.modifiers(), event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._gesture is not None:
            self._drag_to(self._gesture, event.position())
            return
        self._hover(self.itemAt(event.position()))

    def _drag_to(self, gesture: Gesture, position: QPointF) -> None:
        self._pointer = position
        gesture.move(position)
        if gesture.is_drag:
            self.setCursor(gesture.cursor)
        if self._overlay.touched or self._lasso is not None:
            self._card_point = self._camera.scene_point(position.x(), position.y())
            self._verdict_card.moveBeside(position.toPoint())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        gesture, self._gesture = self._gesture, None
        self.unsetCursor()
        if gesture is not None:
            gesture.finish(event.position())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        if region := self.regionAt(event.position()):
            self.regionActivated.emit(region)
            return
        group = self._group_at(event.position())
        if group:
            self.toggle(group)
        elif item := self.itemAt(event.position()):
            self.nodeActivated.emit(item)

    def leaveEvent(self, event: QEvent) -> None:
        self._hover("")

    def _hover(self, item: str) -> None:
        if item == self._overlay.hovered:
            return
        self._overlay.hovered = item
        self._furniture.point_at(item, lambda: self._card_text(item), lambda: self.mapFromGlobal(QCursor.pos()))
        self.update()
        self.hovered.emit(item)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        item = self.itemAt(QPointF(event.pos()))
        chosen = set(self.selection())
        ids = [self._model.scene.nodes[i].id for i in self._model.indices([item]).tolist()] if item else []
        if ids and not chosen.issuperset(ids):
            self.setSelection([item])
        self.contextMenuRequested.emit(self.selection(), event.globalPos())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = 60.0
        match event.key():
            case Qt.Key.Key_Space:
                self.fit()
            case Qt.Key.Key_Escape if self._gesture is not None:
                self._gesture.cancel()
                self._gesture = None
            case Qt.Key.Key_Escape:
                self.escaped.emit()
            case Qt.Key.Key_Left:
                self.panBy(step, 0.0)
            case Qt.Key.Key_Right:
                self.panBy(-step, 0.0)
            case Qt.Key.Key_Up:
                self.panBy(0.0, step)
            case Qt.Key.Key_Down:
                self.panBy(0.0, -step)
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal:
                self.zoomBy(1.25)
            case Qt.Key.Key_Minus:
                self.zoomBy(0.8)
            case _:
                super().keyPressEvent(event)
