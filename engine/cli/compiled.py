"""``quantscope compile`` and ``quantscope timeline``: the compiled model for a person, as JSON, and as a trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec

from engine.bindings import parse_bindings
from engine.cli.output import print_table, write_json
from engine.errors import GraphError, PlanError
from engine.ops.other import Unsupported
from engine.plan.compile_options import CompileOptions, Goal, Level
from engine.reports import Compilation, KernelReport, PassReport, Timeline
from engine.session import Session

_Choice = TypeVar("_Choice", bound=StrEnum)

_SLOWEST = 10
"""Kernels of the table; the JSON has all."""


@dataclass(frozen=True)
class Choices:
    """What the command line asks of the compiler; None is what the project says, or the default."""

    target: str | None = None
    bind: Sequence[str] = ()
    batch: int | None = None
    goal: str | None = None
    weight: float | None = None
    level: str | None = None
    cores: int | None = None


def compile_model(path: Path, choices: Choices, json: Path | None) -> None:
    """Print and write what the compiler makes of a model."""
    session = _opened(path, choices)
    found = session.compilation()
    kinds = _time_by_operator(session)
    engines = _time_by_engine(found.timeline)
    options, batch = session.plan.compile, choices.batch or 1
    print(f"{session.graph.name} on {found.target}, {_options_text(options, session.target.core_count, batch)}")
    print_table("passes", ("pass", "what it did", "before", "after", ""), [_pass_row(item) for item in found.passes])
    print(_totals(found, batch))
    busy = (f"{name} {share:.1%}" for name, share in found.utilisation.items() if share > 0.0)
    print(f"engines busy: {', '.join(busy)}")
    print(f"the frame waits for: {_shares_text(engines)}")
    print(f"time by operator: {_shares_text(kinds)}")
    _print_slowest(found.timeline.kernels)
    print(f"stated error of {found.target}: {found.stated_error}")
    _print_warnings(session)
    record = _record(found, options, batch, engines, kinds)
    write_json(json, {**record, "cpu_nodes": session.cpu_nodes(), "regions": session.regions()})


def _print_warnings(session: Session) -> None:
    """What of the plan the compiler could not follow, and what its times do not know."""
    cpu = session.cpu_nodes()
    if cpu:
        reasons = {item.id: item.reason for item in session.refusals()}
        why = f": {reasons[cpu[0]]}" if cpu[0] in reasons else ""
        print(f"warning: {len(cpu)} nodes run on the CPU, see `quantscope check`; the first is '{cpu[0]}'{why}")
    for region in session.regions():
        if not region.legal:
            print(f"warning: region {region.name} has no effect: {region.reason}")
    for node in session.graph.nodes:
        if isinstance(node.op, Unsupported):
            print(f"warning: the time of '{node.id}' is a guess: it {node.op.problem}")


def write_timeline(path: Path, output: Path, frames: int, choices: Choices, json: Path | None) -> None:
    """Write the simulated schedule as a trace."""
    session = _opened(path, choices)
    events = session.write_timeline(output, frames)
    found = session.compilation()
    jobs = len(found.timeline.engine) * frames
    print(f"wrote {output}: {jobs:,} jobs of {frames} frame(s), {found.latency_ms:.3f} ms a frame on {found.target}")
    print("  open it at https://ui.perfetto.dev or chrome://tracing")
    record = {"path": str(output), "target": found.target, "frames": frames, "jobs": jobs, "events": events}
    write_json(json, {**record, "latency_ms": found.latency_ms})


def _opened(path: Path, choices: Choices) -> Session:
    """The session with the choices in place of the project's.

    Raises:
        PlanError: A choice is none.
        GraphError: The model's batch is fixed.
    """
    session = Session.open(path, target=choices.target, bindings=parse_bindings(list(choices.bind)))
    session.set_plan(replace(session.plan, compile=_options(session.plan.compile, choices)))
    if choices.batch is None or choices.batch == 1:
        return session
    twin = session.batched(choices.batch)
    if twin is None:
        raise GraphError("its batch is fixed", path=path, hint="leave out --batch, or export it with a symbolic batch")
    return twin


def _options(saved: CompileOptions, choices: Choices) -> CompileOptions:
    goal = saved.goal if choices.goal is None else _member(Goal, choices.goal, "goal")
    if choices.weight is not None and goal is not Goal.BALANCED:
        raise PlanError("--weight is for the goal balanced", hint="add --goal balanced, or leave it out")
    return msgspec.structs.replace(
        saved,
        goal=goal,
        weight=saved.weight if choices.weight is None else choices.weight,
        level=saved.level if choices.level is None else _member(Level, choices.level, "level"),
        cores=saved.cores if choices.cores is None else choices.cores,
    )


def _member(kind: type[_Choice], text: str, what: str) -> _Choice:
    try:
        return kind(text)
    except ValueError as error:
        hint = f"choose one of {', '.join(item.value for item in kind)}"
        raise PlanError(f"there is no {what} '{text}'", hint=hint) from error


def _options_text(options: CompileOptions, cores: int, batch: int) -> str:
    goal = f"{options.goal.value} (DDR traffic {options.weight:g})" if options.goal is Goal.BALANCED else options.goal
    return f"goal {goal}, level {options.level.value}, {options.cores or cores} core(s), batch {batch}"


def _pass_row(item: PassReport) -> tuple[str, ...]:
    return item.name, item.text, _figure(item.before), _figure(item.after), item.unit


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _totals(found: Compilation, batch: int) -> str:
    rate = f"{found.throughput_fps:.1f} frames/s"
    if batch > 1:
        rate += f" of {batch} samples, {found.throughput_fps * batch:.1f} samples/s"
    before, after = found.layout_bytes
    memory = found.memory
    return (
        f"{found.latency_ms:.3f} ms, {rate}, {found.ddr_bytes / 1e6:.2f} MB of DDR traffic, "
        f"layout moves {after:,} B of {before:,} B, "
        f"on-chip peak {memory.peak_bytes:,} B of {memory.capacity_bytes:,} B, {_overhead(found):.3f} of its bound"
    )


def _overhead(found: Compilation) -> float:
    """Peak of the memory plan by the least that any plan needs; 1 where nothing stays on the chip."""
    memory = found.memory
    return memory.peak_bytes / memory.lower_bound_bytes if memory.lower_bound_bytes else 1.0


def _time_by_engine(timeline: Timeline) -> dict[str, float]:
    """Share of the frame that the critical path spends in each engine, largest first; they sum to 1. What no engine
    works at is the host's."""
    spent: dict[str, float] = {}
    columns = zip(timeline.engine, timeline.start_us, timeline.end_us, timeline.is_critical, strict=True)
    for engine, start_us, end_us, is_critical in columns:
        if is_critical:
            name = timeline.engines[engine]
            spent[name] = spent.get(name, 0.0) + end_us - start_us
    return _shares({**spent, "host": timeline.total_us - sum(spent.values())})


