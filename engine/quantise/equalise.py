"""Cross-layer equalisation: channels of one value made alike, at the cost of the weights that make and read them.

Nagel et al. 2019, arXiv:1906.04721, section 4.1, for whatever lets factors through (:mod:`engine.quantise.channels`).
The float model computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from engine.analyze.quality import measure
from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph
from engine.ops.reduce import LayerNorm, RMSNorm
from engine.plan.corrections import Correction, CorrectionStore
from engine.plan.types import Plan
from engine.quantise.balance import (
    STRENGTHS,
    FakeQuantise,
    Floats,
    balanced,
    clip_peaks,
    extrema_of,
    materialised,
    reading_errors,
    readings,
    rows_of,
)
from engine.quantise.channels import Channels, Labels, find_channels
from engine.quantise.observing import ranges_with
from engine.quantise.step import Work

if TYPE_CHECKING:
    from engine.session import Session

JUDGES = 4
"""Samples on which a component's strength is chosen."""

LEAST_GAIN = 0.05
"""By how much the error must fall for a component to be touched."""

TRIAL_SAMPLES = 8
"""On which a component must not cost more at the model's outputs than it brings."""

MOST_TRIALS = 24
"""Of leaving components out; where there are more, several are left out together."""

Chosen = Callable[[Graph, Channels, Labels], Labels]
"""Component numbers that a method deals with, of a graph's channels and components."""


@dataclass(frozen=True)
class Equalise:
    """See the module."""

    title: str = "Equalise channels across layers"

    def __call__(self, session: Session, work: Work) -> Plan:
        """A plan with the equalised model; the session's own where nothing gains."""
        return rebalanced(session, work, without_norms, kind="equalise", title="channels equalised in {} places")


def without_norms(graph: Graph, channels: Channels, components: Labels) -> Labels:
    """Components that no norm makes."""
    every = np.unique(components)
    return np.setdiff1d(every[every != 0], of_norms(graph, channels, components))


def of_norms(graph: Graph, channels: Channels, components: Labels) -> Labels:
    """Components that a LayerNorm or RMSNorm makes."""
    norms = [p.labels for p in channels.places if isinstance(graph.by_id[p.node].op, LayerNorm | RMSNorm)]
    found = np.unique(np.concatenate([components[labels].reshape(-1) for labels in norms])) if norms else np.zeros(0)
    return found[found != 0].astype(np.int64)


def rebalanced(session: Session, work: Work, chosen: Chosen, *, kind: str, title: str) -> Plan:
    """A plan with one correction more: the factors of least error for each of the chosen components.

    Raises:
        CalibrationError, DataError: The session is not calibrated, or has no samples.
        Cancelled: ``work.cancelled()``.
    """
    found = balance(session, work, chosen)
    factors = None if found is None else found.pruned()
    if found is None or factors is None or (factors == 1.0).all():
        return session.plan
    count = len(np.unique(found.components[factors != 1.0]))
    return found.plan(session, factors, kind, title.format(count))


def balance(session: Session, work: Work, chosen: Chosen) -> Balance | None:
    """The factors of least error for each of the chosen components, by the layers that read it; None where there are
    no such components. Raises as :func:`rebalanced`.
    """
    graph, resolution = session.graph, session.resolve()
    model = FloatModel(graph)
    channels = find_channels(graph, clip_peaks(model, work.samples, work.cancelled))
    components = channels.components()
    wanted = chosen(graph, channels, components)
    if not len(wanted):
        return None
    values = materialised(graph, resolution)
    extrema = extrema_of(model, channels, values, work.samples, work.cancelled)
    is_wanted = np.isin(components, wanted)
    reading = (place for place in channels.places if place.is_read and is_wanted[place.labels].any())
    rows = [found for place in reading if (found := rows_of(graph, place)) is not None]
    tried = [np.ones(channels.count)]
    tried += [balanced(channels, rows, extrema, components, np.where(is_wanted, k, np.nan)) for k in STRENGTHS]
    fake = FakeQuantise(resolution)
    readers = [item for item in readings(graph, channels, components) if is_wanted[item.read].any()]
    errors = reading_errors(model, readers, tried, work.samples[:JUDGES], fake, work.cancelled)
    best = best_of(errors)
    strength = np.where(is_wanted, np.array([np.nan, *STRENGTHS])[best[components]], np.nan)
    return Balance(session, work, channels, components, balanced(channels, rows, extrema, components, strength))


