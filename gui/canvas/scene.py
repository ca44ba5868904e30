"""What the canvas draws: plain data, no Qt. Decorations and heat change without a new layout."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

#: Categories of operators; each has a header colour in the theme.
KINDS = ("conv", "matmul", "norm", "activation", "elementwise", "layout", "reduce", "io", "other")

#: Precisions a node may have, in the order the legend lists them.
PRECISIONS = ("int8", "int16", "lut", "float")


@dataclass(frozen=True)
class SceneNode:
    """One operator (or a graph input or output, kind "io")."""

    id: str
    title: str
    op_type: str
    namespace: tuple[str, ...] = ()
    shapes: str = ""
    kind: str = "other"


@dataclass(frozen=True)
class SceneEdge:
    """A tensor from one node to another; `label` is its shape, `dtype` the element type in the model."""

    source: str
    target: str
    label: str = ""
    dtype: str = ""


@dataclass(frozen=True)
class Scene:
    """A graph to draw. Edges that name an unknown node are refused. `noun` is what its nodes are, in the plural.

    Raises:
        ValueError: two nodes share an id, or an edge names a node that is not there.
    """

    nodes: tuple[SceneNode, ...] = ()
    edges: tuple[SceneEdge, ...] = ()
    noun: str = "ops"
    index: dict[str, int] = field(init=False, repr=False, compare=False, hash=False, default_factory=dict[str, int])

    def __post_init__(self) -> None:
        self.index.update((node.id, i) for i, node in enumerate(self.nodes))
        if len(self.index) != len(self.nodes):
            raise ValueError("two nodes of the scene share an id; give each operator its own")
        for edge in self.edges:
            for end in (edge.source, edge.target):
                if end not in self.index:
                    raise ValueError(f"edge {edge.source} -> {edge.target}: the scene has no node {end!r}")


@dataclass(frozen=True)
class Decoration:
    """A node's precision: what was asked for, what the target makes of it, and the region it is fused into.

    `dtype` is the element type of its outputs as planned, which edges show instead of the model's.

    `problem` is why the node cannot run, "" where it can.

    `requested` is "auto" or "" where the user chose nothing. `fused_into` is the title of the node whose kernel
    computes this one, "" if it has its own.
    """

    requested: str = ""
    effective: str = ""
    fused_into: str = ""
    dtype: str = ""
    problem: str = ""

    @property
    def is_user_choice(self) -> bool:
        """Whether the user set this precision rather than leaving it to the tool."""
        return self.requested not in ("", "auto")

    @property
    def is_refused(self) -> bool:
        """Whether the target makes something else of the user's choice."""
        return self.is_user_choice and self.effective not in ("", self.requested)


@dataclass(frozen=True)
class SceneRegion:
    """Nodes that run as one kernel, by id; `is_legal` false where the target does not allow it."""

    name: str
    nodes: tuple[str, ...]
    is_legal: bool = True


@dataclass(frozen=True)
class GroupDecoration:
    """What is known of a closed group's precisions: the one they share or "mixed", and how many were set by the user.

    `refused` counts those of which the target makes something else, `stopped` those that cannot run.
    """

    effective: str = ""
    chosen: int = 0
    refused: int = 0
    stopped: int = 0

    @staticmethod
    def over(decorations: Iterable[Decoration]) -> GroupDecoration:
        """Summarise the decorations of a group's operators."""
        found = list(decorations)
        effective = {each.effective for each in found} - {""}
        shared = effective.pop() if len(effective) == 1 else ("mixed" if effective else "")
        return GroupDecoration(
            shared,
            sum(d.is_user_choice for d in found),
            sum(d.is_refused for d in found),
            sum(bool(d.problem) for d in found),
        )


@dataclass(frozen=True)
class HeatScale:
    """How a number becomes a colour: from `minimum` to `maximum` in `unit`, on a log axis where `log`.

    `higher_is_worse` says which end is painted as the worst (the bright one); false for SQNR or cosine.

    With `categories` the numbers are names: 0 is the first of them. They have a colour each and no order, and a closed
    group has that of most weight inside.
    """

    minimum: float
    maximum: float
    log: bool = False
    label: str = ""
    unit: str = ""
    colour_map: str = "cividis"
    higher_is_worse: bool = True
    categories: tuple[str, ...] = ()

    @staticmethod
    def of_categories(categories: tuple[str, ...], label: str, colour_map: str) -> HeatScale:
        """A scale of names in the order of the map's colours."""
        return HeatScale(0.0, len(categories) - 1.0, label=label, colour_map=colour_map, categories=categories)

    def format(self, value: float) -> str:
        """The value with three significant digits and its unit; "–" for NaN."""
        if math.isnan(value):
            return "–"
        if self.categories:
            return self.categories[round(value)]
        return f"{three_digits(value)} {self.unit}".rstrip()


def format_number(value: float) -> str:
    """As `three_digits`, without zeros at the end of a fraction."""
    text = three_digits(value)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def three_digits(value: float) -> str:
    """Three significant digits; powers of ten as exponents outside 0.001 … 99,999."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ("∞" if value > 0 else "−∞")
    magnitude = abs(value)
    if magnitude < 1e-3 or magnitude >= 99_999.5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    decimals = max(0, 2 - math.floor(math.log10(magnitude)))
    return f"{value:,.{decimals}f}".replace("-", "−")
