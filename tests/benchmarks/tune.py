"""The front of ``tune`` beside all int8, all int16, top-k by sensitivity, and the ladders of esp-ppq and Horizon.

    python -m tests.benchmarks.tune [efficientnet_lite0] [swin_fmnist] [--minutes 5] [--workers 2] [--seed 0]

Each heuristic is measured on all calibration samples at the project's compiler options and at level O3, as the front
is, and on labelled samples that the search never saw: 270 photographs of ``../shared/data/imagenet_sample`` for
EfficientNet-Lite0, the 256 evaluation pictures of ``resources/models`` for ``swin_fmnist``. For each family of
heuristics a line says how many of its plans there are, how many of them a point of the front beats or equals in
accuracy, latency and DDR traffic together, how many it beats by more than the 95 % interval of the difference, and the
least and the largest margin in dB at the same cost. What the ladders are: ``engine/tune/heuristics.py``, with their
sources.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.analyze.errors import interval_of
from engine.plan.data import PlanData, plan_of
from engine.session import Session
from engine.tune.bench import Bench
from engine.tune.processes import Processes
from engine.tune.records import Measured, Trial, TuneSettings
from engine.tune.search import SAME_PLAN
from engine.tune.tune import tune
from tests.benchmarks.models import ModelUnavailableError, find_shared, model_path

MODELS = Path(__file__).resolve().parents[2] / "resources" / "models"

FAMILIES = ("project plan", "all int8", "all int16", "top ", "esp-ppq", "Horizon")
MOST_EVALUATED = 8


@dataclass(frozen=True)
class Case:
    """A calibrated session and the labelled data that its plans are judged by."""

    session: Session
    labelled: Path


def lite0() -> Case:
    shared = find_shared()
    if shared is None:
        raise ModelUnavailableError("../shared is absent: no photographs to calibrate on")
    photographs = shared / "data" / "imagenet_sample"
    session = Session.open(model_path("efficientnet_lite0", "efficientnet_lite0_batch.onnx"))
    session.calibrate(photographs, recipe=model_path("efficientnet_lite0", "efficientnet_lite0.toml"))
    return Case(session, photographs)


def swin() -> Case:
    session = Session.open(MODELS / "swin_fmnist.onnx")
    session.calibrate(MODELS / "fmnist_samples.npz", recipe=MODELS / "fmnist.toml")
    return Case(session, MODELS / "fmnist_samples.npz")


CASES: dict[str, Callable[[], Case]] = {"efficientnet_lite0": lite0, "swin_fmnist": swin}


@dataclass(frozen=True)
class Plotted:
    """A plan with its figures on all calibration samples."""

    title: str
    plan: PlanData
    measured: Measured

    @property
    def decibels(self) -> float:
        return -10.0 * self.measured.loss

    def costs_no_more_than(self, other: Plotted) -> bool:
        mine, theirs = self.measured, other.measured
        return mine.latency_ms <= theirs.latency_ms and mine.ddr_bytes <= theirs.ddr_bytes


def main() -> None:
    """Print the fronts and the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*CASES, []], help="both unless named")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.models or CASES:
        try:
            case = CASES[name]()
        except ModelUnavailableError as error:
            print(f"{name}: {error}")
            continue
        _compare(name, case, TuneSettings(minutes=options.minutes, seed=options.seed), options.workers)


def _compare(name: str, case: Case, settings: TuneSettings, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = case.session.save(Path(folder) / "project.qscope")
        executor = Processes(project, workers)
        try:
            report = tune(case.session, settings, executor=executor)
        finally:
            executor.close()
    bench = Bench(case.session)
    front = [_plotted(bench, point.origin, point.plan) for point in report.front]
    others = [_plotted(bench, point.origin, point.plan) for point in report.heuristics]
    print(f"\n{name}: {report.measured} plans tried in {report.seconds:.0f} s ({report.ended})")
    print(f"{'front':44} {'ms':>8} {'DDR MB':>8} {'dB':>7} {'drop':>7}")
    for item in front:
        print(f"{item.title[:44]:44} {_figures(item)} {_drop(case, item)}")
    print(f"{'family':14} {'plans':>6} {'beaten':>7} {'clearly':>8} {'least dB':>9} {'most dB':>8}")
    for family in FAMILIES:
        members = [item for item in others if _is_of(family, item)]
        _print_family(family.strip(), members, front)
    print(f"{'heuristics on labelled data':44} {'ms':>8} {'DDR MB':>8} {'dB':>7} {'drop':>7}")
    for item in _telling(others):
        print(f"{item.title[:44]:44} {_figures(item)} {_drop(case, item)}")


def _print_family(family: str, members: Sequence[Plotted], front: Sequence[Plotted]) -> None:
    margins = [(member, best) for member in members if (best := _best_within(front, member)) is not None]
    gains = [best.decibels - member.decibels for member, best in margins]
    beaten = sum(gain >= -1e-9 for gain in gains)
    clearly = sum(_is_clear(best.measured, member.measured) for member, best in margins)
    least, most = (f"{value:+.2f}" for value in (min(gains, default=0.0), max(gains, default=0.0)))
    print(f"{family:14} {len(members):>6} {beaten:>7} {clearly:>8} {least:>9} {most:>8}")


def _is_of(family: str, item: Plotted) -> bool:
    """Whether a plan is one of a family's: rules of several families may make the same plan."""
    return any(name.startswith(family) for name in item.title.split(SAME_PLAN))


def _best_within(front: Sequence[Plotted], member: Plotted) -> Plotted | None:
    """The most accurate point of the front that costs no more; None where each costs more."""
    return max((p for p in front if p.costs_no_more_than(member)), key=lambda p: p.decibels, default=None)


def _is_clear(better: Measured, worse: Measured) -> bool:
    pairs = zip(better.per_sample_db, worse.per_sample_db, strict=True)
    difference = interval_of([x - y for x, y in pairs])
    return difference.mean is not None and difference.mean > (difference.half_width or 0.0)


def _telling(others: Sequence[Plotted]) -> list[Plotted]:
    """Of each family the most accurate plan, and the project's."""
    best = {
        family: max((item for item in others if _is_of(family, item)), key=lambda item: item.decibels)
        for family in FAMILIES
        if any(_is_of(family, item) for item in others)
    }
    return list(best.values())[:MOST_EVALUATED]


def _plotted(bench: Bench, title: str, plan: PlanData) -> Plotted:
    return Plotted(title, plan, bench.measure(Trial(plan, 0), lambda: False))


def _figures(item: Plotted) -> str:
    return f"{item.measured.latency_ms:8.4f} {item.measured.ddr_bytes / 1e6:8.3f} {item.decibels:7.2f}"


def _drop(case: Case, item: Plotted) -> str:
    """Points of top-1 lost on the labelled data."""
    found = case.session.with_plan(plan_of(item.plan)).evaluate(case.labelled)
    assert found.float_top1 is not None and found.quantised_top1 is not None
    return f"{100.0 * (found.float_top1 - found.quantised_top1):+7.2f}"


if __name__ == "__main__":
    main()
