"""What the commands do: open a session, ask it, print and write what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from engine.bindings import parse_bindings
from engine.calibrate.recipe import load_recipe
from engine.cli.analysing import Parts, tell
from engine.cli.opening import open_project, print_warnings
from engine.cli.output import decibels, print_table, progress_bar, write_json
from engine.errors import CalibrationError, ExportError, GraphError, PlanError, ProjectError, TargetError
from engine.files import check_folder, write_atomic
from engine.ops.other import Unsupported
from engine.project import SUFFIX
from engine.reports import Accumulator, Agreement, Comparison, RegionVerdict, Stage, Timing, Verification
from engine.session import Session

PRESET_SAMPLES = 64
"""Calibration samples that a preset takes, unless told otherwise."""


def new(
    model: Path,
    calibration: Path,
    output: Path,
    target: str,
    recipe: Path | None,
    samples: int | None,
    method: str | None,
    power_of_two: bool,
    split: str | None,
    bind: list[str],
    preset: str | None,
    max_int16: float | None,
    json: Path | None,
) -> None:
    """Calibrate a model, run a preset on it if there is one, and write its project."""
    from dataclasses import replace

    from engine.cli.quantising import check_preset, run_preset

    if output.suffix != SUFFIX:
        raise ProjectError(f"a project's name ends in {SUFFIX}", path=output)
    check_folder(output, ProjectError)
    if preset is not None:
        check_preset(preset)
    elif max_int16 is not None:
        raise PlanError("--max-int16 is the limit of a preset", hint="give --preset too")
    session = Session.open(model, target=target, bindings=parse_bindings(bind))
    if method is not None:
        session.set_plan(replace(session.plan, default_method=method))
    session.set_plan(replace(session.plan, power_of_two=power_of_two))
    with progress_bar("calibrating") as progress:
        result = session.calibrate(
            calibration, recipe=recipe, samples=samples, split=split, quick=preset == "fast", progress=progress
        )
    if preset is not None:
        run_preset(session, preset, samples or PRESET_SAMPLES, max_int16)
    session.save(output)
    on = "1 sample" if result.samples == 1 else f"{result.samples} samples"
    print(f"wrote {output}: {len(session.graph.nodes)} nodes, calibrated on {on} for {target}")
    print_warnings(session)
    record = {"project": str(output), "nodes": len(session.graph.nodes), "samples": result.samples, "target": target}
    write_json(json, record)


def mark(project: Path, pattern: str, precision: str, json: Path | None) -> None:
    """Request a precision and save the project."""
    session = open_project(project)
    nodes = session.mark(pattern, precision)
    session.save(project)
    plans = {plan.id: plan for plan in session.node_plans()}
    rows = [(node, plans[node].requested, plans[node].effective, plans[node].reason) for node in nodes]
    print_table(f"{len(nodes)} nodes marked {precision}", ("node", "requested", "effective", "reason"), rows)
    write_json(json, {"project": str(project), "nodes": [plans[node] for node in nodes]})


def fuse(project: Path, patterns: list[str], name: str | None, dissolve: str | None, json: Path | None) -> None:
    """Add a fusion region to the project, or remove one, and save it."""
    if bool(patterns) == bool(dissolve):
        raise PlanError("say which nodes to fuse or which region to dissolve", hint="give --node or --dissolve")
    if dissolve and name is not None:
        raise PlanError("--name is for a region that is made", hint="give --node with it, or --dissolve alone")
    session = open_project(project)
    if dissolve:
        removed = session.dissolve(dissolve)
        print(f"dissolved {removed.name}: {len(removed.nodes)} nodes")
    else:
        nodes = tuple(dict.fromkeys(node for pattern in patterns for node in session.find(pattern)))
        _print_verdict(session.fuse(nodes, name))
    session.save(project)
    verdicts = [session.region_verdict(region.nodes, region.name) for region in session.plan.regions]
    write_json(json, {"project": str(project), "regions": verdicts})


def _print_verdict(verdict: RegionVerdict) -> None:
    saving = f"{verdict.saving_us or 0.0:.1f} us and {verdict.saved_bytes or 0} B of DDR traffic"
    print(f"fused {len(verdict.nodes)} nodes as {verdict.name}: saves {saving}")
    if len(verdict.written) > 1:
        print(f"  written in full, because other nodes read them: {', '.join(verdict.written)}")
    if verdict.note:
        print(f"  {verdict.note}")


def check(path: Path, target: str | None, bind: list[str], accumulators: bool, json: Path | None) -> None:
    """List the nodes that do not run on the chip or not as requested, and whether sums fit their accumulators."""
    session = Session.open(path, target=target, bindings=parse_bindings(bind))
    refusals = session.refusals()
    cpu = session.cpu_nodes()
    title = (
        f"{session.graph.name} on {session.target.name}: {len(session.graph.nodes)} nodes, {len(cpu)} on the CPU, "
        f"{len(refusals)} not as requested"
    )
    advice = session.advice()
    latency_us = 1e3 * session.estimate().latency_ms if refusals else 0.0
    rows = [
        (item.id, item.op_type, item.effective, item.reason, other.rewrite or "–", _effect(other.change_us, latency_us))
        for item, other in zip(refusals, advice.rewrites, strict=True)
    ]
    print_table(title, ("node", "operator", "effective", "reason", "what would", "latency"), rows)
    rewritten = sum(item.checked for item in advice.rewrites)
    if rewritten > 1:
        print(f"all {rewritten} rewrites together: {_effect(advice.change_us, latency_us)}")
    nodes, regions = session.node_plans(), session.regions()
    for region in regions:
        state = "one kernel" if region.legal else f"has no effect: {region.reason}"
        print(f"region {region.name}, {len(region.nodes)} nodes: {state}")
    sums = session.accumulators() if session.calibration is not None else ()
    _print_accumulators(session, sums, accumulators)
    record = {"target": session.target.name, "cpu_nodes": cpu, "refusals": refusals, "nodes": nodes, "regions": regions}
    write_json(json, {**record, **msgspec.structs.asdict(advice), "accumulators": sums})
    stopped = _unsupported(session)
    if stopped:
        (first, problem), *others = stopped
        raise GraphError(f"{problem} (and {len(others)} more)" if others else problem, path=path, node=first)


def _effect(change_us: float | None, latency_us: float) -> str:
    """What rewrites do to the latency."""
    return "not estimated" if change_us is None else f"{change_us:+,.1f} us of {latency_us:,.1f}"


def _unsupported(session: Session) -> list[tuple[str, str]]:
    """The nodes that cannot run, each with the reason and the way out."""
    return [(node.id, node.op.problem) for node in session.graph.nodes if isinstance(node.op, Unsupported)]


def _print_accumulators(session: Session, sums: Sequence[Accumulator], all_of_them: bool) -> None:
    """One line on all sums and those without a proof, or every sum."""
    if session.calibration is None:
        if all_of_them:
            hint = "make one with `quantscope new`"
            raise CalibrationError("accumulators are proved of a calibrated project", hint=hint)
        return
    unproved = [item for item in sums if not item.proof]
    title = f"{len(sums) - len(unproved)} of {len(sums)} accumulators proved not to overflow"
    columns = ("node", "operator", "bits", "at most", "bits to spare", "sum", "proved from")
    shown = sums if all_of_them else unproved
    print_table(title, columns, [_accumulator_row(item) for item in shown], numeric=(2, 3, 4))


def _accumulator_row(item: Accumulator) -> tuple[str, ...]:
    if item.headroom_bits is None:
        return (item.id, item.op_type, "–", "–", "–", item.instruction, "nothing: it has no proof")
    figures = (f"{item.bits}", f"{item.largest:,}", f"{item.headroom_bits:.1f}")
    return (item.id, item.op_type, *figures, item.stage, item.proof)


def analyze(project: Path, samples: int, parts: Parts, json: Path | None) -> None:
    """Print and write errors and times of all nodes, and what else is asked for."""
    session = open_project(project)
    with progress_bar("measuring") as progress:
        errors = session.analyze(samples, progress)
    timing = session.estimate()
    plans = {plan.id: plan for plan in session.node_plans()}
    measured = {error.id: error for error in errors.nodes}
    times = {time.id: time for time in timing.nodes}
    rows: list[tuple[str, ...]] = []
    records: list[Mapping[str, object]] = []
    for node in session.graph.nodes:
        plan, time, error = plans[node.id], times[node.id], measured.get(node.id)
        accumulated = error.accumulated_db if error else None
        introduced = error.introduced_db if error else None
        rows.append(
            (
                node.id,
                node.op.type_name,
                plan.requested,
                plan.effective,
                decibels(accumulated.mean, accumulated.half_width) if accumulated else "–",
                decibels(introduced.mean, introduced.half_width) if introduced else "–",
                f"{time.latency_us:.1f}",
                time.bound,
            )
        )
        records.append(
            {
                "id": node.id,
                "name": node.name,
                "op_type": node.op.type_name,
                "requested": plan.requested,
                "effective": plan.effective,
                "reason": plan.reason,
                "sqnr_accumulated_db": accumulated.mean if accumulated else None,
                "sqnr_accumulated_half_width_db": accumulated.half_width if accumulated else None,
                "sqnr_introduced_db": introduced.mean if introduced else None,
                "sqnr_introduced_half_width_db": introduced.half_width if introduced else None,
                "cosine": error.cosine if error else None,
                "mse": error.mse if error else None,
                "max_abs": error.max_abs if error else None,
                "latency_us": time.latency_us,
                "bound": time.bound,
                "why": time.why,
                "dma_bytes": time.dma_bytes,
                "macs": time.macs,
            }
        )
    columns = ("node", "operator", "requested", "effective", "accumulated dB", "introduced dB", "µs", "bound")
    print_table(f"{session.graph.name} on {session.target.name}", columns, rows, numeric=(4, 5, 6))
    output = errors.output_sqnr_db
    print(f"output {decibels(output.mean, output.half_width)} dB over {errors.samples} samples; {_totals(timing)}")
    write_json(
        json,
        {
            **_timing_record(timing),
            "samples": errors.samples,
            "output_sqnr_db": output.mean,
            "output_sqnr_half_width_db": output.half_width,
            "cpu_nodes": len(session.cpu_nodes()),
            "nodes": records,
            **tell(session, samples, parts),
        },
    )


def _totals(timing: Timing) -> str:
    return (
        f"estimated {timing.latency_ms:.3f} ms, {timing.throughput_fps:.1f} frames/s, "
        f"{timing.ddr_bytes / 1e6:.2f} MB of DDR traffic on {timing.target}\n"
        f"stated error of {timing.target}: {timing.stated_error}"
    )


def _timing_record(timing: Timing) -> dict[str, object]:
    return {
        "target": timing.target,
        "latency_ms": timing.latency_ms,
        "throughput_fps": timing.throughput_fps,
        "ddr_bytes": timing.ddr_bytes,
        "stated_error": timing.stated_error,
    }


def evaluate(
    project: Path, data: Path, split: str | None, samples: int | None, recipe: Path | None, json: Path | None
) -> None:
    """Print and write the task metric."""
    session = open_project(project)
    chosen = None if recipe is None else load_recipe(recipe)
    with progress_bar("evaluating") as progress:
        found = session.evaluate(data, recipe=chosen, split=split, samples=samples, progress=progress)
    if found.float_top1 is not None and found.quantised_top1 is not None:
        drop = found.float_top1 - found.quantised_top1
        print(f"top-1 float {found.float_top1:.2%}, quantised {found.quantised_top1:.2%}, drop {drop:.2%}")
    print(
        f"agreement {found.agreement:.2%}, output {found.output_sqnr_db:.1f} dB, "
        f"{found.samples} samples, {found.cpu_nodes} nodes on the CPU"
    )
    write_json(json, found)


def verify(project: Path, samples: int, stages: list[str], json: Path | None) -> bool:
    """Print and write what other programs say about each stage; returns whether all agree."""
    known = {stage.value: stage for stage in Stage}
    for name in stages:
        if name not in known:
            raise PlanError(f"there is no stage '{name}'", hint=f"choose one of {', '.join(known)}")
    session = open_project(project)
    chosen = [known[name] for name in stages] or list(Stage)
    with progress_bar("verifying") as progress:
        found = session.verify(samples, chosen, lambda _, done, total: progress(done, total))
    rows = [
        (item.stage, item.party, item.what, item.agreement, *_counts(item), item.node, item.text)
        for item in found.comparisons
    ]
    columns = ("stage", "compared with", "of", "result", "values", "elements", "differ", "worst", "first node", "note")
    print_table(f"{session.graph.name}, {found.samples} samples", columns, rows, numeric=(4, 5, 6, 7))
    _print_mismatches(found)
    if found.first_stage:
        where = f", at {found.first_node}" if found.first_node else ""
        print(f"the first stage that differs is {found.first_stage}{where}")
    else:
        print("no stage differs")
    write_json(json, found)
    return not found.first_stage


_MOST_MISMATCHES = 20
"""Lines of the table of mismatches; the JSON has all."""


def _print_mismatches(found: Verification) -> None:
    """The values that differ by more than is tolerated, in the comparisons that fail."""
    failed = {(i.stage, i.party, i.what) for i in found.comparisons if i.agreement is Agreement.DIFFERS}
    beyond = [item for item in found.mismatches if item.beyond and (item.stage, item.party, item.what) in failed]
    if not beyond:
        return
    rows = [
        (i.stage, i.what, i.node, i.value, f"{i.elements}", f"{i.beyond}", _in_units(i.worst, i.unit))
        for i in beyond[:_MOST_MISMATCHES]
    ]
    columns = ("stage", "of", "node", "value", "elements", "beyond", "worst")
    print_table(f"{len(beyond)} values differ by more than is tolerated", columns, rows, numeric=(4, 5, 6))


def _counts(item: Comparison) -> tuple[str, str, str, str]:
    if item.agreement in (Agreement.UNAVAILABLE, Agreement.FAILED):
        return "–", "–", "–", "–"
    worst = _in_units(item.worst, item.unit) if item.worst else "0"
    return f"{item.values}", f"{item.elements}", f"{item.differing}", worst


def _in_units(value: float, unit: str) -> str:
    return f"{value:.3g} {unit.removesuffix('s') if value == 1 else unit}".rstrip()


def estimate(path: Path, target: str | None, bind: list[str], json: Path | None) -> None:
    """Print and write the timing."""
    session = Session.open(path, target=target, bindings=parse_bindings(bind))
    timing = session.estimate()
    kinds = {node.id: node.op.type_name for node in session.graph.nodes}
    rows = [
        (time.id, kinds[time.id], f"{time.latency_us:.1f}", time.bound, f"{time.dma_bytes}", f"{time.macs}", time.why)
        for time in timing.nodes
    ]
    columns = ("node", "operator", "µs", "bound", "DMA bytes", "MACs", "why")
    print_table(f"{session.graph.name} on {timing.target}", columns, rows, numeric=(2, 4, 5))
    print(_totals(timing))
    for node, problem in _unsupported(session):
        print(f"warning: the time of '{node}' is a guess: it {problem}")
    records = [
        {
            "id": time.id,
            "op_type": kinds[time.id],
            "latency_us": time.latency_us,
            "bound": time.bound,
            "why": time.why,
            "dma_bytes": time.dma_bytes,
            "macs": time.macs,
        }
        for time in timing.nodes
    ]
    write_json(json, {**_timing_record(timing), "samples": 0, "nodes": records})


def export(project: Path, format: str, output: Path, options: list[str], json: Path | None) -> None:
    """Write an export and say what it holds."""
    summary = open_project(project).export(output, format, _chosen(options))
    print(f"wrote {summary.path} ({summary.format}, {summary.size_bytes} bytes)")
    for note in summary.notes:
        print(f"  {note}")
    write_json(json, summary)


def _chosen(texts: list[str]) -> dict[str, str]:
    """Options from texts "name=value".

    Raises:
        ExportError: One has no "=".
    """
    for text in texts:
        if "=" not in text:
            raise ExportError(f"'{text}' is no option", hint="write NAME=VALUE, for example accelerator=ethos-u85-256")
    return {name.strip(): value.strip() for name, _, value in (text.partition("=") for text in texts)}


def run(package: Path, inputs: Path, outputs: Path, json: Path | None) -> None:
    """Execute a package on arrays."""
    from engine.export.run import run_file

    shapes = run_file(package, inputs, outputs)
    print(f"wrote {outputs}: " + ", ".join(f"{name} {shape}" for name, shape in shapes.items()))
    write_json(json, {"outputs": str(outputs), "shapes": shapes})


def list_targets(json: Path | None) -> None:
    """Print and write the targets' names."""
    from engine.target.target import list_targets as known

    targets = known()
    print_table("targets", ("name", "title", "summary"), [(t.name, t.title, t.summary) for t in targets])
    write_json(json, [{"name": t.name, "title": t.title, "summary": t.summary} for t in targets])


def show_target(name: str, json: Path | None) -> None:
    """Print and write every figure of a target."""
    from engine.target.target import figures, load_target

    target = load_target(name)
    rows = [(path, f"{figure.value:g}", figure.unit, figure.source) for path, figure in figures(target)]
    print_table(target.title, ("figure", "value", "unit", "source"), rows, numeric=(1,))
    records = {path: {"value": f.value, "unit": f.unit, "source": f.source} for path, f in figures(target)}
    write_json(json, {"name": target.name, "title": target.title, "figures": records})


def fit_target(measurements: Path, models: Path, name: str, output: Path | None, json: Path | None) -> None:
    """Fit a target; print and write what came of it."""
    from engine.cli.fitting import print_fit, record_of
    from engine.fit.fitting import fit_target as fit
    from engine.fit.measurements import read_measurements
    from engine.target.edit import target_text
    from engine.target.target import load_target

    target = load_target(name)
    rows = read_measurements(measurements, models)
    with progress_bar("fitting") as progress:
        found = fit(target, rows, measurements, progress)
    print_fit(found, target)
    if output is not None:
        write_atomic(output, target_text(found.target), TargetError)
        print(f"wrote {output}")
    write_json(json, record_of(found))
