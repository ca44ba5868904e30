"""The main window: puts the parts together; what they do is theirs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from PySide6.QtCore import QByteArray, QPoint, QSize, Qt
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QKeySequence
from PySide6.QtWidgets import (
    QApplication,
    QDockWidget,
    QLabel,
    QMainWindow,
    QMenu,
    QStackedWidget,
    QToolBar,
    QVBoxLayout,
    QWidget,
)

from gui.actions.advice_commands import ADVISE_COMMAND, ADVISE_SELECTION_COMMAND, AdviceCommands
from gui.actions.builder import ActionSet
from gui.actions.edit_commands import EditCommands
from gui.actions.file_commands import FileCommands
from gui.actions.fusion_draft import FusionDraft
from gui.actions.panel_commands import PanelCommands
from gui.actions.quantise_commands import QuantiseCommands
from gui.actions.region_commands import RegionCommands
from gui.actions.registry import ACTIONS, BY_ID, COMPILED_PANELS, PANEL_COMMANDS
from gui.actions.state import ActionState
from gui.actions.training_commands import TRAIN_COMMAND, TrainingCommands
from gui.actions.tune_commands import TUNE_COMMAND, TuneCommands
from gui.actions.verify_commands import VERIFY_COMMAND, VerifyCommands
from gui.actions.view_commands import ViewCommands
from gui.canvas.widget import GraphCanvas
from gui.client.analysis import LiveAnalysis
from gui.client.session import EngineSession
from gui.document.graph_view import GraphView
from gui.document.notice import Level, Notice
from gui.document.overlay import Overlay
from gui.document.preferences import Preferences
from gui.document.qt_document import QtDocument, SharedView
from gui.panels.advice.widget import AdvicePanel
from gui.panels.calibration.widget import CalibrationPanel
from gui.panels.canvas_link import CanvasLink, HeatSource
from gui.panels.compiled_panel import CompiledPanel
from gui.panels.compiler.widget import CompilerPanel
from gui.panels.dialogs.prompts import Prompts
from gui.panels.distribution_feed import DistributionFeed
from gui.panels.distribution_panel import DistributionPanel
from gui.panels.error_curve.widget import ErrorCurvePanel
from gui.panels.hierarchy.widget import HierarchyPanel
from gui.panels.histogram.widget import HistogramPanel
from gui.panels.icons import SIZE
from gui.panels.inspector.widget import InspectorPanel
from gui.panels.lut.widget import TablePanel
from gui.panels.memory.widget import MemoryPanel
from gui.panels.messages.widget import NoticeArea, ProgressView
from gui.panels.node_table.widget import NodeTablePanel
from gui.panels.palette.model import Entry
from gui.panels.palette.widget import CommandPalette
from gui.panels.pareto.widget import ParetoPanel
from gui.panels.roofline.widget import RooflinePanel
from gui.panels.search.widget import SearchBar
from gui.panels.style import apply_theme
from gui.panels.summary.widget import SummaryStrip
from gui.panels.time_view import SharedTime
from gui.panels.timeline.widget import TimelinePanel
from gui.panels.training.widget import TrainingPanel
from gui.panels.verification.widget import VerificationPanel
from gui.panels.welcome.widget import WelcomePage
from gui.theme import Theme

FIRST_SIZE = (1480, 920)
LEFT_WIDTH = 240
RIGHT_WIDTH = 340
BOTTOM_HEIGHT = 250
COMPILED_HEIGHT = 340


class MainWindow(QMainWindow):
    """Canvas in the middle, hierarchy left, inspector right, table below."""

    def __init__(
        self,
        document: QtDocument,
        session: EngineSession,
        preferences: Preferences | None = None,
        prompts: Prompts | None = None,
    ) -> None:
        super().__init__()
        self.document = document
        self.session = session
        self.view = SharedView(self)
        self.preferences = preferences or Preferences()
        self.analysis = LiveAnalysis(document, session.client, self)
        self.theme = self.preferences.theme
        self._is_confirmed = False
        self._make_panels()
        self._make_commands(prompts or Prompts(self))
        self._arrange()
        self._connect()
        self._default_layout = self.saveState()
        self._restore_window()
        self.set_theme(self.theme)
        self._refresh_title()

    # The window's own commands

    def post(self, notice: Notice) -> None:
        """Tell the user something without stopping the work."""
        self.notices.post(notice)

    def open_path(self, path: str) -> None:
        """Open a model or project."""
        self.files.open(path)

    def set_theme(self, theme: Theme) -> None:
        """Dress everything anew, and remember it."""
        self.theme = theme
        app = QApplication.instance()
        if isinstance(app, QApplication):
            apply_theme(app, theme)
        self.canvas.setTheme(theme)
        panels = (self.table, self.inspector, self.errors, self.verification, self.advice)
        panels = (*panels, self.training, self.calibration, self.pareto)
        for part in (self.actions_, *panels, self.notices, self.welcome):
            part.set_theme(theme)
        for panel in (*self.compiled.values(), *self.values.values()):
            panel.set_theme(theme)
        self._refresh_actions()

    def reset_layout(self) -> None:
        """Put all panels back where they were first."""
        self.restoreState(self._default_layout)
        for dock in self._docks:
            dock.show()
        self._size_docks()

    def open_palette(self) -> None:
        """Offer all commands."""
        state = self.actions_.state
        self.palette_.offer(
            [
                Entry(
                    spec.id,
                    f"{spec.menu}: {spec.text}",
                    spec.help,
                    ", ".join(QKeySequence(keys).toString() for keys in spec.shortcuts),
                    spec.unavailable(state),
                )
                for spec in ACTIONS
                if spec.id != "go.palette"
            ]
        )

    def shutdown(self) -> None:
        """End the engine process; the window is done."""
        self.session.shutdown()

    # Making

    def _make_panels(self) -> None:
        document, view = self.document, self.view
        self.heat = HeatSource(document, view, self)
        self.canvas = GraphCanvas(theme=self.theme)
        self.link = CanvasLink(self.canvas, document, view, self.heat, self)
        self.welcome = WelcomePage()
        self.table = NodeTablePanel(document, view)
        self.inspector = InspectorPanel(document, view)
        self.hierarchy = HierarchyPanel(document, view)
        self.verification = VerificationPanel(document, view)
        self.advice = AdvicePanel(document, view)
        self.training = TrainingPanel(document)
        self.calibration = CalibrationPanel(document)
        self.pareto = ParetoPanel(document, view)
        self.time = SharedTime(self)
        self.timeline = TimelinePanel(document, view, self.time)
        self.roofline = RooflinePanel(document, view)
        self.memory = MemoryPanel(document, view, self.time)
        self.compiled: dict[str, CompiledPanel] = {
            "timeline": self.timeline,
            "memory": self.memory,
            "roofline": self.roofline,
        }
        self.distribution = DistributionFeed(document, view, self)
        self.histogram, self.lut = HistogramPanel(self.distribution), TablePanel(self.distribution)
        self.values: dict[str, DistributionPanel] = {"histogram": self.histogram, "lut": self.lut}
        self.compiler = CompilerPanel(document)
        self.errors = ErrorCurvePanel(document, view)
        self.summary = SummaryStrip(document)
        self.search = SearchBar(document)
        self.notices = NoticeArea({spec.id: spec.text for spec in ACTIONS})
        self.progress = ProgressView()
        self.palette_ = CommandPalette(self)
        self.selection_label = QLabel()

    def _make_commands(self, prompts: Prompts) -> None:
        self.panels = PanelCommands(self._fit_time, self)
        show = self.panels.show
        self.files = FileCommands(
            self.document.document, self.session, prompts, self.preferences, self.notices, self.close
        )
        self.edits = EditCommands(self.document.document, self.view, prompts)
        self.views = ViewCommands(self.canvas, self.view, self.link, self.heat, self.search, prompts, self)
        self.draft = FusionDraft(
            self.canvas, self.link, self.document, self.session, self.view, self.edits.markable_of, self
        )
        self.regions = RegionCommands(
            self.document.document,
            self.session,
            self.view,
            self.edits,
            self.draft,
            self.notices,
            prompts,
            self.views.reveal,
            self._refresh_actions,
        )
        self.verifying = VerifyCommands(self.session, self.verification, self.notices, partial(show, "Verification"))
        self.advising = AdviceCommands(
            self.document.document,
            self.preferences,
            prompts,
            self.session,
            self.view,
            self.advice,
            partial(show, "Advice"),
            self._refresh_actions,
        )
        self.trains = TrainingCommands(self.document.document, self.session, self.training, partial(show, "Training"))
        self.quantising = QuantiseCommands(
            self.document.document,
            self.session,
            self.calibration,
            self.files.ask_and_calibrate,
            partial(show, "Calibration"),
        )
        self.tuning = TuneCommands(self.document.document, self.session, self.pareto, partial(show, "Pareto"))
        asking = (self.verifying, self.advising, self.trains, self.quantising, self.tuning)
        parts = (self.files, self.edits, self.regions, *asking, self.views, self.panels)
        handlers = {key: handler for part in parts for key, handler in part.handlers().items()}
        self.actions_ = ActionSet(handlers, self)

    def _arrange(self) -> None:
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(True)
        self.setCentralWidget(self._centre())
        self._add_tool_bars()
        menus = self.actions_.fill_menu_bar(self.menuBar())
        self._recent_menu = QMenu("Open Recent", self)
        menus["File"].insertMenu(self.actions_.actions["file.save"], self._recent_menu)
        self._recent_menu.aboutToShow.connect(self._fill_recent_menu)
        for spec in ACTIONS:
            (self.canvas if spec.is_for_canvas else self).addAction(self.actions_.actions[spec.id])
        areas = Qt.DockWidgetArea
        self._docks = [
            self._dock("Modules", self.hierarchy, areas.LeftDockWidgetArea),
            self._dock("Inspector", self.inspector, areas.RightDockWidgetArea),
            self._dock("Nodes", self.table, areas.BottomDockWidgetArea),
        ]
        asked = [self._hidden_dock(name, name, panel, height) for name, (panel, height) in self._asked_for().items()]
        for name, panel in (*self.compiled.items(), *self.values.items(), ("errors", self.errors)):
            self._hidden_dock(name, BY_ID[PANEL_COMMANDS[name]].text, panel, COMPILED_HEIGHT)
        compiler = self._dock(BY_ID[PANEL_COMMANDS["compiler"]].text, self.compiler, areas.RightDockWidgetArea)
        self.tabifyDockWidget(self._docks[1], compiler)
        self._docks[1].raise_()
        self.panels.add("compiler", compiler)
        self.setCorner(Qt.Corner.BottomRightCorner, areas.RightDockWidgetArea)
        menus["View"].addSeparator()
        for dock in (*self._docks, *asked):
            menus["View"].addAction(dock.toggleViewAction())
        self.statusBar().addWidget(self.progress, 1)
        self.statusBar().addPermanentWidget(self.selection_label)

    def _centre(self) -> QWidget:
        self.pages = QStackedWidget()
        self.pages.addWidget(self.welcome)
        self.pages.addWidget(self.canvas)
        centre = QWidget()
        layout = QVBoxLayout(centre)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        for widget in (self.notices, self.search):
            layout.addWidget(widget)
        layout.addWidget(self.pages, 1)
        return centre

    def _add_tool_bars(self) -> None:
        commands = self.addToolBar("Commands")
        commands.setObjectName("commands")
        commands.setIconSize(QSize(SIZE, SIZE))
        self.actions_.fill_tool_bar(commands)
        self.addToolBarBreak()
        totals = self.addToolBar("Totals")
        totals.setObjectName("totals")
        totals.addWidget(self.summary)
        totals.addActions([self.actions_.actions[f"view.{view.value}"] for view in GraphView])
        for bar in (commands, totals):
            bar.setMovable(False)
            bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self._tool_bars: tuple[QToolBar, ...] = (commands, totals)

    def _asked_for(self) -> Mapping[str, tuple[QWidget, int]]:
        """The panels that come to the front when something is asked for in them, by title, and how high they should be
        then (0: as high as they happen to be)."""
        return {
            "Verification": (self.verification, 0),
            "Advice": (self.advice, COMPILED_HEIGHT),
            "Training": (self.training, COMPILED_HEIGHT),
            "Calibration": (self.calibration, COMPILED_HEIGHT),
            "Pareto": (self.pareto, COMPILED_HEIGHT),
        }

    def _hidden_dock(self, name: str, title: str, panel: QWidget, good_height: int) -> QDockWidget:
        """A dock beside the node table that waits to be shown by name."""
        dock = self._dock(title, panel, Qt.DockWidgetArea.BottomDockWidgetArea)
        self.tabifyDockWidget(self._docks[-1], dock)
        dock.hide()
        self.panels.add(name, dock, good_height)
        return dock

    def _dock(self, title: str, widget: QWidget, area: Qt.DockWidgetArea) -> QDockWidget:
        dock = QDockWidget(title, self)
        dock.setObjectName(title)
        dock.setWidget(widget)
        self.addDockWidget(area, dock)
        return dock

    def _size_docks(self) -> None:
        modules, inspector, nodes = self._docks
        self.resizeDocks([modules, inspector], [LEFT_WIDTH, RIGHT_WIDTH], Qt.Orientation.Horizontal)
        self.resizeDocks([nodes], [BOTTOM_HEIGHT], Qt.Orientation.Vertical)

    def _restore_window(self) -> None:
        if not self.restoreGeometry(self.preferences.geometry):
            self.resize(*FIRST_SIZE)
        if not self.restoreState(self.preferences.layout):
            self._size_docks()

    # Connecting

    def _connect(self) -> None:
        document, session = self.document, self.session
        document.graphChanged.connect(self._on_graph)
        for signal in (document.stateChanged, document.timingChanged, document.errorsChanged, self.heat.changed):
            signal.connect(self._refresh_actions)
        document.stateChanged.connect(self._refresh_title)
        self.view.overlayChanged.connect(self._refresh_actions)
        self.view.graphViewChanged.connect(self._on_graph_view)
        self.view.selectionChanged.connect(self._on_selection)
        self.heat.changed.connect(self._show_heat)
        session.noticed.connect(self.post)
        session.activityChanged.connect(self.progress.show_activity)
        session.activityChanged.connect(self._refresh_actions)
        session.targetsChanged.connect(self.summary.set_targets)
        session.targetsChanged.connect(self.compiler.set_targets)
        session.targetsChanged.connect(self._refresh_actions)
        session.opened.connect(self._on_opened)
        session.calibrated.connect(lambda: self.view.show_overlay(Overlay.ACCUMULATED))
        session.inspected.connect(self.inspector.show_detail)
        session.distributed.connect(self.distribution.show_found)
        session.notDistributed.connect(self.distribution.show_problem)
        self.distribution.wanted.connect(session.distribute)
        self.progress.cancelled.connect(session.cancel)
        self.notices.actionChosen.connect(self.actions_.trigger)
        self.palette_.chosen.connect(self.actions_.trigger)
        self.inspector.precisionChosen.connect(self.edits.mark)
        self.inspector.detailWanted.connect(session.inspect)
        self.inspector.methodChosen.connect(self.edits.set_method)
        self.inspector.adviceWanted.connect(lambda: self.actions_.trigger(ADVISE_SELECTION_COMMAND))
        self.inspector.regionWanted.connect(self._check_region)
        self.inspector.sampleWanted.connect(self._show_sample)
        session.regionChecked.connect(self.inspector.show_verdict)
        self.summary.targetChosen.connect(document.document.set_target)
        self.compiler.targetChosen.connect(document.document.set_target)
        self.compiler.targetFileWanted.connect(self.edits.ask_and_set_target)
        self.summary.methodChosen.connect(document.document.set_default_method)
        self.table.revealed.connect(self.views.reveal)
        self.hierarchy.revealed.connect(self.views.reveal)
        self.verification.revealed.connect(self.views.reveal)
        self.advice.revealed.connect(self.views.reveal)
        self.verification.verifyWanted.connect(self.verifying.verify)
        self.panels.seenChanged.connect(self._watch)
        self.errors.revealed.connect(self.views.reveal)
        self.inspector.detailWanted.connect(self.analysis.explain)
        self.analysis.explained.connect(self.inspector.show_explanation)
        self.analysis.failed.connect(lambda text: self.post(Notice(Level.ERROR, text)))
        self.view.overlayChanged.connect(self._want_sensitivity)
        for panel in self.compiled.values():
            panel.revealed.connect(self.views.reveal)
        self.search.found.connect(self.views.find)
        self.canvas.contextMenuRequested.connect(self._show_context_menu)
        self.canvas.nearestChosen.connect(self.regions.fuse_nearest)
        self.canvas.draftChosen.connect(self.actions_.trigger)
        self.canvas.regionClicked.connect(self.regions.select)
        self.canvas.regionActivated.connect(self.regions.rename)
        self.welcome.openWanted.connect(self.files.ask_and_open)
        self.welcome.pathChosen.connect(self.files.open)
        self.welcome.set_recent(self.preferences.recent)

    def _on_graph(self) -> None:
        self.pages.setCurrentWidget(self.canvas if self.document.document.is_open else self.welcome)
        self._refresh_title()

    def _on_opened(self) -> None:
        """The figures that can be had: errors once calibrated, otherwise the time."""
        is_calibrated = self.document.document.calibration.is_done
        self.view.show_overlay(Overlay.ACCUMULATED if is_calibrated else Overlay.LATENCY)
        self.welcome.set_recent(self.preferences.recent)

    def _on_graph_view(self) -> None:
        """The compiled model follows every edit while it is what the graph shows."""
        self.session.want_compilation("graph", self.view.graph_view is GraphView.COMPILED)
        self._on_selection()

    def _check_region(self, name: str) -> None:
        self.session.check_region(self.document.document.region_nodes(name), name)

    def _on_selection(self) -> None:
        count = len(self.view.selection)
        is_shown = bool(self.link.boxes(self.view.selection))
        where = "" if is_shown else ", not in the compiled model"
        self.selection_label.setText(f"{count:,} selected{where}" if count else "")
        self._refresh_actions()

    def _show_sample(self, node: str, sample: int) -> None:
        """Bring the histograms to the front, with one sample of a node."""
        self.panels.show("histogram")
        self.distribution.choose_node(node, sample)

    def _show_heat(self) -> None:
        heat = self.heat.heat
        self.table.set_heat(heat, self.view.overlay)
        self.hierarchy.set_heat(heat)

    def _want_sensitivity(self) -> None:
        """It is measured only while it is what colours the graph."""
        self.analysis.want_sensitivity(self.view.overlay is Overlay.SENSITIVITY)

    def _fit_time(self) -> None:
        """Timeline and memory plan show the same stretch: what one of them is seen with goes for both."""
        (self.timeline.timeline if "timeline" in self.panels.seen else self.memory.plan).fit_selected()

    def _watch(self, name: str, is_seen: bool) -> None:
        """A panel came to the front, or went: only what is seen is asked for and kept up."""
        if name in COMPILED_PANELS:
            self.session.want_compilation(name, is_seen)
        watched = {**self.compiled, **self.values, "compiler": self.compiler, "errors": self.errors}
        if name in watched:
            watched[name].set_watched(is_seen)
        self._refresh_actions()

    def _refresh_actions(self) -> None:
        state = self._action_state()
        self.actions_.refresh(state)
        self.verification.set_available(BY_ID[VERIFY_COMMAND].unavailable(state))
        advise, on_selection = (BY_ID[name].unavailable(state) for name in (ADVISE_COMMAND, ADVISE_SELECTION_COMMAND))
        self.advice.set_available(advise, on_selection)
        self.training.set_available(BY_ID[TRAIN_COMMAND].unavailable(state))
        self.calibration.set_available(BY_ID[VERIFY_COMMAND].unavailable(state))
        self.pareto.set_available(BY_ID[TUNE_COMMAND].unavailable(state))

    def _action_state(self) -> ActionState:
        document, proposed = self.document.document, self.regions.proposed
        return ActionState(
            is_open=document.is_open,
            is_dirty=document.is_dirty,
            has_project=bool(document.project_path),
            is_calibrated=document.calibration.is_done,
            has_timing=document.results.timed.timing is not None,
            has_errors=document.results.measured.errors is not None,
            undo_label=document.undo_label,
            redo_label=document.redo_label,
            selected=len(self.view.selection),
            markable=len(self.edits.markable()),
            selected_regions=len(self.regions.selected_regions()),
            has_refused_region=proposed is not None and bool(proposed.offending),
            has_nearest_region=proposed is not None and bool(proposed.nearest),
            has_combination=self.advice.has_combination,
            overlay=self.view.overlay,
            graph_view=self.view.graph_view,
            has_heat=self.heat.heat.scale is not None,
            has_engine=self.session.is_running,
            method=document.plan.default_method,
            theme=self.theme.name,
            panels=self.panels.seen,
        )

    def _refresh_title(self) -> None:
        title = self.document.document.title
        self.setWindowTitle(f"{title}[*] – Quantscope" if title else "Quantscope[*]")
        self.setWindowModified(self.document.document.is_dirty)

    def _fill_recent_menu(self) -> None:
        self._recent_menu.clear()
        for path in self.preferences.recent:
            action = self._recent_menu.addAction(Path(path).name)
            action.setToolTip(path)
            action.triggered.connect(lambda _=False, path=path: self.files.open(path))
        self._recent_menu.setToolTipsVisible(True)
        if self._recent_menu.isEmpty():
            self._recent_menu.addAction("Nothing yet").setEnabled(False)

    def _show_context_menu(self, ids: list[str], position: QPoint) -> None:
        menu = self.actions_.context_menu(QMenu(self))
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(position)

    # Qt's events

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if _dropped_path(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        path = _dropped_path(event)
        if path:
            event.acceptProposedAction()
            self.files.open(path)

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self._is_confirmed and self.document.document.is_dirty:
            event.ignore()
            self.files.with_saved_work(self._close_confirmed)
            return
        self.preferences.remember_window(self.saveGeometry(), QByteArray(self.saveState()))
        self.hide()
        self.shutdown()
        event.accept()

    def _close_confirmed(self) -> None:
        self._is_confirmed = True
        self.close()


def _dropped_path(event: QDropEvent) -> str:
    """The one local file that is dragged; "" for anything else."""
    paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
    return paths[0] if len(paths) == 1 else ""
