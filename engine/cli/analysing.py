"""What ``analyze`` says beyond the errors of nodes, each part where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.analyze.causes import attribute
from engine.analyze.explain import channel_errors, output_errors, parting
from engine.analyze.sensitivity import analysis_of
from engine.cli.opening import open_project
from engine.cli.output import decibels, print_table, progress_bar
from engine.reports import Interval
from engine.reports_analysis import (
    Attribution,
    Cause,
    ChannelErrors,
    NodeSensitivity,
    OutputError,
    Part,
    Parting,
    SampleError,
)
from engine.session import Session

MOST_CHANNELS = 12
MOST_GAPS = 12
"""Rows that are printed of what may have thousands; the JSON has all."""


@dataclass(frozen=True)
class Parts:
    """What is asked for: sensitivities, causes, the channels of a node, so many worst samples, another project."""

    sensitivity: bool = False
    causes: bool = False
    channels: str | None = None
    worst_samples: int = 0
    compare: Path | None = None


def never() -> bool:
    return False


def tell(session: Session, samples: int, parts: Parts) -> Mapping[str, object]:
    """Measure and print what is asked for; returns it by the keys of the JSON, None for what is not asked for.

    Raises:
        PlanError: There is no such node, or the other project has another model.
    """
    outputs = output_errors(session, samples, never)
    _print_outputs(outputs, parts.worst_samples)
    return {
        "outputs": [_output_record(item, parts.worst_samples) for item in outputs],
        "sensitivity": _sensitivity(session, samples) if parts.sensitivity else None,
        "causes": _causes(session, samples) if parts.causes else None,
        "channels": _channels(session, parts.channels, samples) if parts.channels else None,
        "comparison": _comparison(session, parts.compare, samples) if parts.compare else None,
    }


def _text(interval: Interval) -> str:
    return decibels(interval.mean, interval.half_width)


def _print_outputs(outputs: Sequence[OutputError], worst: int) -> None:
    """One line an output where there are several, and the worst samples where they are asked for."""
    if len(outputs) < 2 and not worst:
        return
    rows = [(item.name, _text(item.sqnr_db), _samples_text(item.samples[:worst])) for item in outputs]
    columns = ("output", "dB", "worst samples (dB)")
    print_table("outputs", columns if worst else columns[:2], rows if worst else [row[:2] for row in rows], (1,))


def _samples_text(samples: Sequence[SampleError]) -> str:
    return ", ".join(f"{item.sample} ({decibels(item.sqnr_db)})" for item in samples) or "–"


def _output_record(item: OutputError, worst: int) -> Mapping[str, object]:
    return {
        "name": item.name,
        "node": item.node,
        "sqnr_db": item.sqnr_db.mean,
        "sqnr_half_width_db": item.sqnr_db.half_width,
        "worst_samples": msgspec.to_builtins(item.samples[:worst]),
    }


def _sensitivity(session: Session, samples: int) -> list[Mapping[str, object]]:
    analysis = analysis_of(session, tuple(Part))
    total = session.sample_count(samples)
    with progress_bar("sensitivity") as progress:
        for sample in session.samples(total):
            analysis.add(sample, never)
            progress(analysis.samples, total)
    found = sorted(analysis.report().nodes, key=lambda item: -item.noise)
    rows = [
        (item.id, _text(item.output_db), _text(item.weights_db), _text(item.activations_db), f"{item.noise:.2e}")
        for item in found
    ]
    columns = ("node", "output dB", "weights alone dB", "activations alone dB", "noise")
    print_table("sensitivity: only this node quantised", columns, rows, (1, 2, 3, 4))
    return [_sensitivity_record(item) for item in found]


def _sensitivity_record(item: NodeSensitivity) -> Mapping[str, object]:
    return {
        "id": item.id,
        "output_db": item.output_db.mean,
        "output_half_width_db": item.output_db.half_width,
        "noise": item.noise,
        "weights_db": item.weights_db.mean,
        "weights_half_width_db": item.weights_db.half_width,
        "activations_db": item.activations_db.mean,
        "activations_half_width_db": item.activations_db.half_width,
    }


def _causes(session: Session, samples: int) -> list[Mapping[str, object]]:
    units = session.resolve().units
    found = [item for item in attribute(session, [unit.anchor for unit in units], samples, never) if item.causes]
    rows = [(item.id, _text(item.introduced_db), *(_share(item, cause) for cause in Cause)) for item in found]
    columns = ("unit", "introduced dB", *(cause.value for cause in Cause))
    print_table("what each unit introduces, by cause", columns, rows, tuple(range(1, len(columns))))
    return [_cause_record(item) for item in found]


def _share(item: Attribution, cause: Cause) -> str:
    share = next((part.share for part in item.causes if part.cause is cause), None)
    if share is None or share.mean is None:
        return "–"
    text = f"{100 * share.mean:.0f} %"
    return text if share.half_width is None else f"{text} ±{100 * share.half_width:.0f}"


def _cause_record(item: Attribution) -> Mapping[str, object]:
    return {
        "id": item.id,
        "introduced_db": item.introduced_db.mean,
        "introduced_half_width_db": item.introduced_db.half_width,
        "causes": [
            {
                "cause": part.cause.value,
                "share": part.share.mean,
                "share_half_width": part.share.half_width,
                "alone_db": part.alone_db.mean,
            }
            for part in item.causes
        ],
    }


def _channels(session: Session, pattern: str, samples: int) -> Mapping[str, object]:
    found = channel_errors(session, session.find(pattern)[0], samples, never)
    _print_channels(found)
    return msgspec.to_builtins(found)


def _print_channels(found: ChannelErrors) -> None:
    known = [(db, channel) for channel, db in enumerate(found.sqnr_db) if db is not None]
    rows = [(str(channel), decibels(db)) for db, channel in sorted(known)[:MOST_CHANNELS]]
    title = f"{found.id}: the worst of {len(found.sqnr_db)} channels (axis {found.axis})"
    print_table(title, ("channel", "dB"), rows, (0, 1))


def _comparison(session: Session, path: Path, samples: int) -> Mapping[str, object]:
    found = parting(session, open_project(path), samples, never)
    _print_parting(found, path)
    nodes = [
        {
            "id": gap.id,
            "gain_db": gap.gain_db.mean,
            "gain_half_width_db": gap.gain_db.half_width,
            "between_db": gap.between_db.mean,
        }
        for gap in found.nodes
    ]
    return {"project": str(path), "first": found.first, "largest": found.largest, "nodes": nodes}


def _print_parting(found: Parting, path: Path) -> None:
    if not found.first:
        print(f"no value differs from {path}")
        return
    print(f"the runs part at {found.first}, most at {found.largest}; dB better (+) or worse (−) than {path}:")
    changed = [gap for gap in found.nodes if gap.between_db.mean is not None]
    changed.sort(key=lambda gap: -abs(gap.gain_db.mean or 0.0))
    rows = [(gap.id, _text(gap.gain_db), decibels(gap.between_db.mean)) for gap in changed[:MOST_GAPS]]
    print_table("largest differences", ("node", "gain dB", "between dB"), rows, (1, 2))
