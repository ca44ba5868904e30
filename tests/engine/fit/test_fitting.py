"""The fit: its clock is the product's, and it finds the figures of a chip that it has measurements of."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from engine.clock.estimate import Estimator
from engine.errors import MeasurementError
from engine.fit.fitting import errors_of, fit_target
from engine.fit.measurements import Measurement, read_measurements
from engine.fit.parameters import PARAMETERS, bounds, fitted_target, free_parameters, scaled
from engine.fit.schedules import clocked, clocked_models, resolved_at
from engine.graph.load import load_model
from engine.precision import Precision
from engine.target.edit import figure_at, with_figures
from engine.target.figures import Figure, SourceKind
from engine.target.target import Target, load_target

from .graphs import write_model

SIZES = {"wide": (64, 3), "deep": (24, 8), "small": (8, 2), "heavy": (96, 5)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, (channels, layers) in SIZES.items():
        write_model(folder / f"{name}.onnx", channels, layers, "Sigmoid" if name == "deep" else "Relu")
    return folder


def start() -> Target:
    return load_target("generic-int8")


def chip() -> Target:
    """What is measured: the target with other figures."""
    target = start()
    factors = {"DDR bandwidth": 1.5, "launch of a kernel": 2.0, "host overhead": 0.5, "vector rate": 1.4}
    return fitted_target(target, factors, "a secret")


def table_of(folder: Path, models: Path, target: Target, layers: bool = False) -> Path:
    """Measurements of a chip that is as the target says."""
    path = folder / "m.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "node", "latency_us", "throughput_fps"])
        for name in SIZES:
            graph = load_model(models / f"{name}.onnx")
            timing = Estimator(graph, target).estimate(resolved_at(graph, Precision.AUTO, target))
            writer.writerow([name, "", timing.latency_us, timing.throughput_fps])
            if layers:
                model = clocked(graph, Precision.AUTO, target, ())
                writer.writerow([name, "conv1", model.kernel_us(model.schedule, "conv1"), ""])
    return path


@pytest.mark.parametrize("precision", [Precision.AUTO, Precision.INT16])
def test_the_clock_of_the_fit_is_that_of_the_product(models: Path, precision: Precision) -> None:
    target = start()
    parameters = free_parameters(target)
    graph = load_model(models / "deep.onnx")
    model = clocked(graph, precision, target, parameters)
    rng = np.random.default_rng(1)
    for _ in range(3):
        factors = rng.uniform(0.7, 1.4, len(parameters))
        changed = target
        for parameter, factor in zip(parameters, factors, strict=True):
            changed = scaled(changed, parameter, float(factor))
        timing = Estimator(graph, changed).estimate(resolved_at(graph, precision, changed))
        schedule = model.at(factors)
        assert model.latency_us(schedule) == pytest.approx(timing.latency_us, abs=1e-3)
        assert 1e6 / model.period_us(schedule) == pytest.approx(timing.throughput_fps, rel=1e-5)


def test_figures_of_a_chip_are_found_from_its_measurements(models: Path, tmp_path: Path) -> None:
    table = table_of(tmp_path, models, chip(), layers=True)
    fit = fit_target(start(), read_measurements(table, models), table)
    before = fit.errors("latency", lambda item: item.before_us)
    after = fit.errors("latency", lambda item: item.fitted_us)
    assert before.mean > 0.2
    assert after.mean < 0.05
    assert fit.errors("layer", lambda item: item.fitted_us).mean < 0.1
    assert fit.errors("throughput", lambda item: item.unseen_us).largest < before.largest
    assert figure_at(fit.target, "launch.inference").kind is SourceKind.FITTED
    stated = fit.target.stated_error
    assert stated.latency is not None
    assert stated.latency.value == pytest.approx(
        100.0 * fit.errors("latency", lambda item: item.unseen_us).mean, rel=0.06
    )
    assert "each predicted without its family" in stated.latency.source


def test_published_figures_stay() -> None:
    target = load_target("ethos-u55-256")
    assert figure_at(target, "dma.bandwidth").kind is SourceKind.DATASHEET
    assert "dma.bandwidth" not in {parameter.figures[0] for parameter in free_parameters(target)}


def test_a_share_is_never_more_than_the_whole() -> None:
    whole = Figure(1.0, "fraction", "assumed: all of it")
    target = with_figures(start(), {"mac.sustained_fraction": whole})
    low, high = bounds(target, PARAMETERS)
    names = [parameter.name for parameter in PARAMETERS]
    assert low[names.index("share of the MAC peak")] == 0.0
    assert np.all(low <= 0.0)
    assert np.all(high > 0.0)


def test_one_family_is_refused(models: Path, tmp_path: Path) -> None:
    row = Measurement(2, "deep", models / "deep.onnx", "all", latency_us=5.0)
    with pytest.raises(MeasurementError, match=r"m\.csv: holds one family of models, 'all'"):
        fit_target(start(), [row], tmp_path / "m.csv")


def test_a_layer_that_is_not_there_is_refused(models: Path) -> None:
    row = Measurement(7, "deep", models / "deep.onnx", "all", node="conv99", latency_us=5.0)
    with pytest.raises(MeasurementError, match=r"row 7: column 'node': 'conv99' is no node of 'deep'"):
        clocked_models([row], start(), ())


def test_errors_are_counted_and_ranked() -> None:
    found = errors_of([1.1, 2.0, 2.7], [1.0, 2.0, 3.0])
    assert (found.count, found.mean, found.largest, found.rank) == (3, pytest.approx(0.2 / 3), pytest.approx(0.1), 1.0)
    assert errors_of([3.0, 1.0, 1.0], [1.0, 2.0, 3.0]).rank == pytest.approx(-np.sqrt(3) / 2)
    assert np.isnan(errors_of([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).rank)
    assert np.isnan(errors_of([], []).mean)
