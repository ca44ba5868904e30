"""The ``ethos-u`` export: integer segments compiled by Vela, and a summary of where what runs and how long it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from engine.errors import ExportError
from engine.export.ethos_u.compile import Compilation, Compiler, accelerator_of
from engine.export.ethos_u.records import NodeRow, Summary
from engine.export.ethos_u.summary import summarised, written_segments
from engine.export.ethos_u.vela import find_vela
from engine.export.options import EthosUOptions
from engine.files import write_atomic, write_failure

if TYPE_CHECKING:
    from engine.session import Session

SUFFIX = ".ethos-u.json"
_FOLDER_SUFFIX = ".ethos-u"
_SLOWEST = 3
_MEMORY_NAMES = {
    "sram": "SRAM",
    "dram": "DRAM",
    "on_chip_flash": "on-chip flash",
    "off_chip_flash": "off-chip flash",
}


def write_ethos_u(session: Session, path: Path, options: EthosUOptions) -> tuple[str, ...]:
    """Compile the session's present plan and write the summary to ``path``; returns notes for people.

    For a path NAME.ethos-u.json, the folder NAME.ethos-u takes the segments' TOSA files, segment.tosa, segment.2.tosa,
    …, and beside each what Vela made of it: segment_vela.tflite (or segment_vela.npz), segment_per-layer.csv,
    segment_summary_….csv and segment_debug.xml. All are computed before any is written, the summary last.

    Raises:
        CalibrationError: The session is not calibrated.
        ExportError: Vela is not installed, refuses a unit or crashes on it, nothing is integer, an instruction has no
            TOSA form, or a file cannot be written.
    """
    session.program()
    vela = find_vela()
    with TemporaryDirectory(prefix="quantscope-") as scratch:
        compilation = Compiler(session, vela, options, Path(scratch)).run()
    _demand_some(compilation, path)
    written = written_segments(compilation)
    summary = summarised(session, compilation, written, accelerator_of(session, options), vela.version)
    contents = {name: data for item in written for name, data in item.contents.items()}
    folder = path.with_name(f"{path.name.removesuffix(SUFFIX)}{_FOLDER_SUFFIX}")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as failure:
        raise write_failure(path, failure, ExportError) from failure
    for name, data in contents.items():
        write_atomic(folder / name, data, ExportError)
    write_atomic(path, msgspec.json.format(msgspec.json.encode(summary), indent=1), ExportError)
    return (*_notes(summary, compilation), f"beside it: {folder.name}, {len(contents)} files, TOSA and Vela's")


def _demand_some(compilation: Compilation, path: Path) -> None:
    if any(step.compiled for step in compilation.steps):
        return
    if compilation.refusals:
        reason = next(iter(compilation.refusals.values()))
        raise ExportError(f"Vela refuses every node: {reason}", path=path, hint="choose another accelerator")
    raise ExportError("no node is computed in integers", path=path, hint="mark some int8 or int16")


def _notes(summary: Summary, compilation: Compilation) -> Iterator[str]:
    totals = summary.totals
    yield f"Vela {summary.vela} for {summary.accelerator} ({summary.system_config}, {summary.memory_mode})"
    share = "all" if totals.npu_operators == totals.operators else f"{totals.npu_operators:,} of"
    yield f"{share} {totals.operators:,} operators of its network{'s' * (len(summary.segments) > 1)} run on the NPU"
    yield from _left_over(summary, compilation.refusals)
    if compilation.halved:
        times = "once" if len(compilation.halved) == 1 else f"{len(compilation.halved)} times"
        yield f"{times}, Vela did not take a network whole ({compilation.halved[0]}), but its halves"
    yield (
        f"Vela's estimate: {totals.cycles:,} cycles at {summary.clock_hz / 1e6:g} MHz = {totals.vela_us / 1e3:.3f} ms; "
        f"ours of the same nodes on {summary.estimate_target}: {totals.estimate_us / 1e3:.3f} ms"
    )
    sizes = [f"{_MEMORY_NAMES[name]} {size / 1024:,.1f} KiB" for name, size in totals.memory_bytes.items() if size]
    yield f"memory: {', '.join(sizes)}; {totals.macs:,} multiply-accumulates (ours: {totals.estimate_macs:,})"
    slowest = sorted(summary.nodes, key=lambda row: row.cycles, reverse=True)[:_SLOWEST]
    yield "slowest: " + ", ".join(_timed(row, totals.cycles) for row in slowest)


def _left_over(summary: Summary, refusals: Mapping[str, str]) -> Iterator[str]:
    """What is not on the NPU."""
    floats = sum(row.where == "cpu" for row in summary.nodes)
    if floats:
        yield f"{floats} float nodes are not compiled: compute them between the segments"
    for reason, count in Counter(refusals.values()).items():
        units = [unit for unit, why in refusals.items() if why == reason]
        what = "1 unit is" if count == 1 else f"{count} units are"
        yield f"{what} left to the host, refused by Vela ({reason}): {_listed(units)}"


def _listed(units: Sequence[str]) -> str:
    return ", ".join(units[:_SLOWEST]) + (f" and {len(units) - _SLOWEST} more" if len(units) > _SLOWEST else "")


def _timed(row: NodeRow, cycles: int) -> str:
    share = 100 * row.cycles / cycles if cycles else 0.0
    return f"{row.id} {row.vela_us:.1f} µs ({share:.0f} %, ours {row.estimate_us:.1f} µs)"
