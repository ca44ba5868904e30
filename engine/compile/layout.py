"""Layout elimination: where every value lies, which data movement vanishes, how long the runs of each access are.

Every value has a *storage*: the buffer of some kernel's output, and a view of it (:mod:`engine.compile.views`). A
layout operator only changes the view; who reads its output reads the other kernel's buffer in that order. Inputs of a
concatenation are written straight into their part of its buffer. What is left to move is moved once, through the view
that all layout operators before it add up to.

A value is moved into a buffer of its own where

- no view expresses it (padding, irregular indices, a reshape across a factor),
- the CPU reads it or it leaves the model, and it does not lie there as the model has it,
- a window slides over an axis that has more than one stride, or engines cannot follow the view: a cyclic shift with the
  window partition behind it, or a window reverse with the shift behind that, is then one copy,
- its readers together would lose more time on short runs than the move costs.

What a kernel itself makes lies in the kernel's order also where the CPU reads it or it leaves the model: it is
converted to float on the way, element by element, and that may as well reorder.

:mod:`engine.compile.replay` runs integer programs as a plan has it.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.compile.following import Following
from engine.compile.orders import Reach
from engine.compile.roles import Role, Roles
from engine.compile.storages import LayoutBytes, LayoutPlan, Move, Rescaled, Storage
from engine.compile.views import row_major
from engine.graph.graph import Graph
from engine.simulate.placement import Placement

__all__ = [
    "LayoutBytes",
    "LayoutPlan",
    "LayoutPlanner",
    "Move",
    "Reach",
    "Rescaled",
    "Storage",
    "plan_layout",
    "renamings",
]

ACCESS_BYTES = 64
GATHER_BYTES = 16
"""What a memory delivers at once, and what of it shorter runs fill together, where no target says so."""

_ASSUMED = Reach()
_ROLES_PER_UNIT = 8


def plan_layout(
    graph: Graph,
    placed: Sequence[Placement],
    access_bytes: int = ACCESS_BYTES,
    gather_bytes: int = GATHER_BYTES,
    reach: Reach = _ASSUMED,
    rescaled: Rescaled = frozenset(),
) -> LayoutPlan:
    """The layout of placed units. Keep a :class:`LayoutPlanner` where many plans of one graph are made."""
    return LayoutPlanner(graph, access_bytes, gather_bytes, reach).plan(placed, rescaled)


def renamings(graph: Graph, placed: Sequence[Placement]) -> LayoutPlan:
    """The plan that only drops the units that rename what they read: every other value has a row-major buffer."""
    roots: dict[str, str] = {}
    sizes: dict[str, int] = {}
    eliminated: list[str] = []
    copied = 0
    for unit in placed:
        if unit.is_free:
            source = unit.frame.reads[0]
            roots[unit.frame.writes[0]] = roots.get(source, source)
            eliminated.append(unit.anchor)
            continue
        roots.update((value, value) for value in unit.frame.writes)
        sizes.update(unit.stores)
        copied += sum(work.moved_bytes for work in unit.works if work.is_rearranging)
    return LayoutPlan(
        storages={value: Storage(root, row_major(graph.types[value].shape)) for value, root in roots.items()},
        root=roots,
        eliminated=frozenset(eliminated),
        moved={},
        runs={},
        sizes=sizes,
        written=frozenset(),
        bytes=LayoutBytes(copied, copied, copied, 0),
    )


class LayoutPlanner:
    """Plans the layout of one graph's placed units.

    It remembers what it found for units of each form by the views that they read, and its last plan: where an edit only
    changes widths of elements, values stay where they are, and only what the edit touches is measured again.
    ``access_bytes`` is what the memory delivers at once, ``gather_bytes`` what shorter runs are worth, ``reach`` what
    kernels can read through: beyond it, a chain of movements is one copy.
    """

    def __init__(
        self,
        graph: Graph,
        access_bytes: int = ACCESS_BYTES,
        gather_bytes: int = GATHER_BYTES,
        reach: Reach = _ASSUMED,
    ) -> None:
        self._graph = graph
        self._reach = reach
        self._access_bytes = access_bytes
        self._gather_bytes = gather_bytes
        self._roles = Roles(graph)
        self._last: tuple[Rescaled, tuple[Placement, ...], Following] | None = None

    def plan(self, placed: Sequence[Placement], rescaled: Rescaled = frozenset()) -> LayoutPlan:
        """The layout; the same object as last time for the same placements."""
        units = tuple(placed)
        known = self._last if self._last is not None and self._last[0] == rescaled else None
        if known is not None and known[1] == units:
            return known[2].plan
        self._roles.trim(_ROLES_PER_UNIT * max(len(units), 1))
        widths: dict[str, int] = {}
        roles = list[Role]()
        for unit in units:
            role = self._roles.of(unit, widths)
            widths.update(zip(role.writes, role.form.write_bytes, strict=True))
            roles.append(role)
        found = None if known is None else known[2].edited(roles)
        if found is None:
            found = Following(self._graph, roles, self._loss, self._reach, rescaled)
        self._last = rescaled, units, found
        return found.plan

    def _loss(self, run_bytes: int) -> float:
        """Bytes that the memory delivers for each one of a run."""
        return max(1.0, self._access_bytes / max(run_bytes, self._gather_bytes))
