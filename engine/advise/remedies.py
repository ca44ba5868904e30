"""Remedies: each turns a session into plans that may lose less. None changes the session; all are judged afterwards.

A remedy for one place is a function in this file with ``@_remedy``. One that looks at samples first is one with
``@_for_places``: it proposes for several places together, so that samples pass through the model once. One for the
whole model has ``@_for_model``. Their docstrings say what the user reads about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np

from engine.calibrate.result import METHOD_NAMES, TensorRange
from engine.errors import PlanError
from engine.graph.graph import Graph, Node
from engine.ops.elementwise import Unary
from engine.ops.other import Input
from engine.plan.corrections import Correction
from engine.plan.resolve import passes_through
from engine.plan.types import Plan, Unit
from engine.precision import Precision
from engine.qtype import INTEGER_RANGE
from engine.quantise.channels import Channels, Labels
from engine.quantise.equalise import balance, of_norms
from engine.quantise.promote import Budget, Promote
from engine.quantise.registry import INT8_STEPS, STEPS
from engine.quantise.rounding import rounded_alone
from engine.quantise.step import Work
from engine.session import Session

INT8_LEVELS = INTEGER_RANGE["int8"][1]

QUICK_STEPS = INT8_STEPS
"""Methods that are tried on the whole model: each takes seconds."""

_COSTLY = ("smooth", "equalise", "clipping", "rounding")
"""Of these, those that take many passes over a large model, and are tried last."""

_SPENT = Budget(share=0.10, latency=1.10)
"""On int16 where it pays."""

_SAME_RANGE = 0.02
"""Ranges that differ by no more than this are one."""

RANGE_FACTORS = (0.5, 0.7, 1.4)
"""Times the present range: clipping twice as much, a little more, and less."""


@dataclass(frozen=True)
class Proposal:
    """A plan to try: ``title`` is one line for the user, ``nodes`` those that it is about."""

    title: str
    plan: Plan
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """One unit of a session's plan, where remedies are tried."""

    session: Session
    unit: Unit

    @property
    def graph(self) -> Graph:
        return self.session.graph

    @property
    def plan(self) -> Plan:
        return self.session.plan

    @property
    def node(self) -> Node:
        """The node that the unit is named after."""
        return self.graph.by_id[self.unit.anchor]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The float values that the unit makes."""
        return tuple(v for v in self.graph.by_id[self.unit.last].outputs if v and self.graph.types[v].is_float)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The float values that the unit reads, where they got their scale: behind whatever passes integers on."""
        nodes = [self.graph.by_id[node] for node in self.unit.nodes]
        own = {value for node in nodes for value in node.outputs}
        read = (value for node in nodes for value in self.graph.activations(node) if value not in own)
        return tuple(dict.fromkeys(self._origin(v) for v in read if self.graph.types[v].is_float))

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The nodes of the units that make what the unit reads."""
        units = self.session.resolve().unit_of
        makers = (self.graph.producer.get(value) for value in self.inputs)
        return tuple(dict.fromkeys(node for maker in makers if maker for node in units[maker.id].nodes))

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """The nodes of the units that read what the unit makes, movement left out."""
        units, found, pending = self.session.resolve().unit_of, dict[str, None](), list(self.outputs)
        while pending:
            for reader in self.graph.consumers.get(pending.pop(), ()):
                if self._passes(reader):
                    pending.extend(reader.outputs)
                else:
                    found |= dict.fromkeys(units[reader.id].nodes)
        return tuple(found)

    def threshold(self, value: str) -> float | None:
        """The magnitude at which a value is clipped at 8 bits; None where it is not 8 bits wide."""
        qtype = self.session.program().types.get(value)
        return None if qtype is None or qtype.dtype != "int8" else qtype.scale * INT8_LEVELS

    def marked(self, nodes: tuple[str, ...], precision: Precision) -> Plan:
        """The plan with a precision asked for the nodes."""
        return self.plan.mark(nodes, precision)

    def _origin(self, value: str) -> str:
        node = self.graph.producer.get(value)
        while node is not None and self._passes(node) and len(self.graph.activations(node)) == 1:
            value = self.graph.activations(node)[0]
            node = self.graph.producer.get(value)
        return value

    def _passes(self, node: Node) -> bool:
        resolution = self.session.resolve()
        alone = len(resolution.unit_of[node.id].nodes) == 1
        return alone and passes_through(node, resolution.effective[node.id].precision, self.plan.requested(node.id))


Remedy = Callable[[Site], Iterator[Proposal]]
"""Plans that may mend a place, of which the best counts. Proposing costs next to nothing."""

ModelRemedy = Callable[[Session, Work], Iterator[Proposal]]
"""Plans that may mend the whole model, fitted on the samples of the work."""

PlacesRemedy = Callable[[Session, "Sequence[Site]", Work], Iterator["FittedProposal"]]
"""Plans for several places of a session, each for one of them alone, fitted on the samples of the work."""

_REMEDIES: dict[str, Remedy] = {}
_PLACES_REMEDIES: dict[str, PlacesRemedy] = {}
_MODEL_REMEDIES: dict[str, ModelRemedy] = {}


def _remedy(name: str) -> Callable[[Remedy], Remedy]:
    def add(remedy: Remedy) -> Remedy:
        _REMEDIES[name] = remedy
        return remedy

    return add


def _for_places(name: str) -> Callable[[PlacesRemedy], PlacesRemedy]:
    def add(remedy: PlacesRemedy) -> PlacesRemedy:
        _PLACES_REMEDIES[name] = remedy
        return remedy

    return add


def _for_model(name: str) -> Callable[[ModelRemedy], ModelRemedy]:
    def add(remedy: ModelRemedy) -> ModelRemedy:
        _MODEL_REMEDIES[name] = remedy
        return remedy

    return add


@_remedy("range")
def other_range(site: Site) -> Iterator[Proposal]:
    """Another range for what the node makes: by another method, wider, or narrower."""
    for value in site.outputs:
        yield from _ranges(site, value, "its output")


@_remedy("input range")
def other_input_range(site: Site) -> Iterator[Proposal]:
    """Another range for what the node reads."""
    for value in site.inputs:
        yield from _ranges(site, value, f"its input {_short(value)}")


def _ranges(site: Site, value: str, what: str) -> Iterator[Proposal]:
    present = site.threshold(value)
    known = None if site.session.calibration is None else site.session.calibration.ranges.get(value)
    if present is None or known is None:
        return
    producer = site.graph.producer.get(value)
    nodes = () if producer is None else (producer.id,)
    tried = [present]
    for method, threshold in _by_method(known):
        if threshold and _is_another(threshold, tried):
            title = f"range of {what} by {method}: ±{threshold:.3g} instead of ±{present:.3g}"
            yield Proposal(title, _with_method(site.plan, value, method), nodes)
    for factor in RANGE_FACTORS:
        threshold = float(f"{min(factor * present, known.absolute_maximum or present):.6g}")
        if _is_another(threshold, tried):
            title = f"range of {what}: ±{threshold:.3g} instead of ±{present:.3g}"
            yield Proposal(title, site.plan.with_thresholds({value: threshold}), nodes)


def _by_method(known: TensorRange) -> Iterator[tuple[str, float]]:
    """The thresholds of all methods that the calibration has."""
    for method in METHOD_NAMES:
        with suppress(PlanError):  # measured by an older version
            yield method, known.threshold(method, INT8_LEVELS)


def _is_another(threshold: float, tried: list[float]) -> bool:
    """Whether a threshold differs from those tried by enough to matter; it is one of them from then on."""
    if any(abs(threshold / other - 1.0) <= _SAME_RANGE for other in tried):
        return False
    tried.append(threshold)
    return True


def _with_method(plan: Plan, value: str, method: str) -> Plan:
    thresholds = {name: known for name, known in plan.thresholds.items() if name != value}
    methods = MappingProxyType({**plan.methods, value: method})
    return replace(plan, methods=methods, thresholds=MappingProxyType(thresholds))


@_remedy("int16")
def wide_output(site: Site) -> Iterator[Proposal]:
    """16 bits for what the node makes."""
    yield Proposal("int16 output", site.marked(site.unit.nodes, Precision.INT16), site.unit.nodes)


@_remedy("int16 inputs")
def wide_inputs(site: Site) -> Iterator[Proposal]:
    """16 bits for what the node reads."""
    if site.sources:
        title = f"int16 inputs: {_named(site, site.sources)}"
        yield Proposal(title, site.marked(site.sources, Precision.INT16), site.sources)


@_remedy("int16 with inputs")
def wide_with_inputs(site: Site) -> Iterator[Proposal]:
    """16 bits for the node and what it reads."""
    if site.sources:
        nodes = (*site.unit.nodes, *site.sources)
        yield Proposal(f"int16 together with {_named(site, site.sources)}", site.marked(nodes, Precision.INT16), nodes)


@_remedy("int16 with readers")
def wide_with_readers(site: Site) -> Iterator[Proposal]:
    """16 bits for the node and all that reads it, as along a residual stream."""
    if site.readers:
        nodes = (*site.unit.nodes, *site.readers)
        yield Proposal(f"int16 together with {_named(site, site.readers)}", site.marked(nodes, Precision.INT16), nodes)


@_remedy("finer table")
def finer_table(site: Site) -> Iterator[Proposal]:
    """A table of 513 interpolated entries on 16-bit input in place of one of 256 on 8 bits; the output keeps 8 bits."""
    is_table = site.session.resolve().effective[site.unit.last].precision is Precision.LUT
    if is_table and site.sources and all(isinstance(site.graph.by_id[n].op, Unary) for n in site.unit.nodes):
        plan = site.marked(site.sources, Precision.INT16).mark(site.unit.nodes, Precision.LUT)
        title = f"table of 513 entries on int16 input from {_named(site, site.sources)}"
        yield Proposal(title, plan, (*site.unit.nodes, *site.sources))


@_remedy("float")
def on_the_cpu(site: Site) -> Iterator[Proposal]:
    """Float, on the CPU."""
    yield Proposal("float on the CPU", site.marked(site.unit.nodes, Precision.FLOAT), site.unit.nodes)


@dataclass(frozen=True)
class FittedProposal:
    """A proposal for one place: the name of its kind of remedy, and the unit (its anchor) that it is for."""

    kind: str
    node: str
    proposal: Proposal


@_for_places("rounding")
def rounded(session: Session, sites: Sequence[Site], work: Work) -> Iterator[FittedProposal]:
    """Weights rounded for what the node puts out on the integers that it reads, all other nodes as they are."""
    site_of = {node: site for site in sites for node in site.unit.nodes}
    for node, correction in rounded_alone(session, work, site_of):
        site = site_of[node]
        plan = session.plan.with_correction(session.corrections.add(correction))
        yield FittedProposal("rounding", site.unit.anchor, Proposal(_PARTS["rounding"], plan, site.unit.nodes))


@_for_places("evened channels")
def evened_out(session: Session, sites: Sequence[Site], work: Work) -> Iterator[FittedProposal]:
    """Channels of what the node makes, or reads, made alike, at the cost of the nodes around it alone."""
    values = {value for site in sites for value in (*site.outputs, *site.inputs)}
    norms: set[int] = set()

    def touched(graph: Graph, channels: Channels, components: Labels) -> Labels:
        norms.update(of_norms(graph, channels, components).tolist())
        of = (np.unique(components[channels.of[value]]) for value in values if value in channels.of)
        return np.array(sorted({number for numbers in of for number in numbers.tolist() if number}), np.int64)

    found = balance(session, work, touched)
    if found is None:
        return
    for site in sites:
        own = dict.fromkeys(site.outputs, "its output") | dict.fromkeys(site.inputs, "its input")
        for value, what in own.items():
            factors = found.only((value,))
            moved = set(np.unique(found.components[factors != 1.0]).tolist())
            if not moved:
                continue
            kind = "smooth" if moved & norms else "equalise"
            nodes = found.touched(factors)
            others = tuple(node for node in nodes if node not in site.unit.nodes)
            title = f"channels of {what} evened out with {_named(site, others)}"
            plan = found.plan(session, factors, kind, f"{title} ({site.unit.anchor})")
            yield FittedProposal(kind, site.unit.anchor, Proposal(title, plan, nodes))


def _by_parts(name: str) -> PlacesRemedy:
    """Of a method for the whole model, what it does for each place alone."""

    def propose(session: Session, sites: Sequence[Site], work: Work) -> Iterator[FittedProposal]:
        """The place's part of the method."""
        whole = STEPS[name](session, work)
        for site in sites:
            for kind, proposal in parts_for(site, whole):
                yield FittedProposal(kind, site.unit.anchor, proposal)

    return propose


