"""The single source of truth of the window. Qt-free: whoever wants to follow it subscribes.

The document holds everything that is needed to bring a fresh engine process to the same state: what was
opened, how it was calibrated, and the plan. Each change of the plan raises the revision, undo included, so
that an answer to an older revision is recognised and dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Flag, auto
from itertools import count
from pathlib import Path

import msgspec

from engine.reports import Compilation, Errors, GraphInfo, NodeInfo, NodePlan, Refusal, RegionPlan, Timing
from engine.reports_analysis import Sensitivities
from engine.service.messages import Opened, PlanData
from gui.document.history import History, Step
from gui.document.results import Compiled, Measured, Resolved, Results, SensedMap, Timed

AUTO = "auto"


class Change(Flag):
    """What became different; listeners pick what concerns them."""

    GRAPH = auto()
    PLAN = auto()
    RESOLUTION = auto()
    TIMING = auto()
    ERRORS = auto()
    COMPILATION = auto()
    STATE = auto()
    """Project path, calibration, unsaved changes or what can be undone."""


@dataclass(frozen=True)
class CalibrationSource:
    """Where calibration samples come from: enough to calibrate again after the engine was restarted."""

    path: str
    recipe_path: str | None = None
    samples: int | None = None
    split: str | None = None


@dataclass(frozen=True)
class Calibration:
    """Whether, and on what, the model is calibrated. ``source`` is set when it was done in this window and
    not saved.
    """

    is_done: bool = False
    data: str = ""
    samples: int = 0
    source: CalibrationSource | None = None


Listener = Callable[[Change], None]


class Document:
    """The open model, the user's plan and its history, and the latest results."""

    def __init__(self) -> None:
        self.graph: GraphInfo | None = None
        self.nodes: Mapping[str, NodeInfo] = {}
        self.plan = PlanData()
        self.revision = 0
        self.project_path = ""
        self.opened_path = ""
        self.bindings: Mapping[str, int] = {}
        self.calibration = Calibration()
        self.results = Results()
        self._saved_plan = self.plan
        self._history = History()
        self._listeners: list[Listener] = []
        self._held: Change | None = None

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` with every change from now on."""
        self._listeners.append(listener)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Listeners hear once of all that changes in this block, at its end."""
        if self._held is not None:
            yield
            return
        self._held = Change(0)
        try:
            yield
        finally:
            held, self._held = self._held, None
            if held:
                self._notify(held)

    # What is known

    @property
    def is_open(self) -> bool:
        return self.graph is not None

    @property
    def is_dirty(self) -> bool:
        """Whether something would be lost by closing: an edit of the plan, or a calibration that no project
        holds.
        """
        return self.is_open and (self.plan != self._saved_plan or self.calibration.source is not None)

    @property
    def title(self) -> str:
        """The project's or model's file name; "" when nothing is open."""
        return Path(self.project_path or self.opened_path).name if self.is_open else ""

    @property
    def undo_label(self) -> str:
        return self._history.undo_label

    @property
    def redo_label(self) -> str:
        return self._history.redo_label

    @property
    def is_resolved(self) -> bool:
        """Whether the effective precisions shown are those of the current plan."""
        return self.results.resolved.revision == self.revision

    @property
    def is_timed(self) -> bool:
        return self.results.timed.revision == self.revision

    @property
    def is_measured(self) -> bool:
        """Whether the errors shown are those of the current plan, over all samples."""
        return self.results.measured.revision == self.revision and self.results.measured.is_final

    @property
    def is_sensed(self) -> bool:
        """Whether the sensitivities shown are those of the current plan, over all samples."""
        return self.results.sensed.revision == self.revision and self.results.sensed.is_final

    @property
    def is_compiled(self) -> bool:
        """Whether the compilation shown, or the problem, is that of the current plan."""
        return self.results.compiled.revision == self.revision

    def requested(self, node_id: str) -> str:
        """What the user asked for this node, at once: the engine need not have answered yet."""
        return self.plan.choices.get(node_id, AUTO)

    def method(self, node_id: str) -> str:
        """The calibration method chosen for the node's outputs; "" where the default holds."""
        info = self.nodes.get(node_id)
        chosen = {self.plan.methods.get(value, "") for value in info.outputs if value} if info is not None else set()
        return chosen.pop() if len(chosen) == 1 else ""

    def region_of(self, node_id: str) -> str:
        """Name of the fusion region that the node is in; "" for none."""
        return next((name for name, nodes in self.plan.regions if node_id in nodes), "")

    def region_nodes(self, name: str) -> tuple[str, ...]:
        """The nodes of a fusion region; none where there is no such region."""
        return dict(self.plan.regions).get(name, ())

    # Opening and closing

    def open(self, opened: Opened, path: str, bindings: Mapping[str, int] | None = None) -> None:
        """Take over a freshly opened model or project.

        Args:
            opened: The engine's answer.
            path: What the user opened.
            bindings: The sizes that the user gave for symbolic dimensions.
        """
        self.graph = opened.graph
        self.nodes = {node.id: node for node in opened.graph.nodes}
        self.plan = self._saved_plan = opened.plan
        self.revision += 1
        self.project_path = opened.project
        self.opened_path = path
        self.bindings = dict(bindings or {})
        self.calibration = Calibration(opened.calibrated, opened.calibration_data)
        self.results = Results()
        self._history.clear()
        self._notify(~Change(0))

    def saved(self, path: str, plan: PlanData) -> None:
        """The project at ``path`` now holds ``plan`` and the calibration."""
        self.project_path = self.opened_path = path
        self._saved_plan = plan
        self.calibration = replace(self.calibration, source=None)
        self._notify(Change.STATE)

    def calibrated(self, samples: int, data: str, source: CalibrationSource) -> None:
        """Calibration is done: errors can be measured. Raises the revision, for all results change."""
        self.calibration = Calibration(True, data, samples, source)
        self.revision += 1
        self._notify(Change.STATE | Change.PLAN)

    # Edits, each one step of undo

    def mark(self, node_ids: Iterable[str], precision: str) -> bool:
        """Ask for ``precision`` on the nodes ("auto" takes the request back); False if nothing changes."""
        ids = [node_id for node_id in dict.fromkeys(node_ids) if self.requested(node_id) != precision]
        if not ids:
            return False
        marked = set(ids)
        choices = {node_id: choice for node_id, choice in self.plan.choices.items() if node_id not in marked}
        if precision != AUTO:
            choices |= dict.fromkeys(ids, precision)
        return self._edit(f"mark {self._described(ids)} {precision}", choices=choices)

    def set_default_method(self, method: str) -> bool:
        """Choose the calibration method of all tensors without one of their own."""
        return self._edit(f"calibrate by {method}", default_method=method)

    def set_method(self, node_ids: Iterable[str], method: str) -> bool:
        """Choose the calibration method of the nodes' outputs; "" leaves them to the default. False if nothing
        changes.
        """
        ids = [node_id for node_id in dict.fromkeys(node_ids) if node_id in self.nodes]
        values = {value for node_id in ids for value in self.nodes[node_id].outputs if value}
        methods = {value: chosen for value, chosen in self.plan.methods.items() if value not in values}
        if method:
            methods |= dict.fromkeys(sorted(values), method)
        return bool(ids) and self._edit(f"ranges of {self._described(ids)} by {method or 'default'}", methods=methods)

    def fuse(self, node_ids: Iterable[str]) -> str:
        """Have nodes run as one kernel, as a region of the first free name; returns that name."""
        names = self._region_names()
        name = next(name for name in map("region {}".format, count(1)) if name not in names)
        nodes = tuple(dict.fromkeys(node_ids))
        self._edit(f"fuse {self._described(list(nodes))}", regions=(*self.plan.regions, (name, nodes)))
        return name

    def dissolve(self, names: Iterable[str]) -> bool:
        """Take fusion regions out of the plan; False if there are none of these names."""
        wanted = self._region_names() & set(names)
        kept = tuple(region for region in self.plan.regions if region[0] not in wanted)
        return bool(wanted) and self._edit(f"dissolve {', '.join(sorted(wanted))}", regions=kept)

    def rename_region(self, name: str, new_name: str) -> bool:
        """Call a fusion region something else; False if there is none, or the new name is taken."""
        names = self._region_names()
        if name not in names or new_name in names:
            return False
        renamed = tuple((new_name if known == name else known, nodes) for known, nodes in self.plan.regions)
        return self._edit(f"rename {name} to {new_name}", regions=renamed)

    def split_region(self, name: str, parts: Iterable[tuple[str, tuple[str, ...]]]) -> bool:
        """Put other regions (name, nodes) in the place of one; False if there is none of that name."""
        if name not in self._region_names():
            return False
        regions: list[tuple[str, tuple[str, ...]]] = []
        for region in self.plan.regions:
            regions += parts if region[0] == name else [region]
        return self._edit(f"split {name}", regions=tuple(regions))

    def set_target(self, target: str) -> bool:
        """Plan for another target, on all of its cores: a number of cores is about one chip."""
        options = msgspec.structs.replace(self.plan.compile, cores=None)
        name = Path(target).stem if target.endswith(".toml") else target
        return self._edit(f"target {name}", target=target, compile=options)

    def set_compile(self, gesture: str = "", **fields: object) -> bool:
        """Change compile options by field (``goal``, ``weight``, ``level``, ``cores``); changes in a row with one
        ``gesture`` are one step of undo.
        """
        options = msgspec.structs.replace(self.plan.compile, **fields)
        label = ", ".join(f"{key} {_option_text(value)}" for key, value in fields.items())
        return self._edit(label, gesture, compile=options)

    def adopt(self, plan: PlanData, label: str) -> bool:
        """Take over a whole plan that the engine made, as one step; False if it is the present one."""
        return self._edit(label, **msgspec.structs.asdict(plan))

    def undo(self) -> bool:
        return self._restore(self._history.undo())

    def redo(self) -> bool:
        return self._restore(self._history.redo())

    def _region_names(self) -> set[str]:
        return {name for name, _ in self.plan.regions}

    # The engine's answers; False when they belong to an older revision

    def resolve(
        self,
        revision: int,
        nodes: tuple[NodePlan, ...],
        refusals: tuple[Refusal, ...],
        cpu_nodes: int,
        regions: tuple[RegionPlan, ...] = (),
        cores: int = 1,
    ) -> bool:
        if revision != self.revision:
            return False
        resolved = Resolved.of(revision, nodes, refusals, cpu_nodes, regions, cores)
        self.results = replace(self.results, resolved=resolved)
        self._notify(Change.RESOLUTION)
        return True

    def time(self, revision: int, timing: Timing) -> bool:
        if revision != self.revision:
            return False
        self.results = replace(self.results, timed=Timed.of(revision, timing))
        self._notify(Change.TIMING)
        return True

    def measure(self, revision: int, errors: Errors, is_final: bool) -> bool:
        if revision != self.revision:
            return False
        self.results = replace(self.results, measured=Measured.of(revision, errors, is_final))
        self._notify(Change.ERRORS)
        return True

    def sense(self, revision: int, found: Sensitivities, is_final: bool) -> bool:
        """Take over sensitivities, unless they are about another plan."""
        if revision != self.revision:
            return False
        self.results = replace(self.results, sensed=SensedMap.of(revision, found, is_final))
        self._notify(Change.ERRORS)
        return True

    def compile(self, revision: int, compilation: Compilation) -> bool:
        return self._take_compiled(Compiled(revision, compilation))

    def refuse_compilation(self, revision: int, problem: str) -> bool:
        """The plan of ``revision`` cannot be compiled; ``problem`` is one line for the user."""
        return self._take_compiled(Compiled(revision, None, problem))

    def _take_compiled(self, compiled: Compiled) -> bool:
        if compiled.revision != self.revision:
            return False
        self.results = replace(self.results, compiled=compiled)
        self._notify(Change.COMPILATION)
        return True

    def _edit(self, label: str, gesture: str = "", **fields: object) -> bool:
        plan = msgspec.structs.replace(self.plan, **fields)
        if plan == self.plan:
            return False
        self._history.push(Step(label, self.plan, plan, gesture))
        return self._restore(plan)

    def _restore(self, plan: PlanData | None) -> bool:
        if plan is None:
            return False
        self.plan = plan
        self.revision += 1
        self._notify(Change.PLAN | Change.STATE)
        return True

    def _described(self, ids: list[str]) -> str:
        if len(ids) > 1:
            return f"{len(ids)} nodes"
        node = self.nodes.get(ids[0])
        return node.name if node is not None else ids[0]

    def _notify(self, change: Change) -> None:
        if self._held is not None:
            self._held |= change
            return
        for listener in self._listeners:
            listener(change)


def _option_text(value: object) -> str:
    return "all" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
