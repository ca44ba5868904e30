"""Models through Vela: what of them runs on an Ethos-U, and Vela's estimate beside ours.

    python -m tests.benchmarks.ethos [--config ethos-u85-1024 ...] [--precision int16] [MODEL ...]

A row a model and configuration: operators on the NPU, units that Vela refuses (left to the host, with its reasons),
multiply-accumulates of Vela and of our graph and the units where they differ, Vela's cycles and memory, both estimates,
and how well the two rank the units (Spearman; where a target of the configuration's name exists, whose plan and
estimate are then the ones that are used). The demo models and ``swin_block``, the second block of Swin-T with its
shifted and masked windows, are the default; names of ``tests.benchmarks.zoo`` are taken too. Vela comes with
``make conformance``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
from onnx.utils import Extractor
from scipy.stats import spearmanr

from engine.errors import QuantscopeError
from engine.export.ethos_u.records import Summary
from engine.export.options import EthosUOptions, option_fields
from engine.session import Session
from engine.target.target import list_targets
from tests.benchmarks import zoo
from tests.benchmarks.models import ModelUnavailableError, model_path
from tests.benchmarks.tosa import DEMOS, demo, real
from tests.engine.export.ethos_u.installed import is_installed

BLOCK = "swin_block"
BLOCK_INPUT, BLOCK_OUTPUT = "add_2", "add_9"
BLOCK_SAMPLES = 4
CONFIGS = ("ethos-u55-256", "ethos-u85-1024")
OTHER_TARGET = "generic-int8"
MOST_LISTED = 4


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


def row(name: str, config: str, session: Session, folder: Path) -> str:
    """One line on a model for a configuration."""
    start = time.perf_counter()
    path = folder / f"{name}.{config}.ethos-u.json"
    session.export(path, "ethos-u", {"accelerator": config, "refused": "host"})
    summary = msgspec.json.decode(path.read_bytes(), type=Summary)
    seconds = time.perf_counter() - start
    totals = summary.totals
    memory = ", ".join(f"{key} {size / 1024:.0f} KiB" for key, size in totals.memory_bytes.items() if size)
    return (
        f"{name}, {config} ({summary.system_config}, {summary.memory_mode}), plan for {summary.estimate_target}: "
        f"{totals.npu_operators} of {totals.operators} operators on the NPU in {_count(summary, 'npu')} networks, "
        f"{_refused(summary)}; MACs {totals.macs:,}, ours {totals.estimate_macs:,}{_differing(summary)}; "
        f"{totals.cycles:,} cycles = {totals.vela_us / 1e3:.3f} ms, ours {totals.estimate_us / 1e3:.3f} ms; {memory}; "
        f"{_ranking(summary)} ({seconds:.1f} s)"
    )


def _count(summary: Summary, where: str) -> int:
    return sum(segment.where == where for segment in summary.segments)


def _refused(summary: Summary) -> str:
    reasons = Counter(f"{node.op_type}: {node.reason}" for node in summary.nodes if node.where == "host")
    floats = sum(node.where == "cpu" for node in summary.nodes)
    host = "none refused" if not reasons else "; ".join(f"{count} refused, {why}" for why, count in reasons.items())
    return f"{host}, {floats} float"


def _differing(summary: Summary) -> str:
    """The units whose products Vela counts otherwise."""
    found = [node for node in summary.nodes if node.where == "npu" and node.macs != node.estimate_macs]
    if not found:
        return ", the same in every unit"
    some = ", ".join(f"{node.id} {node.macs:,} / {node.estimate_macs:,}" for node in found[:MOST_LISTED])
    return f", other in {len(found)} units: {some}{' …' * (len(found) > MOST_LISTED)}"


def _ranking(summary: Summary) -> str:
    if summary.estimate_target != summary.accelerator:
        return "no target of this name to compare times with"
    pairs = [(node.estimate_us, node.vela_us) for node in summary.nodes if node.where == "npu"]
    rank = float(spearmanr(*zip(*pairs, strict=True))[0])  # type: ignore[index]
    return f"Spearman of {len(pairs)} units' times {rank:.2f}"


def main() -> None:
    """Parse arguments and print."""
    choices = next(field.choices for field in option_fields(EthosUOptions) if field.name == "accelerator")[1:]
    names = (*DEMOS, BLOCK)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="MODEL", help=", ".join((*names, *zoo.CASES)))
    parser.add_argument("--config", action="append", choices=choices, metavar="CONFIG", help=", ".join(choices))
    parser.add_argument("--precision", choices=("int8", "int16"), default="int8")
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
                    print(row(name, config, session, Path(folder)), flush=True)
                except (QuantscopeError, ModelUnavailableError) as error:
                    print(f"{name}, {config}: {error}", flush=True)
                    failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
