"""Watching a float model run: which values, which samples, and what goes wrong on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Event

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calibrate.calibration import (
    Observation,
    RunNumbered,
    Visit,
    collect,
    observe,
    result_of,
    tensor_range,
)
from engine.calibrate.data import Dataset, open_data
from engine.calibrate.observers import TensorStatistics
from engine.calibrate.result import CalibrationResult, TensorRange
from engine.calibrate.sources import Batch
from engine.errors import CalibrationError, Cancelled
from engine.graph.graph import Node, TensorType
from engine.ops.base import Op
from engine.ops.elementwise import Where
from engine.ops.linear import Conv

DOUBLE = Node("net/double", Op(), ("x",), ("doubled",))
SPLIT = Node("net/split", Op(), ("doubled",), ("left", "right"))


def run_as_arrays(batch: Batch, visit: Visit) -> None:
    doubled = batch["x"] * np.float32(2)  # type: ignore[operator]
    visit(DOUBLE, [doubled])
    visit(SPLIT, np.split(doubled, 2, axis=1))


def run_numbered(batch: Batch, visit: Visit, _: int) -> None:
    run_as_arrays(batch, visit)


def run_as_tensors(batch: Batch, visit: Visit) -> None:
    doubled = torch.from_numpy(batch["x"]) * 2
    visit(DOUBLE, (doubled,))
    visit(SPLIT, doubled.chunk(2, dim=1))


def dataset_of(tmp_path: Path, samples: np.ndarray) -> Dataset:
    np.savez(tmp_path / "x.npz", x=samples)
    kind = TensorType((1, *samples.shape[1:]), "float32")
    return open_data(tmp_path / "x.npz", graph_inputs={"x": kind})


@pytest.fixture
def samples() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((10, 4, 50)).astype(np.float32)


@pytest.mark.parametrize("run", [run_as_arrays, run_as_tensors])
@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
def test_ranges_of_inputs_and_outputs(tmp_path: Path, samples: np.ndarray, run: object, batch_size: int) -> None:
    dataset = dataset_of(tmp_path, samples)
    seen: list[tuple[int, int]] = []
    result = collect(
        run,  # type: ignore[arg-type]
        dataset,
        values=("x", "doubled", "right"),
        batch_size=batch_size,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert list(result.ranges) == ["x", "doubled", "right"]
    assert result.samples == 10 and result.fingerprint == dataset.fingerprint
    assert result.ranges["x"].max == pytest.approx(samples.max(), rel=1e-5)
    assert result.ranges["doubled"].min == pytest.approx(2 * samples.min(), rel=1e-5)
    assert result.ranges["right"].max == pytest.approx(2 * samples[:, 2:].max(), rel=1e-5)
    assert seen[-1] == (10, 10) and len(seen) == -(-10 // batch_size)


def test_batching_changes_nothing(tmp_path: Path, samples: np.ndarray) -> None:
    dataset = dataset_of(tmp_path, samples)
    results = [
        collect(run_as_arrays, dataset, values=("doubled", "left"), batch_size=size) for size in (1, 4, 10)
    ]
    assert results[0] == results[1] == results[2]


def test_inputs_are_counted_once_even_if_their_nodes_are_visited(tmp_path: Path, samples: np.ndarray) -> None:
    def run(batch: Batch, visit: Visit, _: int) -> None:
        visit(Node("x", Op(), (), ("x",)), [batch["x"]])

    dataset, observation = dataset_of(tmp_path, samples), Observation(["x"])
    observe(run, dataset, observation)
    assert observation.statistics(dataset)["x"].count == samples.size


def test_a_stopped_observation_goes_on_where_it_was(tmp_path: Path, samples: np.ndarray) -> None:
    dataset, observation = dataset_of(tmp_path, samples), Observation(["doubled"])
    done: list[int] = []
    with pytest.raises(Cancelled):
        observe(
            run_numbered,
            dataset,
            observation,
            batch_size=3,
            progress=lambda count, _: done.append(count),
            cancelled=lambda: len(done) == 2,
        )
    assert observation.samples_done == 6
    observe(run_numbered, dataset, observation, batch_size=3, progress=lambda count, _: done.append(count))
    assert done == [3, 6, 9, 10]
    whole = collect(run_as_arrays, dataset, values=["doubled"], batch_size=3)
    assert result_of(observation, dataset) == whole


def observed(dataset: Dataset, run: RunNumbered, at_once: int) -> CalibrationResult:
    observation = Observation(["doubled", "left", "right"], every=11)
    observe(run, dataset, observation, batch_size=3, at_once=at_once)
    return result_of(observation, dataset)


@settings(max_examples=20, deadline=None)
@given(slow=st.lists(st.booleans(), min_size=20, max_size=20))
def test_batches_side_by_side_change_nothing(tmp_path_factory: pytest.TempPathFactory, slow: list[bool]) -> None:
    rows = np.random.default_rng(3).standard_normal((20, 4, 8)).astype(np.float32) * np.arange(1, 21)[:, None, None]
    dataset = dataset_of(tmp_path_factory.mktemp("data"), rows)
    began = [Event() for _ in range(7)]

    def run(batch: Batch, visit: Visit, first: int) -> None:
        began[first // 3].set()
        if slow[first // 3] and first < 18:  # the next one overtakes it where it may
            began[first // 3 + 1].wait()
        run_as_arrays(batch, visit)

    assert observed(dataset, run, 2) == observed(dataset, run_numbered, 1)


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_batch_that_fails_stops_those_behind_it(tmp_path: Path, samples: np.ndarray, at_once: int) -> None:
    asked: list[int] = []

    def run(batch: Batch, visit: Visit, first: int) -> None:
        asked.append(first)
        if first == 3:
            raise ArithmeticError("the second batch")
        run_as_arrays(batch, visit)

    with pytest.raises(ArithmeticError, match="the second batch"):
        observed(dataset_of(tmp_path, samples), run, at_once)
    assert max(asked) <= 3 * at_once


def test_value_that_is_never_computed(tmp_path: Path, samples: np.ndarray) -> None:
    with pytest.raises(CalibrationError, match=r"value 'ghost' was never computed \(1 of the 2 wanted\)"):
        collect(run_as_arrays, dataset_of(tmp_path, samples), values=("ghost", "x"))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_activation_that_is_not_finite_is_named(tmp_path: Path, samples: np.ndarray, batch_size: int) -> None:
    samples[6, 3, 7] = 3e38  # finite as a sample, infinite when doubled

    def run(batch: Batch, visit: Visit) -> None:
        with np.errstate(over="ignore"):
            run_as_arrays(batch, visit)

    with pytest.raises(CalibrationError) as caught:
        collect(run, dataset_of(tmp_path, samples), values=["doubled"], batch_size=batch_size)
    assert "node 'net/double': value 'doubled' holds inf for sample 6" in str(caught.value)


def test_cancelled_between_batches(tmp_path: Path, samples: np.ndarray) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 2

    visited: list[Sequence[object]] = []

    def run(batch: Batch, visit: Visit) -> None:
        visited.append(batch)  # type: ignore[arg-type]

    with pytest.raises(Cancelled):
        collect(run, dataset_of(tmp_path, samples), values=["x"], cancelled=cancelled)
    assert len(visited) == 2


def test_numbers_survive_writing_them_with_their_digits() -> None:
    statistics = TensorStatistics()
    statistics.update(np.random.default_rng(1).laplace(size=10_000).astype(np.float32))
    found = tensor_range(statistics)
    for name in ("min", "max", "percentile", "mse", "kl", "mse16"):
        value = getattr(found, name)
        assert value == float(f"{value:.6g}")
    assert found.threshold("max", 127) == max(-found.min, found.max)
    assert 0 < found.mse < found.mse16 <= found.absolute_maximum * (1 + 1e-5)


def test_result_as_json() -> None:
    one = TensorRange(min=-1.0, max=2.5, percentile=2.0, mse=1.5, kl=1e-30, mse16=2.5)
    result = CalibrationResult(ranges={"a/b": one, "\u00e9": one}, samples=3, fingerprint="ff")
    assert msgspec.json.decode(msgspec.json.encode(result), type=CalibrationResult) == result


def test_minus_infinity_is_meant_where_masks_are_made(tmp_path: Path, samples: np.ndarray) -> None:
    def run(batch: Batch, visit: Visit, op: Op, mask: float) -> None:
        x = np.asarray(batch["x"], np.float32)
        visit(Node("mask", op, ("x",), ("masked",)), [np.where(x > 0, x, np.float32(mask))])

    data = dataset_of(tmp_path, samples)
    found = collect(lambda batch, visit: run(batch, visit, Where(), -np.inf), data, values=["masked"])
    assert found.ranges["masked"].min == pytest.approx(np.finfo(np.float32).min, rel=1e-5)
    assert found.ranges["masked"].max == pytest.approx(samples.max(), rel=1e-5)
    for op, mask in ((Conv((1,), (0, 0), (1,)), -np.inf), (Where(), np.nan), (Where(), np.inf)):
        with pytest.raises(CalibrationError, match="value 'masked' holds"):
            collect(lambda batch, visit, op=op, mask=mask: run(batch, visit, op, mask), data, values=["masked"])
