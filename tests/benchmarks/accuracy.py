"""Accuracy of the integer programs of real models against their float models, by the task's own measure.

    python -m tests.benchmarks.accuracy [--method mse] [--plan P.qscope] [--preset balanced] [--max-int16 SHARE]
                                        [--promote SHARE] [--count N] [--save FOLDER] [NAME ...]

| name | calibration | evaluation |
|---|---|---|
| ``efficientnet_lite0``, ``efficientnet_lite2``, ``squeezenet`` | 64 photographs | 270 others |
| ``pp_ocrv4_rec``, ``pp_ocrv6_rec`` | 64 rendered lines | 300 others (``../shared/eval/ocr.py``) |
| ``pp_ocrv4_det`` | 64 rendered pages of 480 x 480 | 100 others (``pages.py``) |
| ``dinov2_vits_focus``, ``swin_t`` | 64 photographs | the first 64 others |
| ``swin_fmnist``, ``mobile_fmnist`` | 256 shipped pictures | 10,000 test pictures of Debian's dataset-fashion-mnist |

Without an option everything is int8. ``--plan`` takes the plan and the corrections of a project of the same model;
``--preset`` then quantises by a preset (``--max-int16 SHARE`` goes before its own share of operators), and
``--promote SHARE`` lets at most that share of the operators be int16, with biases corrected. Each figure has the 95 %
interval over other samples of its kind; what it must be stands behind it. ``--count`` takes the first samples only,
``--save`` keeps the projects as they were evaluated. The share of operators at int16 counts all nodes but inputs.
PP-OCRv6's last layer has more features than the target takes: it is written in three parts, as ``quantscope check``
advises.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from engine.calibrate.data import EVALUATION_SPLIT, Dataset, open_data
from engine.calibrate.recipe import Recipe
from engine.errors import QuantscopeError
from engine.program.executor import run_program
from engine.program.lowering.assemble import has_lowering
from engine.quantise.presets import quantise
from engine.quantise.promote import Budget, promote, share_at_int16
from engine.quantise.registry import PRESETS, STEPS
from engine.quantise.step import Work
from engine.rewrites.advice import Adviser
from engine.rewrites.patch import applied
from engine.session import Session
from resources.models.train.fmnist import DEFAULT_DATA_DIRECTORY, load
from resources.models.train.testset import write_samples
from tests.benchmarks import pages
from tests.benchmarks.models import ModelUnavailableError, cache_folder, model_path
from tests.benchmarks.scores import Figure, HeatMaps, Lines, OutputError, Pages, Score, TopOne, figures_of
from tests.benchmarks.zoo import ocr_module, photographs

MODELS = Path(__file__).resolve().parents[2] / "resources" / "models"
CALIBRATION = 64
PAGE = 480
PROMOTED_SAMPLES = 16
"""Calibration samples that a promotion is judged on."""

_IMAGENET = Recipe(size=(224, 224), mean=(123.675, 116.28, 103.53), scale=(58.395, 57.12, 57.375))


@dataclass(frozen=True)
class Data:
    """Samples and what is scored on them."""

    samples: Dataset
    score: Score


@dataclass(frozen=True)
class Case:
    """A model: ``bindings`` of its free dimensions; ``calibration`` and ``evaluation`` data of a session, made in a
    folder; ``bars`` by figure: at least (a positive sign) or at most; ``wide`` is the largest share at int16."""

    bindings: Mapping[str, int] = field(default_factory=dict[str, int])
    calibrate: Callable[[Session, Path], None] = lambda session, folder: None
    evaluation: Callable[[Session, Path, int], Data] | None = None
    bars: Mapping[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    wide: float = 1.0
    count: int = 270
    batch: int = 10
    shipped: bool = False


# -- photographs -------------------------------------------------------------------------------------------------------


def _calibrate_photographs(session: Session, folder: Path, recipe: Recipe | None = None) -> None:
    assert session.graph.source is not None
    beside = cache_folder() / f"{Path(session.graph.source).stem.removesuffix('_batch')}.toml"
    session.calibrate(photographs(), recipe=recipe or beside, samples=CALIBRATION)


def _open(session: Session, path: Path, count: int, recipe: Recipe | None = None) -> Dataset:
    inputs = {name: session.graph.types[name] for name in session.graph.inputs}
    return open_data(path, graph_inputs=inputs, recipe=recipe, samples=count, default_split=EVALUATION_SPLIT)


def _photographs(session: Session, count: int) -> Dataset:
    assert session.data is not None
    return _open(session, photographs(), count, session.data.recipe)


def _labelled(session: Session, folder: Path, count: int) -> Data:
    samples = _photographs(session, count)
    assert samples.labels is not None
    return Data(samples, TopOne(samples.labels))


def _scored(score: Score) -> Callable[[Session, Path, int], Data]:
    return lambda session, folder, count: Data(_photographs(session, count), score)


# -- text --------------------------------------------------------------------------------------------------------------


def _calibrate_lines(session: Session, folder: Path) -> None:
    ocr = ocr_module()
    rows = ocr.tensor([picture for picture, _ in ocr.lines(CALIBRATION, seed=1000)])
    session.calibrate(_written(folder / f"{_stem(session)}_calibration.npz", rows))


def _stem(session: Session) -> str:
    return Path(session.graph.source or "model").stem


def _written(path: Path, rows: np.ndarray) -> Path:
    np.savez(path, x=rows)
    return path


def _lines(session: Session, folder: Path, count: int) -> Data:
    ocr = ocr_module()
    drawn = ocr.lines(300, seed=0)[:count]
    path = _written(folder / f"{_stem(session)}_evaluation.npz", ocr.tensor([picture for picture, _ in drawn]))
    alphabet = ocr.characters(str(session.graph.source))
    return Data(_open(session, path, count), Lines(ocr, alphabet, [text for _, text in drawn]))


def _drawn_pages(count: int, seed: int) -> list[tuple[pages.Image.Image, list[pages.Box]]]:
    ocr = ocr_module()
    words, fonts = tuple(ocr.WORDS), tuple(ocr._fonts())
    return [pages.page(PAGE, words, fonts, seed + index) for index in range(count)]


def _calibrate_pages(session: Session, folder: Path) -> None:
    drawn = [picture for picture, _ in _drawn_pages(CALIBRATION, 1000)]
    session.calibrate(_written(folder / f"{_stem(session)}_calibration.npz", pages.tensor(drawn)))


def _pages(session: Session, folder: Path, count: int) -> Data:
    drawn = _drawn_pages(count, 0)
    path = _written(folder / f"{_stem(session)}_evaluation.npz", pages.tensor([picture for picture, _ in drawn]))
    return Data(_open(session, path, count), Pages([boxes for _, boxes in drawn]))


# -- shipped models ----------------------------------------------------------------------------------------------------


def _calibrate_shipped(session: Session, folder: Path) -> None:
    session.calibrate(MODELS / "fmnist_samples.npz", recipe=MODELS / "fmnist.toml")


def _test_set(session: Session, folder: Path, count: int) -> Data:
    if not DEFAULT_DATA_DIRECTORY.is_dir():
        raise ModelUnavailableError(f"{DEFAULT_DATA_DIRECTORY} is absent: apt-get install dataset-fashion-mnist")
    test = load(DEFAULT_DATA_DIRECTORY, "t10k")
    write_samples(folder / "test.npz", test.take(np.zeros(0, np.int64)), test)
    assert session.data is not None
    samples = _open(session, folder / "test.npz", count, session.data.recipe)
    assert samples.labels is not None
    return Data(samples, TopOne(samples.labels))


def _least(agreement: float, sqnr_db: float, drop: float) -> Mapping[str, tuple[str, float]]:
    return {"drop, points": ("<=", drop), "agreement %": (">=", agreement), "SQNR dB": (">=", sqnr_db)}


_DROP: Mapping[str, tuple[str, float]] = {"drop, points": ("<=", 0.3)}

CASES: Mapping[str, Case] = {
    "efficientnet_lite0": Case({}, _calibrate_photographs, _labelled, _least(98.7, 20.0, 0.3)),
    "efficientnet_lite2": Case({}, _calibrate_photographs, _labelled, {"drop, points": ("<=", 0.5)}),
    "squeezenet": Case({}, _calibrate_photographs, _labelled, _least(96.5, 31.0, 0.3)),
    "pp_ocrv4_rec": Case(
        {"p2o.DynamicDimension.1": 320, "x.2": 48},
        _calibrate_lines,
        _lines,
        {"exact %": (">=", 62.0)},
        wide=0.25,
        count=300,
    ),
    "pp_ocrv6_rec": Case(
        {"DynamicDimension.1": 320}, _calibrate_lines, _lines, {"CER increase, points": ("<=", 0.3)}, count=300
    ),
    "pp_ocrv4_det": Case(
        {"p2o.DynamicDimension.1": PAGE, "p2o.DynamicDimension.2": PAGE},
        _calibrate_pages,
        _pages,
        {"Hmean drop": ("<=", 0.005)},
        count=100,
        batch=4,
    ),
    "dinov2_vits_focus": Case(
        {},
        _calibrate_photographs,
        _scored(HeatMaps()),
        {"mean correlation": (">=", 0.99), "worst correlation": (">=", 0.95)},
        count=64,
        batch=4,
    ),
    "swin_t": Case(
        {},
        partial(_calibrate_photographs, recipe=_IMAGENET),
        _scored(OutputError()),
        {"SQNR dB": (">=", 30.0)},
        wide=0.10,
        count=64,
    ),
    "swin_fmnist": Case({}, _calibrate_shipped, _test_set, _DROP, count=10_000, batch=50, shipped=True),
    "mobile_fmnist": Case({}, _calibrate_shipped, _test_set, _DROP, count=10_000, batch=50, shipped=True),
}


def open_case(name: str, folder: Path, method: str = "mse") -> Session:
    """The model of a case, within the target's limits and calibrated; samples that are made are kept in ``folder``.

    Raises:
        ModelUnavailableError, QuantscopeError: The model or its data cannot be had, or it cannot be opened.
    """
    case = CASES[name]
    batched = name.startswith("efficientnet")
    path = MODELS / f"{name}.onnx"
    if not case.shipped:
        path = model_path(name, f"{name}_batch.onnx" if batched else f"{name}.onnx")
    session = _within_limits(Session.open(path, bindings=case.bindings))
    session.set_plan(replace(session.plan, default_method=method))
    case.calibrate(session, folder)
    return session


def _within_limits(session: Session) -> Session:
    """The model with the rewrites that ``quantscope check`` advises."""
    adviser = Adviser(session.graph, session.plan, session.target, has_lowering, latency_us=0.0)
    patches = adviser.patches(session.refusals())
    return Session(applied(patches), session.target_reference, session.bindings) if patches else session


def evaluate(name: str, session: Session, folder: Path, count: int | None = None) -> list[Figure]:
    """The task's figures of a calibrated session on the first ``count`` samples (None: the case's own number)."""
    case = CASES[name]
    assert case.evaluation is not None
    data = case.evaluation(session, folder, count or case.count)
    rows = [data.score.numbers(*outputs) for outputs in outputs_of(session, data.samples, case.batch)]
    return figures_of(data.score, np.concatenate(rows))


def outputs_of(session: Session, samples: Dataset, batch: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """The first output of float model and integer program, and the number of the first sample, batch by batch."""
    twin = session.batched(batch) if len(samples) >= batch else None
    name = session.graph.outputs[0]
    first = 0
    while first < len(samples):
        runner, size = (session, 1) if twin is None or len(samples) - first < batch else (twin, batch)
        inputs = samples.read(first, first + size)
        found = run_program(runner.program(), {key: torch.from_numpy(rows) for key, rows in inputs.items()})
        yield np.asarray(runner.run_float(inputs)[name]), found[name].numpy(), first
        first += size


def report(name: str, session: Session, figures: Sequence[Figure]) -> bool:
    """Print a model's figures; whether all are as they must be."""
    case = CASES[name]
    wide, operators = share_at_int16(session)
    cpu = len(session.cpu_nodes())
    good = cpu == 0 and wide <= case.wide * operators
    share = f"{wide} at int16 ({wide / operators:.1%}), {cpu} in float"
    print(f"{name}: {operators} operators, {share}, {session.estimate().latency_ms:.2f} ms")
    for figure in figures:
        text = f"    {figure.name:22} {figure.value:8.3f}   {figure.low:.3f} to {figure.high:.3f}"
        if figure.name in case.bars:
            sign, bar = case.bars[figure.name]
            met = figure.value >= bar if sign == ">=" else figure.value <= bar
            text += f"   must be {sign} {bar}: {'met' if met else 'MISSED'}"
            good &= met
        print(text)
    if case.wide < 1.0 and wide > case.wide * operators:
        print(f"    more than {case.wide:.0%} of the operators are at int16: MISSED")
    return good


