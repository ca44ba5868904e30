"""What makes a value hard to give one scale: channels of very different size, and which layers could even them out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.analyze.evaluator import Sample
from engine.graph.graph import Node
from engine.ops.reduce import LayerNorm, RMSNorm
from engine.quantise.balance import clip_peaks
from engine.quantise.channels import Channels, find_channels
from engine.quantise.observing import watch_values
from engine.reports_advice import Cause, CauseKind

if TYPE_CHECKING:
    from engine.session import Session

Floats = NDArray[np.float64]

OUTLIER = 8.0
"""How many times the median a channel's reach must be for it to stand out."""

FEW_OUTLIERS = 0.125
"""The largest share of channels that may stand out; more are a spread."""

SPREAD_BITS = 4.0
"""From how many powers of two between large and small channels on they are named."""

_SAMPLES = 4
_SMALL = 0.1
"""Small channels are those at this share of all: a few may well carry nothing."""

_DEAD = 1e-6


def causes(session: Session, node_id: str) -> tuple[Cause, ...]:
    """What the channels of a node's unit show; for many nodes of one session keep a :class:`ChannelCauses`."""
    return ChannelCauses(session).of(node_id)


class ChannelCauses:
    """Looks at the channels of a session's values on a few samples."""

    def __init__(self, session: Session, samples: Sequence[Sample] | None = None) -> None:
        self._session = session
        self._samples = tuple(session.samples(_SAMPLES)) if samples is None else tuple(samples[:_SAMPLES])

    def of(self, node_id: str) -> tuple[Cause, ...]:
        """The causes at a node, those of its unit's output; none where it has one size of channels, or no channels."""
        resolution, graph = self._session.resolve(), self._session.graph
        value = graph.by_id[resolution.unit_of[node_id].last].outputs[0]
        peaks = self._peaks.get(value)
        if peaks is None or resolution.dtypes[value] != "int8":
            return ()
        alive = peaks[peaks > _DEAD * peaks.max(initial=0.0)]
        if len(alive) < 2:
            return ()
        stands_out = alive > OUTLIER * np.median(alive)
        outliers, rest = int(stands_out.sum()), alive[~stands_out]
        if 0 < outliers <= FEW_OUTLIERS * len(alive) and _spread_bits(rest) < SPREAD_BITS - 1.0:
            return (self._outliers(value, alive, outliers, len(peaks)),)
        bits = _spread_bits(alive)
        return (self._spread(value, bits),) if bits >= SPREAD_BITS else ()

    def _outliers(self, value: str, alive: Floats, count: int, channels: int) -> Cause:
        times = alive.max() / np.median(alive)
        are = "is" if count == 1 else "are"
        text = f"{count} of {channels} channels of {self._name(value)} {are} up to {times:.0f}× the median"
        return Cause(CauseKind.OUTLIERS, f"{text}: {self._way_out(value)}")

    def _spread(self, value: str, bits: float) -> Cause:
        text = f"channel ranges of {self._name(value)} differ by 2^{bits:.1f}, and one scale serves all"
        return Cause(CauseKind.CHANNELS, f"{text}: {self._way_out(value)}")

    def _way_out(self, value: str) -> str:
        """Which layers can take the difference, or who is in the way."""
        labels = self._channels.of.get(value)
        if labels is None or not labels.any():
            return f"it cannot be evened out, {self._in_the_way(value)} does not let a factor through; int16 helps"
        readers = self._readers(set(np.unique(labels[labels != 0]).tolist()))
        maker = self._maker(value)
        if maker is not None and isinstance(maker.op, LayerNorm | RMSNorm):
            return f"fold them into {_listed(readers)} (smooth)"
        return f"equalise with {_listed(readers)}"

    def _readers(self, labels: set[int]) -> list[str]:
        places = self._channels.places
        return list(dict.fromkeys(p.node for p in places if p.is_read and labels & set(np.unique(p.labels).tolist())))

    def _in_the_way(self, value: str) -> str:
        """The node that fixes a value: the first behind it that is no layer of its own, or the node that makes it."""
        graph = self._session.graph
        if value in graph.outputs:
            return "being an output of the model"
        stops = [node for node in graph.consumers.get(value, ()) if node.outputs[0] not in self._channels.of]
        node = stops[0] if stops else graph.producer[value]
        return f"'{node.id}' ({node.op.type_name})"

    def _maker(self, value: str) -> Node | None:
        """The node that makes a value, behind what only moves it."""
        graph, labels = self._session.graph, self._channels.of[value]
        numbers = set(np.unique(labels[labels != 0]).tolist())
        makers = (
            p.node for p in self._channels.places if not p.is_read and numbers & set(np.unique(p.labels).tolist())
        )
        return next((graph.by_id[node] for node in makers), None)

    def _name(self, value: str) -> str:
        maker = self._maker(value) if value in self._channels.of else None
        node = maker or self._session.graph.producer[value]
        return f"{node.op.type_name} '{node.id}'"

    @cached_property
    def _channels(self) -> Channels:
        model = self._session.evaluator.model
        return find_channels(self._session.graph, clip_peaks(model, self._samples, lambda: False))

    @cached_property
    def _peaks(self) -> dict[str, Floats]:
        """Largest magnitude of each channel of every value with more than one."""
        graph, peaks = self._session.graph, dict[str, Floats]()
        axes = {value: self._axis(value) for node in graph.nodes for value in node.outputs if value}
        wanted = {value: axis for value, axis in axes.items() if axis is not None}

        def seen(name: str, array: NDArray[np.float32]) -> None:
            axis = wanted[name]
            found = np.abs(array).max(axis=tuple(at for at in range(array.ndim) if at != axis)).astype(np.float64)
            peaks[name] = np.maximum(peaks[name], found) if name in peaks else found

        watch_values(self._session.evaluator.model, self._samples, wanted, seen, lambda: False)
        return peaks

    def _axis(self, value: str) -> int | None:
        """The axis of a value's channels: where its labels change, else 1 for pictures and the last for rows."""
        kind, labels = self._session.graph.types[value], self._channels.of.get(value)
        if not kind.is_float or len(kind.shape) < 2 or not kind.element_count:
            return None
        if labels is not None:
            changing = [axis for axis, size in enumerate(labels.shape) if size > 1]
            return changing[0] if len(changing) == 1 else None
        axis = 1 if len(kind.shape) > 3 else len(kind.shape) - 1
        return axis if kind.shape[axis] > 1 else None


def _spread_bits(peaks: Floats) -> float:
    """Powers of two between the largest channel and the small ones."""
    return float(np.log2(peaks.max() / np.quantile(peaks, _SMALL)))


def _listed(nodes: Sequence[str], most: int = 3) -> str:
    names = ", ".join(f"'{node}'" for node in nodes[:most])
    return names if len(nodes) <= most else f"{names} and {len(nodes) - most} more"
