"""Random graphs: executor = compiled = TOSA reference model = integer-onnx in ONNX Runtime = package.

    python -m tests.conformance.random_graphs [--count 500] [--seed N] [--only SEED ...] [--without-tosa]

A graph of each seed from ``--seed`` on is opened, calibrated, planned by chance (target, precision of every node) and
lowered; every form of its program must then compute the same bits (:mod:`tests.conformance.truth`). Prints how often
each operator was computed in each precision, what was compared, what was refused and why, and what failed. A failure is
reduced and written to ``build/random_graphs`` as a project. Exit status 1 unless there is none.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from engine.errors import QuantscopeError
from engine.session import Session
from engine.verify.tosa_reference import reference_version
from tests.conformance.planned import Choices, judged_samples, planned
from tests.conformance.random_models import random_model
from tests.conformance.reduced import reduced
from tests.conformance.sketch import RandomModel
from tests.conformance.truth import TOSA, Broken, Refused, Verdict, judged, run_tosa

REPRODUCERS = Path(__file__).resolve().parents[2] / "build" / "random_graphs"
MODEL = "model"
"""The form that a graph is in before it has a program."""

_GRAPHS_A_PROCESS = 25
_PRECISIONS = ("int8", "int16", "lut", "float")


@dataclass(frozen=True)
class Failure:
    """What must not be: the form that failed, and one line on how."""

    seed: int
    form: str
    text: str


@dataclass
class Tally:
    """What all graphs came to. ``operators`` counts by operator and effective precision, ``refused`` by form and
    reason."""

    graphs: int = 0
    nodes: int = 0
    operators: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    elements: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    failures: list[Failure] = field(default_factory=list[Failure])

    def count(self, session: Session) -> None:
        """The nodes of a graph in the precisions that they have."""
        effective = session.resolve().effective
        self.graphs += 1
        self.nodes += len(session.graph.nodes)
        self.operators.update((node.op.type_name, str(effective[node.id].precision)) for node in session.graph.nodes)

    def take(self, seed: int, verdict: Verdict) -> None:
        """What was compared, refused and found to differ."""
        self.elements.update(verdict.elements)
        self.refused.update((refusal.form, refusal.reason) for refusal in verdict.refused)
        self.failures += failures_of(seed, verdict)


def failures_of(seed: int, verdict: Verdict) -> Iterator[Failure]:
    """The first difference of every form, what broke, and exports refused without naming a node."""
    seen: set[str] = set()
    for item in verdict.differences:
        if item.form not in seen:
            seen.add(item.form)
            yield Failure(seed, item.form, f"{item.elements} elements of '{item.value}' differ, sample {item.sample}")
    for item in verdict.broken:
        yield Failure(seed, item.form, item.text)
    for refusal in verdict.refused:
        if refusal.error.node is None and refusal.form != MODEL:
            yield Failure(seed, refusal.form, f"refused without a node: {refusal.error}")


def examined(model: RandomModel, choices: Choices, *, tosa: bool) -> tuple[Session | None, Verdict]:
    """The model's session and what came of it; TOSA jobs are left to be run. None where no program is to be had."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            session = planned(model, choices, folder)
            return session, judged(session, judged_samples(model), folder, tosa=tosa)
        except QuantscopeError as error:
            return None, Verdict(refused=[Refused(MODEL, error)])
        except Exception as error:  # whatever else it is, it is a failure
            return None, Verdict(broken=[Broken.of(MODEL, error)])


def save_reproducer(failure: Failure, model: RandomModel, choices: Choices) -> Path:
    """Write the smallest failing part as model, samples and project; returns the folder."""

    def fails(part: RandomModel) -> bool:
        _, verdict = examined(part, choices, tosa=failure.form == TOSA)
        run_tosa([verdict])
        return any(found.form == failure.form for found in failures_of(part.seed, verdict))

    folder = REPRODUCERS / f"{failure.seed}-{failure.form.replace(' ', '-')}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    part = reduced(model, fails)
    try:
        planned(part, choices, folder).save(folder / "project.qscope")
    except Exception as error:  # then the files that were written before tell
        print(f"  {folder}: no project: {' '.join(str(error).split())}")
    return folder


def run(seeds: Sequence[int], *, tosa: bool) -> Tally:
    """Examine a graph of every seed."""
    tally = Tally()
    for start in range(0, len(seeds), _GRAPHS_A_PROCESS):
        some = seeds[start : start + _GRAPHS_A_PROCESS]
        found: dict[int, Verdict] = {}
        for seed in some:
            model = random_model(seed)
            session, found[seed] = examined(model, Choices.drawn(model), tosa=tosa)
            if session is not None:
                tally.count(session)
        run_tosa(list(found.values()))
        for seed, verdict in found.items():
            tally.take(seed, verdict)
        print(f"{start + len(some)} of {len(seeds)} graphs, {len(tally.failures)} failures", flush=True)
    return tally


def table(tally: Tally) -> Iterator[str]:
    """The report, line by line."""
    yield f"{'operator':24}" + "".join(f"{precision:>8}" for precision in _PRECISIONS)
    for name in sorted({name for name, _ in tally.operators}):
        yield f"{name:24}" + "".join(f"{tally.operators[name, precision]:8}" for precision in _PRECISIONS)
    yield ""
    yield f"{tally.graphs} graphs with a program, {tally.nodes} nodes; elements compared with the executor's:"
    yield from (f"  {form:14}{count:14,}" for form, count in tally.elements.items())
    yield f"refused: {sum(tally.refused.values())}"
    yield from (f"  {count:4}  {form}: {reason}" for (form, reason), count in tally.refused.most_common())
    yield f"failed: {len(tally.failures)}"


def main() -> None:
    """Parse arguments and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=500, metavar="N", help="how many graphs")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="that of the first")
    parser.add_argument("--only", type=int, nargs="+", metavar="SEED", help="graphs of these seeds")
    parser.add_argument("--without-tosa", action="store_true", help="without the TOSA reference model")
    options = parser.parse_args()
    tosa = not options.without_tosa
    if tosa and not reference_version():
        sys.exit("the TOSA reference model is not installed: make conformance, or --without-tosa")
    torch.set_num_threads(1)
    start = time.perf_counter()
    tally = run(options.only or range(options.seed, options.seed + options.count), tosa=tosa)
    print("\n".join(table(tally)))
    for failure in tally.failures:
        model = random_model(failure.seed)
        folder = save_reproducer(failure, model, Choices.drawn(model))
        print(f"  seed {failure.seed}, {failure.form}: {failure.text}\n    {folder}", flush=True)
    print(f"{time.perf_counter() - start:.0f} s")
    sys.exit(bool(tally.failures))


if __name__ == "__main__":
    main()