_PLACES_REMEDIES.update((name, _by_parts(name)) for name in ("weights", "bias"))


@_for_model("all int16")
def all_wide(session: Session, work: Work) -> Iterator[Proposal]:
    """16 bits for everything that the target has at 16 bits."""
    yield Proposal("int16 everywhere", widest(session))


@_for_model("method")
def other_method(session: Session, work: Work) -> Iterator[Proposal]:
    """Another calibration method for all values that have none of their own."""
    for method in METHOD_NAMES:
        if method != session.plan.default_method:
            yield Proposal(f"all ranges by {method}", replace(session.plan, default_method=method))


def _by_step(name: str) -> ModelRemedy:
    """A method of :mod:`engine.quantise` on the whole model."""

    def propose(session: Session, work: Work) -> Iterator[Proposal]:
        """The method's plan, if it has one."""
        step = STEPS[name]
        plan = step(session, work)
        if plan != session.plan:
            yield Proposal(_title_of(session, plan) or step.title, plan)

    return propose


def _title_of(session: Session, plan: Plan) -> str:
    """What the corrections say that a plan has beyond the session's."""
    new = (digest for digest in plan.corrections if digest not in session.plan.corrections)
    return "; ".join(session.corrections.get(digest).title for digest in new)


_MODEL_REMEDIES.update((name, _by_step(name)) for name in sorted(QUICK_STEPS, key=_COSTLY.__contains__))


