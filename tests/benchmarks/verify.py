"""Every stage of real models against programs that nobody here wrote: what ``quantscope verify`` says of them.

    python -m tests.benchmarks.verify [--samples N] [--stage S ...] [NAME ...]

All int8, calibrated on four samples (the demo models on 32). A row a comparison: result, values and elements compared,
elements that differ and the largest difference, the first node, and what was tolerated. The exit status is 1 where a
stage differs. The reference model comes with ``make conformance``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from engine.errors import QuantscopeError
from engine.reports import Agreement, Comparison, Stage
from tests.benchmarks.integer_onnx import DEMO_NAMES, opened
from tests.benchmarks.models import ModelUnavailableError
from tests.benchmarks.zoo import CASES

NAMES = ("efficientnet_lite0", "mobile_fmnist", "swin_fmnist", "pp_ocrv4_rec", "dinov2_vits_focus")
CALIBRATION_SAMPLES = 4


def row(item: Comparison) -> str:
    """One comparison as a line."""
    head = f"  {item.stage:10} {item.party:29} {item.what:30} {item.agreement:11}"
    if item.agreement in (Agreement.UNAVAILABLE, Agreement.FAILED):
        return f"{head} {item.text}"
    worst = f"{item.worst:.3g} {item.unit}".rstrip()
    figures = f"{item.values:5} {item.elements:11} {item.differing:9} {worst:>18}"
    return f"{head} {figures}  {item.text}{f'; first: {item.node}' if item.node else ''}"


def measure(name: str, samples: int, stages: list[Stage]) -> bool:
    """Print the rows of one model; returns whether all agree.

    Raises:
        QuantscopeError: Some stage refuses the model, or it cannot be had.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = opened(name, CALIBRATION_SAMPLES, Path(folder))
        start_s = time.perf_counter()
        found = session.verify(samples, stages)
    where = f"{found.first_stage} differs at {found.first_node}" if found.first_stage else "no stage differs"
    print(f"{name}: {where} ({found.samples} samples, {time.perf_counter() - start_s:.1f} s)")
    for item in found.comparisons:
        print(row(item), flush=True)
    return not found.first_stage


def main() -> int:
    """Parse arguments and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join([*DEMO_NAMES, *CASES])}")
    parser.add_argument("--samples", type=int, default=2, metavar="N", help="to compare with")
    parser.add_argument("--stage", action="append", choices=[stage.value for stage in Stage], help="can be repeated")
    options = parser.parse_args()
    stages = [Stage(name) for name in options.stage or Stage]
    failed = False
    for name in options.names or NAMES:
        try:
            failed |= not measure(name, options.samples, stages)
        except (QuantscopeError, ModelUnavailableError) as error:
            print(f"{name}: {error}", flush=True)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
