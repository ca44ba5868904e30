"""ONNX's own node tests, through our importer and our float executor.

    python -m tests.conformance.onnx_nodes            # all cases
    python -m tests.conformance.onnx_nodes softmax    # those whose name contains it
    python -m tests.conformance.onnx_nodes --list     # what is left out, and why

Every case whose inputs and outputs are tensors of numbers must agree within the tolerance that ONNX gives it.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from engine.errors import QuantscopeError
from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph
from engine.graph.onnx_file import prepared
from engine.graph.onnx_import import OLDEST_OPSET, import_onnx
from engine.graph.onnx_types import described, is_numeric
from engine.graph.weights import WeightFiles
from engine.ops.float_kernels import to_numpy
from engine.ops.other import OnnxOp

_RANDOM = "the result is random and the case's numbers are one draw"


def _of_other_types(model: onnx.ModelProto) -> str | None:
    """A model input or output is no tensor of numbers."""
    for info in (*model.graph.input, *model.graph.output):
        if not is_numeric(info.type):
            role = "takes" if any(info.name == item.name for item in model.graph.input) else "gives"
            kind = described(info.type)
            return f"{role} {'a ' if kind.startswith(('sequence', 'optional')) else ''}{kind}"
    return None


def _of_old_opset(model: onnx.ModelProto) -> str | None:
    """The opset is older than the oldest one that is imported."""
    (version,) = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")] or [OLDEST_OPSET]
    return f"is of opset {version}, before {OLDEST_OPSET}" if version < OLDEST_OPSET else None


def _of_random_results(model: onnx.ModelProto) -> str | None:
    """An operator draws random numbers; ONNX's own runner leaves these cases out too."""
    drawn = {"Bernoulli", "RandomNormalLike", "RandomUniformLike"}
    return _RANDOM if any(node.op_type in drawn for node in model.graph.node) else None


REASONS: tuple[Callable[[onnx.ModelProto], str | None], ...] = (_of_other_types, _of_old_opset, _of_random_results)
"""Why a case may be left out; each gives one line, or None."""


@dataclass(frozen=True)
class Outcome:
    """One case: left out for a reason, failed with an error, or neither."""

    name: str
    left_out: str = ""
    error: str = ""
    whole: tuple[str, ...] = ()
    """Operators that ran by the reference."""


@cache
def node_cases() -> tuple[TestCase, ...]:
    """All node cases of the installed ONNX, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, from computing the expected values
        with np.errstate(all="ignore"):
            cases: Sequence[TestCase] = load_model_tests(kind="node")
    return tuple(sorted(cases, key=lambda case: case.name))


def chosen(pattern: str = "") -> Iterator[TestCase]:
    """The cases whose names contain the pattern."""
    return (case for case in node_cases() if pattern in case.name)


def quick() -> Iterator[TestCase]:
    """The first case of each list of operators."""
    seen: set[tuple[str, ...]] = set()
    for case in node_cases():
        assert case.model is not None
        operators = tuple(node.op_type for node in case.model.graph.node)
        if operators not in seen:
            seen.add(operators)
            yield case


def reason_of(case: TestCase) -> str:
    """Why the case is left out; empty where it has to pass."""
    assert case.model is not None
    return next((reason for check in REASONS if (reason := check(case.model))), "")


def outcome_of(case: TestCase) -> Outcome:
    """Import the case, run it in float, and compare."""
    reason = reason_of(case)
    if reason:
        return Outcome(case.name, left_out=reason)
    try:
        graph = imported(case)
        model = FloatModel(graph)
        for inputs, outputs in case.data_sets or ():
            _compare(case, model, [*map(_array, inputs)], [*map(_array, outputs)])
    except (QuantscopeError, AssertionError) as error:
        return Outcome(case.name, error=" ".join(str(error).split())[:300])
    return Outcome(case.name, whole=tuple(node.op.op_type for node in graph.nodes if isinstance(node.op, OnnxOp)))


def imported(case: TestCase) -> Graph:
    """The case's model by our importer. Sizes of 0 are bound to 0: the case means them."""
    assert case.model is not None
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    sets: Any = case.data_sets
    bindings: dict[str, int] = {}
    for info, array in zip(model.graph.input, map(_array, sets[0][0]), strict=False):
        dimensions = info.type.tensor_type.shape.dim
        bindings |= {f"{info.name}.{axis}": 0 for axis, size in enumerate(array.shape) if size == 0}
        for size, dimension in zip(array.shape, dimensions, strict=True):
            if not dimension.HasField("dim_value"):
                dimension.dim_value = size
    return import_onnx(prepared(ir.from_proto(model), case.name, WeightFiles(Path(__file__)), None), bindings, 1)


def _compare(case: TestCase, model: FloatModel, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    assert case.model is not None
    names = [info.name for info in case.model.graph.input]
    results = model.run(dict(zip(names, inputs, strict=False)))
    found = [to_numpy(results[info.name]) for info in case.model.graph.output]
    Runner.assert_similar_outputs(list(outputs), found, case.rtol, case.atol, model_dir=None)


def _array(value: Any) -> np.ndarray[Any, Any]:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def report(outcomes: Sequence[Outcome], *, listed: bool) -> int:
    """Print failures, what was left out by reason, and the counts; returns how many failed."""
    failed = [outcome for outcome in outcomes if outcome.error]
    left_out = [outcome for outcome in outcomes if outcome.left_out]
    for outcome in failed:
        print(f"FAIL {outcome.name}: {outcome.error}")
    if listed:
        for outcome in left_out:
            print(f"left out {outcome.name}: {outcome.left_out}")
    for reason, count in Counter(outcome.left_out for outcome in left_out).most_common():
        print(f"left out {count:4d}: {reason}")
    run = len(outcomes) - len(left_out)
    print(f"ONNX {onnx.__version__}: {len(outcomes)} node cases, {run} run, {run - len(failed)} agree, "
          f"{len(failed)} fail, {len(left_out)} left out")  # fmt: skip
    return len(failed)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the status is 1 if a case fails."""
    parser = argparse.ArgumentParser(prog="onnx_nodes", description="ONNX's node tests in our float executor.")
    parser.add_argument("pattern", nargs="?", default="", help="part of the names of the cases to run")
    parser.add_argument("--list", action="store_true", help="name each case that is left out, and why")
    options = parser.parse_args(arguments)
    outcomes = [outcome_of(case) for case in chosen(options.pattern)]
    return 1 if report(outcomes, listed=options.list) or not outcomes else 0


if __name__ == "__main__":
    raise SystemExit(main())
