"""Every real model through the whole engine: estimate, calibrate, analyse, export, and what its errors are.

    python -m tests.benchmarks.zoo [--samples N] [--calibration N] [--method mse] [--worst N] [--accuracy] [NAME ...]

All int8 by default on ``journey5``, calibrated and analysed on the same few samples (``--calibration`` takes more to
calibrate with). A row a model:

nodes, cpu      nodes after import; those that compute float values on the CPU
SQNR dB         of the model's outputs against the float model, and the node that adds most error to its own output
est ms          estimated latency
cal s           seconds a sample takes to calibrate with, one thread
package         ``same bits`` where the exported package gives the session's own outputs on every sample
qdq dB          the exported QDQ model in ONNX Runtime against the integer program's outputs

Below each row: the operators on the CPU with reasons, and the ``--worst`` nodes with the largest introduced error.
``--accuracy`` adds a task metric where there is labelled data: top-1 (photographs), character error rate (text lines),
heat-map correlation (DINOv2).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from engine.calibrate.recipe import Recipe, load_recipe
from engine.calibrate.result import METHOD_NAMES
from engine.errors import QuantscopeError
from engine.export.registry import export_session
from engine.export.run import load_package
from engine.reports import Errors, NodeError
from engine.session import Session
from tests.benchmarks.models import ModelUnavailableError, cache_folder, find_shared, model_path

Arrays = Mapping[str, NDArray[np.generic]]
REPOSITORY = Path(__file__).resolve().parents[2]
LINES = 300
"""Text lines that recognition is evaluated on, as in ``../shared/eval/ocr.py``."""


@dataclass(frozen=True)
class Case:
    """A model, the sizes of its free dimensions, and where its samples come from.

    ``samples`` makes arrays by input name, [count, ...], from the number of samples and a seed; None: photographs, read
    with ``recipe`` (None: the one beside the model). ``metric`` is the task's figure of merit, as text.
    """

    bindings: Mapping[str, int] = field(default_factory=dict[str, int])
    samples: Callable[[int, int], Arrays] | None = None
    recipe: Recipe | None = None
    metric: Callable[[Session], str] | None = None


def shared_folder() -> Path:
    """``../shared``, or ModelUnavailableError."""
    shared = find_shared()
    if shared is None:
        raise ModelUnavailableError("../shared is absent: there are no samples")
    return shared


def ocr_module() -> ModuleType:
    """The module that renders and scores text lines."""
    path = shared_folder() / "eval" / "ocr.py"
    spec = importlib.util.spec_from_file_location("shared_ocr", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ModelUnavailableError(f"{path} is absent: there are no text lines")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_lines(count: int, seed: int) -> Arrays:
    """Rendered lines [N, 3, 48, 320]."""
    ocr = ocr_module()
    return {"x": ocr.tensor([picture for picture, _ in ocr.lines(count, seed)])}


def text_directions(count: int, seed: int) -> Arrays:
    """Rendered lines [N, 3, 48, 192], every second one upside down."""
    ocr = ocr_module()
    lines = [picture for picture, _ in ocr.lines(count, seed)]
    turned = [line.rotate(180) if index % 2 else line for index, line in enumerate(lines)]
    return {"x": np.ascontiguousarray(ocr.tensor(turned)[..., :192])}


def text_pages(count: int, seed: int) -> Arrays:
    """Pages of rendered lines [N, 3, 320, 320], RGB by ImageNet's mean and deviation."""
    drawn = [picture for picture, _ in ocr_module().lines(count * 5, seed)]
    pages = np.empty((count, 3, 320, 320), np.float32)
    for index in range(count):
        page = Image.new("RGB", (320, 320), (235, 235, 230))
        for row, line in enumerate(drawn[index * 5 : index * 5 + 5]):
            line.thumbnail((300, 48))
            page.paste(line, (10, 10 + row * 60))
        scaled = np.asarray(page, np.float32) / 255
        pages[index] = ((scaled - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)
    return {"x": pages}


def token_ids(count: int, seed: int) -> Arrays:
    """Sentences of 8 to 60 tokens, padded to 128: start, words, end, padding."""
    generator = np.random.default_rng(seed)
    ids, mask = np.zeros((count, 128), np.int64), np.zeros((count, 128), np.int64)
    for row in range(count):
        length = int(generator.integers(8, 60))
        ids[row, :length] = generator.integers(1996, 20000, length)
        ids[row, 0], ids[row, length - 1] = 101, 102
        mask[row, :length] = 1
    return {"input_ids": ids, "attention_mask": mask}


def notes(count: int, seed: int) -> Arrays:
    """About 2 s of decaying harmonic tones at 22,050 Hz, [N, 43844, 1]."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(43844) / 22050
    audio = np.zeros((count, 43844, 1), np.float32)
    for row in audio:
        for start_s in generator.uniform(0.0, 1.8, 6):
            pitch_hz = 440.0 * 2 ** (float(generator.integers(-24, 24)) / 12)
            age_s = np.maximum(time_s - start_s, 0.0)
            tone = sum(np.sin(2 * np.pi * pitch_hz * k * age_s) / k for k in range(1, 6))
            row[:, 0] += 0.15 * np.exp(-3.0 * age_s) * (time_s >= start_s) * tone
    return {"serving_default_input_2:0": audio}


CONTENTS = (
    "LICENSE",
    "Makefile",
    "README.md",
    "engine/errors.py",
    "gui/__init__.py",
    "pyproject.toml",
    "requirements.lock",
)
"""Files whose types are told, then the shipped models and samples."""


def file_contents(count: int, seed: int) -> Arrays:
    """The first and last 1,024 bytes of ``count`` files of this repository, [N, 2048]; 256 is padding."""
    shipped = sorted(path for kind in ("onnx", "npz", "toml") for path in REPOSITORY.glob(f"resources/*/*.{kind}"))
    files = [REPOSITORY / name for name in CONTENTS] + shipped
    chosen = np.random.default_rng(seed).permutation(len(files))[:count]
    rows = np.full((count, 2048), 256, np.int32)
    for row, index in zip(rows, chosen, strict=False):
        content = np.frombuffer(files[index].read_bytes(), np.uint8)
        first, last = content[:1024], content[-1024:]
        row[: len(first)] = first
        row[2048 - len(last) :] = last
    return {"bytes": rows}


def top1(session: Session) -> str:
    """Top-1 on the evaluation photographs."""
    found = session.evaluate(photographs())
    assert found.float_top1 is not None and found.quantised_top1 is not None
    drop = found.float_top1 - found.quantised_top1
    return (
        f"top-1 {found.float_top1:.2%} to {found.quantised_top1:.2%}, drop {drop:.2%}, agreement {found.agreement:.2%}"
        f" on {found.samples} photographs, {found.output_sqnr_db:.1f} dB"
    )


def character_errors(session: Session) -> str:
    """Exact lines and character error rate on rendered lines, float and integer."""
    ocr = ocr_module()
    drawn = ocr.lines(LINES, seed=0)
    texts = [text for _, text in drawn]
    alphabet = ocr.characters(str(session.graph.source))
    rows = ocr.tensor([picture for picture, _ in drawn])
    output = session.graph.outputs[0]
    scores: list[str] = []
    for run in (session.run_float, session.run):
        found = [ocr.decode(np.asarray(run({"x": row[None]})[output]), alphabet)[0] for row in rows]
        exact, errors = ocr.score(found, texts)
        scores.append(f"exact {exact:.1%} CER {errors:.2%}")
    return " to ".join(scores) + f" on {len(rows)} lines"


def heat_map_correlation(session: Session, most: int = 24) -> str:
    """Correlation of the quantised heat map with the float one on photographs that were not calibrated with."""
    from engine.calibrate.data import open_data

    assert session.data is not None
    inputs = {name: session.graph.types[name] for name in session.graph.inputs}
    data = open_data(
        photographs(),
        graph_inputs=inputs,
        recipe=session.data.recipe,
        samples=most,
        split=None,
        default_split="evaluation",
    )
    output = session.graph.outputs[0]
    found: list[float] = []
    for index in range(len(data)):
        sample = data.read(index, index + 1)
        maps = [np.asarray(run(sample)[output], np.float64).reshape(-1) for run in (session.run_float, session.run)]
        found.append(float(np.corrcoef(maps[0], maps[1])[0, 1]))
    return f"heat-map correlation mean {np.mean(found):.3f} min {np.min(found):.2f} on {len(found)} photographs"


def photographs() -> Path:
    """The folder of labelled photographs."""
    return shared_folder() / "data" / "imagenet_sample"


_IMAGENET = Recipe(size=(224, 224), mean=(123.675, 116.28, 103.53), scale=(58.395, 57.12, 57.375))

CASES: Mapping[str, Case] = {
    "efficientnet_lite0": Case(metric=top1),
    "efficientnet_lite2": Case(metric=top1),
    "squeezenet": Case(metric=top1),
    "pp_ocr_cls": Case({"x.2": 48, "x.3": 192}, text_directions),
    "pp_ocrv4_det": Case({"p2o.DynamicDimension.1": 320, "p2o.DynamicDimension.2": 320}, text_pages),
    "pp_ocrv4_rec": Case({"p2o.DynamicDimension.1": 320, "x.2": 48}, text_lines, metric=character_errors),
    "pp_ocrv6_rec": Case({"DynamicDimension.1": 320}, text_lines, metric=character_errors),
    "dinov2_vits_focus": Case(metric=heat_map_correlation),
    "swin_t": Case(recipe=_IMAGENET),
    "minilm": Case(samples=token_ids),
    "basic_pitch": Case(samples=notes),
    "magika": Case(samples=file_contents),
}


@dataclass(frozen=True)
class Row:
    """What one model gave."""

    session: Session
    errors: Errors
    estimate_ms: float
    calibration_s: float
    same_bits: bool
    qdq_db: str

    def text(self, name: str) -> str:
        worst = worst_nodes(self.errors, 1)
        shown = f"{worst[0].id} {_db(worst[0].introduced_db.mean)}" if worst else "-"
        return (
            f"{name:20} {len(self.session.graph.nodes):5} {len(self.session.cpu_nodes()):4} "
            f"{_db(self.errors.output_sqnr_db.mean):>7} {self.estimate_ms:8.2f} {self.calibration_s:6.2f} "
            f"{'same bits' if self.same_bits else 'DIFFER':>9} {self.qdq_db:>8}  {shown}"
        )


def _db(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}"


def worst_nodes(errors: Errors, count: int) -> list[NodeError]:
    """The nodes whose own arithmetic loses most, worst first."""
    known = [node for node in errors.nodes if node.introduced_db.mean is not None]
    return sorted(known, key=lambda node: node.introduced_db.mean or 0.0)[:count]


def measure(name: str, case: Case, options: argparse.Namespace) -> None:
    """Print one model's rows.

    Raises:
        QuantscopeError: Some stage refuses the model, or it cannot be had.
    """
    session = Session.open(model_path(name, f"{name}.onnx"), bindings=case.bindings)
    session.set_plan(replace(session.plan, default_method=options.method))
    with tempfile.TemporaryDirectory() as folder:
        seconds = _calibrate(session, case, name, options.calibration or options.samples, Path(folder))
        row = _row(session, options.samples, seconds, Path(folder))
        print(row.text(name), flush=True)
        for line in _details(row, options.worst):
            print(f"{'':22}{line}")
        if options.accuracy and case.metric is not None:
            print(f"{'':22}{case.metric(session)}", flush=True)


def _calibrate(session: Session, case: Case, name: str, count: int, folder: Path) -> float:
    """Calibrate; returns the seconds that a sample took."""
    data, recipe = photographs() if case.samples is None else folder / "samples.npz", case.recipe
    if case.samples is not None:
        np.savez(data, allow_pickle=False, **case.samples(count, 1000))
    elif recipe is None:
        recipe = load_recipe(cache_folder() / f"{name}.toml")
    start = time.perf_counter()
    session.calibrate(data, recipe=recipe, samples=count)
    return (time.perf_counter() - start) / count


def _row(session: Session, count: int, calibration_s: float, folder: Path) -> Row:
    estimate_ms = session.estimate().latency_ms
    errors = session.analyze(count)
    samples = [dict(sample.inputs) for sample in session.samples(count)]
    expected = [session.run(sample) for sample in samples]
    same = _package_agrees(session, samples, expected, folder / "m.qspkg")
    return Row(session, errors, estimate_ms, calibration_s, same, _qdq(session, samples, expected, folder / "q.onnx"))


def _package_agrees(session: Session, samples: Sequence[Arrays], expected: Sequence[Arrays], path: Path) -> bool:
    export_session(session, path, "package")
    found = map(load_package(path).run, samples)
    return all(
        np.array_equal(mine[key], wanted[key], equal_nan=True)
        for mine, wanted in zip(found, expected, strict=True)
        for key in wanted
    )


def _qdq(session: Session, samples: Sequence[Arrays], expected: Sequence[Arrays], path: Path) -> str:
    export_session(session, path, "qdq")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    runtime = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    signal = noise = 0.0
    for sample, wanted in zip(samples, expected, strict=True):
        results = runtime.run(list(session.graph.outputs), dict(sample))
        for key, found in zip(session.graph.outputs, results, strict=True):
            exact = np.asarray(wanted[key], np.float64)
            signal += float((exact**2).sum())
            noise += float(((exact - np.asarray(found, np.float64)) ** 2).sum())
    return _db(10 * np.log10(signal / noise) if noise and signal else None)


def _details(row: Row, worst: int) -> Iterator[str]:
    reasons = Counter((row.session.graph.by_id[r.id].op.type_name, r.reason) for r in row.session.refusals())
    for (kind, reason), number in reasons.items():
        yield f"{number} x {kind}: {reason}"
    for node in worst_nodes(row.errors, worst):
        kind = row.session.graph.by_id[node.id].op.type_name
        own, total = _db(node.introduced_db.mean), _db(node.accumulated_db.mean)
        yield f"{own:>7} dB introduced, {total:>6} accumulated: {kind} {node.id}"


def main() -> int:
    """Print a row a model; the exit status is 1 where one could not go through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*CASES, []], help="all unless named")
    parser.add_argument("--samples", type=int, default=4, help="to analyse")
    parser.add_argument("--calibration", type=int, help="samples to calibrate with; unless given, as analysed")
    parser.add_argument("--method", default="mse", choices=METHOD_NAMES)
    parser.add_argument("--worst", type=int, default=3, help="nodes to list")
    parser.add_argument("--accuracy", action="store_true", help="the task's own metric too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    columns = f"{'nodes':>5} {'cpu':>4} {'SQNR dB':>7} {'est ms':>8} {'cal s':>6} {'package':>9} {'qdq dB':>8}"
    print(f"{'model':20} {columns}  worst")
    failed = False
    for name in options.models or CASES:
        try:
            measure(name, CASES[name], options)
        except QuantscopeError as error:
            failed = True
            print(f"{name:20} {error}", flush=True)
        except Exception:  # a crash is a finding; the other models go on
            failed = True
            with contextlib.redirect_stderr(sys.stdout):
                print(f"{name:20} crashed")
                traceback.print_exc()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