def _improve(session: Session, options: argparse.Namespace) -> None:
    """Change the session's plan as the options say; methods see calibration samples alone."""
    if options.plan is not None:
        other = Session.open(options.plan)
        session.corrections = other.corrections
        session.set_plan(other.plan)
    work = Work(tuple(session.samples()), max_int16=options.max_int16)
    if options.preset is not None:
        found = quantise(session, options.preset, work)
        for step in found.steps:
            gain = f"{step.gain_db.mean or 0.0:+6.2f} ± {step.gain_db.half_width or 0.0:.2f} dB"
            kept = "kept" if step.kept else "dropped"
            print(f"    {step.name:13} {gain}  {kept:8} {step.seconds:5.0f} s", flush=True)
        session.set_plan(found.plan)
    if options.promote is not None:
        few = Work(work.samples[:: max(1, len(work.samples) // PROMOTED_SAMPLES)])
        if options.preset is None:
            session.set_plan(STEPS["bias"](session, few))
        session.set_plan(promote(session, few, Budget(options.promote, latency=None)))


def measure(name: str, options: argparse.Namespace) -> bool:
    """Quantise a model as the options say, and report; whether all figures are as they must be."""
    folder = cache_folder().parent / "accuracy"
    folder.mkdir(parents=True, exist_ok=True)
    session = open_case(name, folder, options.method)
    _improve(session, options)
    good = report(name, session, evaluate(name, session, folder, options.count))
    if options.save is not None:
        session.save(options.save / f"{name}.qscope")
    return good


def main() -> int:
    """Print some lines a model; 1 where a figure is not what it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*CASES, []], help="all unless named")
    parser.add_argument("--method", default="mse", choices=("max", "percentile", "mse", "kl"))
    parser.add_argument("--plan", type=Path, help="a project whose plan is taken")
    parser.add_argument("--preset", choices=tuple(PRESETS))
    parser.add_argument("--max-int16", type=float, metavar="SHARE", help="share that a preset may have")
    parser.add_argument("--promote", type=float, metavar="SHARE", help="int16 where it pays, of the operators")
    parser.add_argument("--count", type=int, help="samples to evaluate on")
    parser.add_argument("--save", type=Path, help="folder for the projects as they were evaluated")
    options = parser.parse_args()
    torch.set_num_threads(1)
    missed = False
    for name in options.models or CASES:
        start = time.perf_counter()
        try:
            missed |= not measure(name, options)
        except QuantscopeError as error:
            print(f"{name}: {error}")
            missed = True
        print(f"    {time.perf_counter() - start:.0f} s", flush=True)
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
