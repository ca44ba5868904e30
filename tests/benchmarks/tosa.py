"""TOSA exports on the TOSA reference model against the integer program, every value of every instruction.

    python -m tests.benchmarks.tosa [--precision int16] [--samples N] [--outputs] [NAME ...]

A row a model and sample: integer segments, their TOSA operators and size, how many values and elements were compared,
and how many elements differ (must be: none). ``--outputs`` compares the outputs of the segments alone, of the files as
the export writes them. Unless named: the demo models, EfficientNet-Lite0, PP-OCRv4 recognition and DINOv2 ViT-S, all
calibrated and run on real inputs (Fashion-MNIST, photographs, rendered text lines); other names of
``tests.benchmarks.zoo`` are taken too. The reference model comes with ``make conformance``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from engine.calibrate.recipe import load_recipe
from engine.errors import QuantscopeError, ThirdPartyError
from engine.session import Session
from engine.verify.tosa import compare_tosa
from engine.verify.tosa_reference import find_reference_model
from tests.benchmarks import zoo
from tests.benchmarks.models import ModelUnavailableError, cache_folder, model_path

MODELS = Path(__file__).resolve().parents[2] / "resources" / "models"
DEMOS = ("swin_fmnist", "mobile_fmnist")
NAMES = (*DEMOS, "efficientnet_lite0", "pp_ocrv4_rec", "dinov2_vits_focus")
"""The models that exports are held to."""

CALIBRATION_SAMPLES = 16


def demo(name: str) -> Session:
    """A demo model, calibrated on its own samples."""
    session = Session.open(MODELS / f"{name}.onnx")
    recipe = MODELS / "fmnist.toml"
    session.calibrate(MODELS / "fmnist_samples.npz", recipe=recipe, samples=CALIBRATION_SAMPLES)
    return session


def real(name: str, folder: Path) -> Session:
    """A model of the zoo, calibrated as there; ``folder`` takes its samples while they are needed."""
    case = zoo.CASES[name]
    session = Session.open(model_path(name, f"{name}.onnx"), bindings=case.bindings)
    recipe = case.recipe
    if case.samples is None:
        data = zoo.photographs()
        recipe = recipe or load_recipe(cache_folder() / f"{name}.toml")
    else:
        data = folder / "samples.npz"
        np.savez(data, allow_pickle=False, **case.samples(CALIBRATION_SAMPLES, 1000))
    session.calibrate(data, recipe=recipe, samples=CALIBRATION_SAMPLES)
    return session


def rows(name: str, options: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    """A line for each sample, and whether it is as it must be."""
    with tempfile.TemporaryDirectory() as folder:
        session = demo(name) if name in DEMOS else real(name, Path(folder))
        if options.precision != "int8":
            session.mark("*", options.precision)
        for index, sample in enumerate(session.samples(options.samples)):
            start = time.perf_counter()
            found = compare_tosa(session, [sample.inputs], intermediates=not options.outputs)
            tally = found.tally
            size = sum(len(segment.data) for segment in found.segments)
            operators = sum(segment.operators for segment in found.segments)
            text = (
                f"{name} {options.precision}, sample {index}: {len(found.segments)} segments, {operators} operators, "
                f"{size / 1e6:.2f} MB; {len(tally.values)} values, {tally.elements} elements, "
                f"{tally.differing} differ "
                f"({time.perf_counter() - start:.1f} s)"
            )
            first = tally.first()
            yield (f"{text}; the first value is {first}" if first else text), not first


def main() -> None:
    """Parse arguments and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*DEMOS, *zoo.CASES)))
    parser.add_argument("--precision", choices=("int8", "int16"), default="int8")
    parser.add_argument("--samples", type=int, default=1, metavar="N")
    parser.add_argument("--outputs", action="store_true", help="compare the outputs of the segments alone")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in (*DEMOS, *zoo.CASES)]
    if unknown:
        parser.error(f"no model named {', '.join(unknown)}")
    try:
        find_reference_model()
    except ThirdPartyError as error:
        sys.exit(str(error))
    torch.set_num_threads(1)
    failed = False
    for name in options.names or NAMES:
        try:
            for text, good in rows(name, options):
                print(text, flush=True)
                failed |= not good
        except (QuantscopeError, ModelUnavailableError) as error:
            print(f"{name}: {error}", flush=True)
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
