"""The totals without Qt."""

from __future__ import annotations

from dataclasses import dataclass

from gui.document.document import Document
from gui.panels import formats


@dataclass(frozen=True)
class Tile:
    """One figure with its label. ``is_stale`` while it belongs to an older plan."""

    label: str
    value: str
    tip: str = ""
    is_stale: bool = False
    is_warning: bool = False


def tiles_of(document: Document) -> list[Tile]:
    """Latency, throughput, memory traffic, output error, CPU nodes and samples of the open model."""
    return [*_timing_tiles(document), _error_tile(document), _cpu_tile(document), _samples_tile(document)]


def _timing_tiles(document: Document) -> list[Tile]:
    timing = document.results.timed.timing
    stale = not document.is_timed
    latency = formats.number(timing.latency_ms if timing else None, "ms")
    throughput = formats.number(timing.throughput_fps if timing else None)
    traffic = formats.number(timing.ddr_bytes / 1e6 if timing else None, "MB")
    return [
        Tile("Latency", latency, "Estimated time of one inference on the target", stale),
        Tile("FPS", throughput, "Estimated inferences per second", stale),
        Tile("DDR", traffic, "Bytes moved to and from memory in one inference", stale),
    ]


def _error_tile(document: Document) -> Tile:
    errors = document.results.measured.errors
    tip = "SQNR of the model's outputs with everything quantised as planned, with its 95 % interval"
    if errors is None:
        missing = "measuring …" if document.calibration.is_done else "not calibrated"
        return Tile("Output SQNR", missing if document.is_open else formats.MISSING, tip)
    return Tile("Output SQNR", formats.decibels(errors.output_sqnr_db, unit="dB"), tip, not document.is_measured)


def _cpu_tile(document: Document) -> Tile:
    resolved = document.results.resolved
    if not resolved.nodes:
        return Tile("CPU nodes", formats.MISSING)
    listed = "\n".join(f"{refusal.id}: {refusal.reason}" for refusal in resolved.refusals[:12])
    more = len(resolved.refusals) - 12
    tip = "Nodes that the target leaves to the CPU" + (f"\n{listed}" if listed else "")
    tip += f"\nand {more} more" if more > 0 else ""
    return Tile("CPU nodes", f"{resolved.cpu_nodes:,}", tip, not document.is_resolved, resolved.cpu_nodes > 0)


def _samples_tile(document: Document) -> Tile:
    errors = document.results.measured.errors
    tip = "Samples that the errors shown are measured on"
    if document.calibration.data:
        tip += f"\nCalibrated on {document.calibration.data}"
    return Tile("Samples", f"{errors.samples:,}" if errors else formats.MISSING, tip, not document.is_measured)