@_for_model("promote")
def where_it_pays(session: Session, work: Work) -> Iterator[Proposal]:
    """16 bits for the few nodes whose rounding the outputs feel most, within a tenth of the operators and the time."""
    plan = Promote(_SPENT)(session, work)
    if plan != session.plan:
        own = (session.resolve().effective, session.with_plan(plan).resolve().effective)
        nodes = [node.id for node in session.graph.nodes if not isinstance(node.op, Input)]
        before, after = (tuple(n for n in nodes if found[n].precision is Precision.INT16) for found in own)
        share = len(after) / max(1, len(nodes))
        title = f"int16 where it pays: {len(after)} of {len(nodes)} operators ({share:.1%})"
        yield Proposal(title, plan, tuple(node for node in after if node not in before))


@_for_model("balanced")
def all_steps(session: Session, work: Work) -> Iterator[Proposal]:
    """The corrections one after another, each fitted behind the ones before it."""
    plan = session.plan
    for name in QUICK_STEPS:
        plan = STEPS[name](session.with_plan(plan), work)
    if plan != session.plan:
        yield Proposal(f"all of these, one behind the other: {', '.join(QUICK_STEPS)}", plan)


def widest(session: Session) -> Plan:
    """The plan with int16 asked for all nodes, but for those that the user wants in float."""
    plan = session.plan
    nodes = (node.id for node in session.graph.nodes if plan.requested(node.id) is not Precision.FLOAT)
    return plan.mark(tuple(nodes), Precision.INT16)