def _time_by_operator(session: Session) -> dict[str, float]:
    """Share of the frame by what the nodes are, largest first; the host's overhead is ``io``."""
    kinds = {node.id: node.kind for node in session.graph_info().nodes}
    spent: dict[str, float] = {}
    for node in session.estimate().nodes:
        spent[kinds[node.id]] = spent.get(kinds[node.id], 0.0) + node.latency_us
    return _shares(spent)


def _shares(spent: Mapping[str, float]) -> dict[str, float]:
    total = sum(spent.values())
    ranked = sorted(spent.items(), key=lambda item: -item[1])
    return {name: us / total for name, us in ranked if us > 0.0}


def _shares_text(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items()) or "nothing"


def _print_slowest(kernels: Sequence[KernelReport]) -> None:
    ranked = sorted(kernels, key=lambda kernel: -kernel.latency_us)[:_SLOWEST]
    rows = [
        (
            kernel.region or kernel.anchor,
            f"{len(kernel.nodes)}",
            f"{kernel.tiles}",
            f"{kernel.latency_us:.1f}",
            kernel.bound,
            f"{kernel.ddr_bytes:,}",
            kernel.why,
        )
        for kernel in ranked
    ]
    title = f"the slowest {len(rows)} of {len(kernels)} kernels"
    print_table(title, ("kernel", "nodes", "tiles", "µs", "bound", "DDR bytes", "why"), rows, numeric=(1, 2, 3, 5))


def _record(
    found: Compilation,
    options: CompileOptions,
    batch: int,
    engines: Mapping[str, float],
    kinds: Mapping[str, float],
) -> dict[str, object]:
    memory = found.memory
    return {
        "target": found.target,
        "options": options,
        "batch": batch,
        "latency_ms": found.latency_ms,
        "throughput_fps": found.throughput_fps,
        "ddr_bytes": found.ddr_bytes,
        "layout_bytes": {"before": found.layout_bytes[0], "after": found.layout_bytes[1]},
        "memory": {
            "capacity_bytes": memory.capacity_bytes,
            "peak_bytes": memory.peak_bytes,
            "lower_bound_bytes": memory.lower_bound_bytes,
            "overhead": _overhead(found),
            "dram_peak_bytes": memory.dram_peak_bytes,
            "planner": memory.planner,
        },
        "utilisation": found.utilisation,
        "time_by_engine": engines,
        "time_by_operator": kinds,
        "stated_error": found.stated_error,
        "passes": found.passes,
        "kernels": found.timeline.kernels,
    }