def best_of(errors: Floats) -> Labels:
    """The candidate of each component [count], of errors [candidates, count]; the first unless another gains enough."""
    best = errors.argmin(axis=0)
    gained = errors.min(axis=0) < (1.0 - LEAST_GAIN) * errors[0]
    return np.where(gained, best, 0)


class Balance:
    """Plans of a session with factors [count], or without some of them: the ranges of values are measured once for all.

    A value has labels of one component alone, so what one component's factors do to it, those of others do not change.
    """

    def __init__(self, session: Session, work: Work, channels: Channels, components: Labels, factors: Floats) -> None:
        self._session = session
        self._work = work
        self.channels = channels
        self.components = components
        self.factors = factors
        graph = session.graph.with_constants(channels.rescaled(session.graph, factors))
        self._ranges = ranges_with(session, graph, self._changed(factors), work.cancelled)

    def only(self, values: Iterable[str]) -> Floats:
        """The factors of the components that these values are of; 1 for all others."""
        labels = [self.channels.of[value] for value in values if value in self.channels.of]
        wanted = np.unique(np.concatenate([self.components[of].reshape(-1) for of in labels])) if labels else labels
        return np.where(np.isin(self.components, wanted), self.factors, 1.0)

    def touched(self, factors: Floats) -> tuple[str, ...]:
        """The nodes whose constants these factors change."""
        places = (place for place in self.channels.places if (factors[place.labels] != 1.0).any())
        return tuple(dict.fromkeys(place.node for place in places))

    def pruned(self) -> Floats:
        """The factors without those of components that cost more at the model's outputs than they bring.

        The layers that read a value are not all that its error goes through: paths meet again, a softmax follows.
        Components are left out one by one, many of them a few at a time.
        """
        factors, components = self.factors, self.components
        places = np.unique(components[factors != 1.0])
        if not len(places):
            return factors
        best = self._loss(factors)
        for group in np.array_split(places, min(len(places), MOST_TRIALS)):
            without = np.where(np.isin(components, group), 1.0, factors)
            loss = self._loss(without)
            if loss < best:
                factors, best = without, loss
        return factors

    def plan(self, session: Session, factors: Floats, kind: str, title: str) -> Plan:
        """A session's plan with a correction that multiplies labels by factors; thresholds of values that they change
        are gone."""
        changed = self._changed(factors)
        same = self.channels.rescaled(self._session.graph, factors)
        ranges = MappingProxyType({value: self._ranges[value] for value in changed})
        digest = session.corrections.add(Correction(kind=kind, title=title, same=same, ranges=ranges))
        thresholds = {value: bound for value, bound in session.plan.thresholds.items() if value not in ranges}
        return replace(session.plan.with_correction(digest), thresholds=MappingProxyType(thresholds))

    def _loss(self, factors: Floats) -> float:
        """At the model's outputs. What is tried is not kept: each is as large as the weights that it changes."""
        store, twin = CorrectionStore(), self._session.with_plan(self._session.plan)
        for digest in self._session.plan.corrections:
            store.add(self._session.corrections.get(digest))
        twin.corrections = store
        twin.set_plan(self.plan(twin, factors, "trial", ""))
        return measure(twin, self._work.samples[:TRIAL_SAMPLES], self._work.cancelled).loss

    def _changed(self, factors: Floats) -> list[str]:
        return [value for value, labels in self.channels.of.items() if (factors[labels] != 1.0).any()]
