"""Models through Vela: what of them runs on an Ethos-U, and Vela's estimate beside ours.

    python -m tests.benchmarks.ethos [--config ethos-u85-1024 ...] [--precision int16] [--units] [MODEL ...]

Two lines a model and configuration. The first is Vela's: operators on the NPU, units that it refuses (left to the host,
with its reasons), cycles and memory. The second, where a target of the configuration's name exists, whose plan and
estimate are then the ones that are used, compares the two unit by unit; Vela's operators are booked on our units by the
TOSA operators that they come from. Each figure says whether it is met:

``MACs``
    Multiply-accumulates of convolutions and matrix products of each unit are equal. Where they differ, both counts and
    what is known of it are named: Vela counts half of a first convolution of one channel on an Ethos-U85, and for a
    transposed convolution the zeros between its inputs, which the engine computes.
``traffic``
    Bytes that the NPU reads and writes in SRAM, those in the memory off the chip, and both together, whole bursts
    counted as Vela's report counts them, differ by at most 10 % each.
``Spearman``
    Rank correlation of the times of the units, of those that Vela runs anything for, is at least 0.9.
``bound``
    Of the same units, at least 90 % are bound by the same: by memory where most of a unit's time is spent in operators
    that take longer in a memory than in the engine, by the engine otherwise.

``--units`` prints a row a unit. The demo models, ``swin_block``, the second block of Swin-T with its shifted and masked
windows, and ``efficientnet_lite0`` are the default; names of ``tests.benchmarks.zoo`` are taken too. Vela comes with
``make conformance``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
from onnx.utils import Extractor
from scipy.stats import spearmanr

from engine.clock.estimate import Estimator
from engine.errors import QuantscopeError
from engine.export.ethos_u.records import NodeRow, Summary
from engine.export.options import EthosUOptions, option_fields
from engine.ops.linear import Conv, ConvTranspose
from engine.session import Session
from engine.simulate.ethos.model import EthosModel
from engine.simulate.placement import placements_of
from engine.simulate.timing import NodeTiming
from engine.target.target import list_targets
from tests.benchmarks import zoo
from tests.benchmarks.models import ModelUnavailableError, model_path
from tests.benchmarks.tosa import DEMOS, demo, real
from tests.engine.export.ethos_u.installed import is_installed

BLOCK = "swin_block"
BLOCK_INPUT, BLOCK_OUTPUT = "add_2", "add_9"
BLOCK_SAMPLES = 4
LITE = "efficientnet_lite0"
CONFIGS = ("ethos-u55-256", "ethos-u85-1024")
OTHER_TARGET = "generic-int8"
MOST_LISTED = 4
TRAFFIC_LIMIT = 0.10
RANK_LIMIT = 0.9
BOUND_LIMIT = 0.9
SRAM = "sram"


@dataclass(frozen=True)
class Unit:
    """A unit of the NPU: what Vela says of it, and what we do."""

    row: NodeRow
    ours: NodeTiming

    @property
    def vela_near_bytes(self) -> int:
        return self.row.moved_bytes.get(SRAM, 0)

    @property
    def vela_far_bytes(self) -> int:
        return sum(self.row.moved_bytes.values()) - self.vela_near_bytes

    @property
    def is_bound_alike(self) -> bool:
        engines = self.ours.engines
        memory = engines.dma_us + engines.layout_us
        return (self.row.memory_cycles > self.row.cycles / 2) == (memory > engines.mac_us + engines.vector_us)


def swin_block(folder: Path) -> Session:
    """The second block of Swin-T, [1, 3136, 96] to the same, calibrated on what the model feeds it."""
    model = onnx.load(model_path("swin_t", "swin_t.onnx"))
    block = Extractor(model).extract_model([BLOCK_INPUT], [BLOCK_OUTPUT])
    onnx.save(block, folder / "swin_block.onnx")
    image = model.graph.input[0].name
    before = Extractor(model).extract_model([image], [BLOCK_INPUT])
    runtime = onnxruntime.InferenceSession(before.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1000)
    samples = [
        np.asarray(runtime.run(None, {image: rng.standard_normal((1, 3, 224, 224)).astype(np.float32)})[0])
        for _ in range(BLOCK_SAMPLES)
    ]
    np.savez(folder / "samples.npz", allow_pickle=False, **{BLOCK_INPUT: np.concatenate(samples)})
    session = Session.open(folder / "swin_block.onnx")
    session.calibrate(folder / "samples.npz", samples=BLOCK_SAMPLES)
    return session


def opened(name: str, folder: Path) -> Session:
    """A calibrated session; ``folder`` takes files that it needs while it is used."""
    if name == BLOCK:
        return swin_block(folder)
    return demo(name) if name in DEMOS else real(name, folder)


def rows(name: str, config: str, session: Session, folder: Path, *, by_unit: bool) -> Iterator[str]:
    """The lines on a model for a configuration."""
    start = time.perf_counter()
    path = folder / f"{name}.{config}.ethos-u.json"
    session.export(path, "ethos-u", {"accelerator": config, "refused": "host"})
    summary = msgspec.json.decode(path.read_bytes(), type=Summary)
    seconds = time.perf_counter() - start
    totals = summary.totals
    memory = ", ".join(f"{key} {size / 1024:.0f} KiB" for key, size in totals.memory_bytes.items() if size)
    yield (
        f"{name}, {config} ({summary.system_config}, {summary.memory_mode}), plan for {summary.estimate_target}: "
        f"{totals.npu_operators} of {totals.operators} operators on the NPU in {_count(summary, 'npu')} networks, "
        f"{_refused(summary)}; {totals.cycles:,} cycles = {totals.vela_us / 1e3:.3f} ms; {memory} ({seconds:.1f} s)"
    )
    if summary.estimate_target != summary.accelerator:
        yield f"  ours {totals.estimate_us / 1e3:.3f} ms; no target of this name to compare with"
        return
    units = _units(session, summary)
    yield f"  {_comparison(session, summary, units)}"
    if by_unit:
        yield from map(_unit_text, units)


def _units(session: Session, summary: Summary) -> list[Unit]:
    timing = Estimator(session.graph, session.target).estimate(session.resolve())
    return [Unit(row, timing.nodes[row.id]) for row in summary.nodes if row.where == "npu"]


def _comparison(session: Session, summary: Summary, units: Sequence[Unit]) -> str:
    run = [unit for unit in units if unit.row.cycles]
    near = _ratio(sum(unit.ours.sram_bytes for unit in units), sum(unit.vela_near_bytes for unit in units))
    far = _ratio(sum(unit.ours.dma_bytes for unit in units), sum(unit.vela_far_bytes for unit in units))
    moved = sum(unit.ours.sram_bytes + unit.ours.dma_bytes for unit in units)
    traffic = _ratio(moved, sum(sum(unit.row.moved_bytes.values()) for unit in units))
    rank = float(spearmanr([u.ours.latency_us for u in run], [u.row.cycles for u in run])[0])  # type: ignore[index]
    alike = sum(unit.is_bound_alike for unit in run)
    return "; ".join(
        (
            _macs(session, units),
            f"traffic {traffic:+.1%} (SRAM {near:+.1%}, off the chip {far:+.1%}), "
            f"{_met(max(abs(traffic), abs(near), abs(far)) <= TRAFFIC_LIMIT)}",
            f"Spearman {rank:.3f} of {len(run)} units, {_met(rank >= RANK_LIMIT)}",
            f"bound {alike} of {len(run)}, {_met(alike >= BOUND_LIMIT * len(run))}",
            _weights(session, units),
            f"time {_ratio(summary.totals.estimate_us, summary.totals.vela_us):+.1%}",
        )
    )


def _weights(session: Session, units: Sequence[Unit]) -> str:
    """Bytes of the encoded weights: how far their estimate is off altogether, and on average."""
    model = EthosModel.of(session.graph, session.target)
    assert model is not None
    rows = {unit.row.id: unit.row.weight_bytes for unit in units if unit.row.weight_bytes}
    pairs: list[tuple[int, int]] = []
    for placed in placements_of(session.graph, session.resolve()):
        if placed.anchor in rows:
            found = model.cost(placed, dict.fromkeys(placed.frame.border, True)).passes
            ours = sum(item.repeats * item.weights.encoded_bytes for item in found if item.weights)
            pairs.append((ours, rows[placed.anchor]))
    total = _ratio(sum(ours for ours, _ in pairs), sum(theirs for _, theirs in pairs))
    mean = sum(abs(_ratio(*pair)) for pair in pairs) / max(len(pairs), 1)
    return f"encoded weights {total:+.1%}, of each {mean:.1%} off"


def _macs(session: Session, units: Sequence[Unit]) -> str:
    """Whether the multiply-accumulates are equal, and where not, what is known of it."""
    total = sum(unit.row.estimate_macs for unit in units)
    found = [unit for unit in units if unit.row.macs != unit.row.estimate_macs]
    if not found:
        return f"MACs {total:,}, equal in every unit, met"
    some = ", ".join(
        f"{unit.row.id} {unit.row.estimate_macs:,}, Vela {unit.row.macs:,} ({_known(session, unit.row)})"
        for unit in found[:MOST_LISTED]
    )
    explained = all(_known(session, unit.row) != UNKNOWN for unit in found)
    rest = " …" * (len(found) > MOST_LISTED)
    return f"MACs {total:,}, other in {len(found)} units: {some}{rest}, {_met(explained)} but for these"


UNKNOWN = "not explained"


def _known(session: Session, row: NodeRow) -> str:
    """Why Vela counts other multiply-accumulates than the operator has."""
    node = session.graph.by_id[row.id]
    if isinstance(node.op, ConvTranspose):
        return "the zeros between the inputs of a transposed convolution"
    halved = row.macs * 2 == row.estimate_macs
    if isinstance(node.op, Conv) and halved and session.graph.types[node.inputs[1]].shape[1] == 1:
        return "half of a convolution of one channel"
    return UNKNOWN


def _ratio(ours: float, theirs: float) -> float:
    return ours / theirs - 1.0 if theirs else 0.0


def _met(is_met: bool) -> str:
    return "met" if is_met else "NOT MET"


def _unit_text(unit: Unit) -> str:
    row, ours = unit.row, unit.ours
    alike = "same bound" if unit.is_bound_alike else "OTHER BOUND"
    return (
        f"    {row.id} ({row.op_type}): {row.vela_us:.2f} us, ours {ours.latency_us:.2f}; "
        f"SRAM {unit.vela_near_bytes:,} B, ours {ours.sram_bytes:,}; "
        f"off the chip {unit.vela_far_bytes:,} B, ours {ours.dma_bytes:,}; {alike}"
    )


def _count(summary: Summary, where: str) -> int:
    return sum(segment.where == where for segment in summary.segments)


def _refused(summary: Summary) -> str:
    reasons = Counter(f"{node.op_type}: {node.reason}" for node in summary.nodes if node.where == "host")
    floats = sum(node.where == "cpu" for node in summary.nodes)
    host = "none refused" if not reasons else "; ".join(f"{count} refused, {why}" for why, count in reasons.items())
    return f"{host}, {floats} float"


def main() -> None:
    """Parse arguments and print."""
    choices = next(field.choices for field in option_fields(EthosUOptions) if field.name == "accelerator")[1:]
    names = (*DEMOS, BLOCK, LITE)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="MODEL", help=", ".join(dict.fromkeys((*names, *zoo.CASES))))
    parser.add_argument("--config", action="append", choices=choices, metavar="CONFIG", help=", ".join(choices))
    parser.add_argument("--precision", choices=("int8", "int16"), default="int8")
    parser.add_argument("--units", action="store_true", help="a row a unit as well")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in (*names, *zoo.CASES)]
    if unknown:
        parser.error(f"no model named {', '.join(unknown)}")
    if not is_installed():
        sys.exit("Vela is not installed: make conformance")
    targets = {target.name for target in list_targets()}
    failed = False
    for name in options.names or names:
        with tempfile.TemporaryDirectory() as folder:
            for config in options.config or CONFIGS:
                try:
                    session = opened(name, Path(folder))
                    session.set_target(config if config in targets else OTHER_TARGET)
                    if options.precision != "int8":
                        session.mark("*", options.precision)
                    for line in rows(name, config, session, Path(folder), by_unit=options.units):
                        print(line, flush=True)
                except (QuantscopeError, ModelUnavailableError) as error:
                    print(f"{name}, {config}: {error}", flush=True)
                    failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