def parts_for(site: Site, plan: Plan) -> Iterator[tuple[str, Proposal]]:
    """Of the corrections that a plan has beyond the session's what concerns one unit alone, each with its kind.

    Equalisation is no matter of one unit: what one is multiplied by, others are divided by.
    """
    store, nodes = site.session.corrections, [site.graph.by_id[node] for node in site.unit.nodes]
    constants = {name for node in nodes for name in node.inputs}
    for digest in plan.corrections:
        whole = store.get(digest)
        if digest in site.plan.corrections or whole.same:
            continue
        part = Correction(
            kind=whole.kind,
            title=f"{whole.kind} of {site.unit.anchor}",
            weights={name: array for name, array in whole.weights.items() if name in constants},
            weight_scales={name: array for name, array in whole.weight_scales.items() if name in constants},
            biases={name: array for name, array in whole.biases.items() if name in site.unit.nodes},
        )
        if part.weights or part.weight_scales or part.biases:
            title = _PARTS.get(whole.kind, f"{whole.kind} of this layer alone")
            yield whole.kind, Proposal(title, site.plan.with_correction(store.add(part)), site.unit.nodes)


_PARTS: Mapping[str, str] = MappingProxyType(
    {
        "bias": "its mean error taken off its bias",
        "weights": "its weight scales chosen by their error",
        "rounding": "its weights rounded for what it puts out",
    }
)

REMEDIES: Mapping[str, Remedy] = MappingProxyType(_REMEDIES)
"""Remedies for one place, by name."""

PLACES_REMEDIES: Mapping[str, PlacesRemedy] = MappingProxyType(_PLACES_REMEDIES)
"""Remedies for several places at once, by name."""

MODEL_REMEDIES: Mapping[str, ModelRemedy] = MappingProxyType(_MODEL_REMEDIES)
"""Remedies for the whole model, by name."""


def _named(site: Site, nodes: tuple[str, ...]) -> str:
    units = site.session.resolve().unit_of
    anchors = list(dict.fromkeys(units[node].anchor for node in nodes))
    if len(anchors) > 2:
        return f"{len(anchors)} others"
    return " and ".join("the input" if isinstance(site.graph.by_id[a].op, Input) else _short(a) for a in anchors)


def _short(name: str) -> str:
    return name.strip("/").rpartition("/")[2] or name
