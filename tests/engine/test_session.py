"""The facade: what is kept through a file, what is found, and what does not depend on how it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.calibrate.recipe import load_recipe
from engine.errors import CalibrationError, Cancelled, DataError, ModelFileError, PlanError, ProjectError
from engine.plan.resolve import resolve
from engine.precision import Precision
from engine.program.lowering.assemble import has_lowering
from engine.program.types import Program
from engine.session import Session

OpenMobile = Callable[[], Session]


def bits(program: Program) -> list[object]:
    """Everything that decides what a program computes."""
    instructions = [(item.op.digest, item.inputs, item.outputs) for item in program.instructions]
    constants = sorted((name, constant.digest) for name, constant in program.constants.items())
    return [instructions, constants, dict(program.types), dict(program.inputs), dict(program.outputs)]


def relative_error(found: NDArray[np.generic], expected: NDArray[np.generic]) -> float:
    """Energy of the difference over that of what is expected."""
    wanted = np.asarray(expected, np.float64)
    return float(((np.asarray(found, np.float64) - wanted) ** 2).sum() / (wanted**2).sum())


def conv_of(session: Session) -> str:
    return next(node.id for node in session.graph.nodes if node.op.type_name == "Conv")


def test_saved_and_opened_again_is_the_same_program(models: Path, samples: Path, recipe: Path, tmp_path: Path) -> None:
    session = Session.open(models / "mobile_fmnist.onnx", target="generic-int8")
    session.calibrate(samples, recipe=recipe, samples=4)
    session.mark(conv_of(session), "int16")
    session.mark(session.graph.nodes[-1].id, Precision.FLOAT)
    errors = session.analyze(2)
    evaluation = session.evaluate(samples, samples=4)
    path = session.save(tmp_path / "p.qscope")

    again = Session.open(path)
    assert again.target.name == "generic-int8"
    assert again.plan == session.plan
    assert again.calibration == session.calibration
    assert again.data == session.data
    assert again.warnings == ()
    assert bits(again.program()) == bits(session.program())
    assert again.analyze(2) == errors
    assert again.evaluate(samples, samples=4) == evaluation
    assert again.save(tmp_path / "q.qscope").read_text() == path.read_text()


def test_a_mark_and_its_undo_are_the_same_program(open_mobile: OpenMobile) -> None:
    session = open_mobile()
    before = bits(session.program())
    inputs = next(session.samples(1)).inputs
    outputs = session.run(inputs)
    node = conv_of(session)
    for precision in ("float", "int16"):
        session.mark(node, precision)
        assert bits(session.program()) != before
        changed = session.run(inputs)
        assert any(not np.array_equal(changed[name], outputs[name]) for name in outputs)
        session.mark(node, "auto")
        assert bits(session.program()) == before
        assert all(np.array_equal(array, outputs[name]) for name, array in session.run(inputs).items())


def test_range_methods_change_scales_and_come_back(open_mobile: OpenMobile) -> None:
    session = open_mobile()
    plan, before, program = session.plan, session.node_plans(), bits(session.program())
    changed = next(p.id for p in before if p.scale is not None and session.graph.by_id[p.id].outputs[0])
    session.set_plan(replace(plan, default_method="max"))
    everywhere = session.node_plans()
    assert [p.scale for p in everywhere] != [p.scale for p in before]
    (value,) = session.graph.by_id[changed].outputs
    session.set_plan(replace(plan, methods={value: "max"}))
    scales = {p.id: p.scale for p in session.node_plans()}
    assert scales[changed] == next(p.scale for p in everywhere if p.id == changed)
    session.set_plan(plan)
    assert session.node_plans() == before
    assert bits(session.program()) == program


def test_floats_and_int16_anywhere_compute(open_mobile: OpenMobile) -> None:
    """No seam is missing, wherever it comes to lie, and units that are cached fit their new neighbours."""
    session = open_mobile()
    inputs = next(session.samples(1)).inputs
    reference = session.run_float(inputs)
    for index, node in enumerate(session.graph.nodes[::9]):
        session.mark(node.id, "float" if index % 2 else "int16")
        found = session.run(inputs)
        for name, array in reference.items():
            assert relative_error(found[name], array) < 0.1, node.id
        if index % 3 == 0:
            session.mark(node.id, "auto")
    session.mark("*", "float")
    for name, array in session.run(inputs).items():
        assert relative_error(array, reference[name]) < 1e-9
    assert len(session.cpu_nodes()) == len(session.graph.nodes)


def test_batches_compute_the_same_integers(open_mobile: OpenMobile) -> None:
    session = open_mobile()
    graph = session.batched_graph(4)
    assert graph is not None
    twin = Session(graph, session.target_reference)
    twin.plan, twin.calibration, twin.data = session.plan, session.calibration, session.data
    samples = [sample.inputs for sample in session.samples(4)]
    batch = {name: np.concatenate([sample[name] for sample in samples]) for name in session.graph.inputs}
    together = twin.run(batch)
    for index, sample in enumerate(samples):
        for name, array in session.run(sample).items():
            np.testing.assert_array_equal(together[name][index : index + 1], array)


def test_limits_on_sizes_are_asked_for_one_sample(models: Path, samples: Path, recipe: Path) -> None:
    """Journey 5 refuses some int16 transposes of Swin for two samples at once, and not for one."""
    session = Session.open(models / "swin_fmnist.onnx")
    session.calibrate(samples, recipe=recipe, samples=2)
    session.mark("*", "int16")
    twin = session.batched(2)
    assert twin is not None
    own = resolve(twin.graph, twin.plan, twin.target, has_lowering)
    assert own.dtypes != session.resolve().dtypes
    assert twin.program().types == session.program().types


def test_evaluation_does_not_depend_on_its_batches(open_mobile: OpenMobile, samples: Path) -> None:
    session = open_mobile()
    assert session.data is not None
    in_batches = session.evaluate(samples, samples=35)
    session.source_graph = replace(session.graph, symbolic_batch=False)
    one_by_one = session.evaluate(samples, samples=35)
    assert one_by_one.quantised_top1 == in_batches.quantised_top1
    assert one_by_one.float_top1 == in_batches.float_top1
    assert one_by_one.output_sqnr_db == pytest.approx(in_batches.output_sqnr_db, rel=1e-6)


def test_a_model_that_takes_four_samples_at_once(models: Path, samples: Path, recipe: Path) -> None:
    """Its samples come four at a time, what does not fill a batch is left out, and the integers are those of one."""
    four = Session.open(models / "mobile_fmnist.onnx", batch=4)
    four.calibrate(samples, recipe=recipe, samples=10)
    one = Session.open(models / "mobile_fmnist.onnx")
    one.calibrate(samples, recipe=recipe, samples=8)
    assert four.calibration is not None and one.calibration is not None
    assert four.calibration.fingerprint == one.calibration.fingerprint
    one.calibration = four.calibration  # float convolutions of another batch may round otherwise
    assert four.sample_count(100) == 2
    assert list(four.samples(0)) == []
    apart = [one.run(sample.inputs) for sample in one.samples()]
    together = [four.run(sample.inputs) for sample in four.samples()]
    for name, array in apart[0].items():
        rows = np.concatenate([array, *(outputs[name] for outputs in apart[1:])])
        np.testing.assert_array_equal(np.concatenate([outputs[name] for outputs in together]), rows)
    assert four.evaluate(samples, samples=8).quantised_top1 == one.evaluate(samples, samples=8).quantised_top1
    four.inspect(conv_of(four), 1)
    with pytest.raises(DataError, match="there is no sample 2"):
        four.inspect(conv_of(four), 2)
    with pytest.raises(DataError, match="holds 3 samples, the model takes 4 at once"):
        four.calibrate(samples, recipe=recipe, samples=3)


def test_recipes_by_path_and_by_value_are_one(models: Path, samples: Path, recipe: Path) -> None:
    session = Session.open(models / "mobile_fmnist.onnx")
    by_path = session.calibrate(samples, recipe=recipe, samples=2)
    by_value = session.calibrate(samples, recipe=load_recipe(recipe), samples=2)
    assert by_path == by_value


def test_patterns(open_mobile: OpenMobile) -> None:
    session = open_mobile()
    ids = tuple(node.id for node in session.graph.nodes)
    assert session.find("*") == ids
    assert session.find(".") == ids
    node = ids[len(ids) // 2]
    assert session.find(node) == (node,)
    assert set(session.find("[Cc]onv")) == {i for i in ids if "conv" in i.lower() and ("Conv" in i or "conv" in i)}
    for bad in ("nothing-like-this", "("):
        with pytest.raises(PlanError):
            session.find(bad)
    with pytest.raises(PlanError, match="unknown precision 'int4'; choose one of"):
        session.mark("*", "int4")
    assert not session.plan.choices


def test_calibration_that_is_stopped_or_fails_changes_nothing(open_mobile: OpenMobile, samples: Path) -> None:
    session = open_mobile()
    before = session.calibration, session.data, session.plan
    assert session.data is not None
    with pytest.raises(Cancelled):
        session.calibrate(samples, recipe=session.data.recipe, samples=8, cancelled=lambda: True)
    with pytest.raises(DataError):
        session.calibrate(samples.with_name("none.npz"))
    assert (session.calibration, session.data, session.plan) == before


def test_what_needs_calibration_says_so(models: Path) -> None:
    session = Session.open(models / "mobile_fmnist.onnx")
    assert session.estimate().latency_ms > 0.0
    assert all(plan.scale is None for plan in session.node_plans())
    with pytest.raises(CalibrationError, match="not calibrated; calibrate it with data first"):
        session.program()
    with pytest.raises(CalibrationError, match="not calibrated"):
        session.analyze(1)
    with pytest.raises(DataError, match="no samples; calibrate it with data first"):
        next(session.samples(1))


def test_a_model_that_changed_while_it_was_open_is_not_mixed_in(models: Path, samples: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes((models / "mobile_fmnist.onnx").read_bytes())
    session = Session.open(model)
    replacement = tmp_path / "n.onnx"
    replacement.write_bytes((models / "swin_fmnist.onnx").read_bytes())
    replacement.replace(model)
    with pytest.raises(ModelFileError, match="was changed since it was opened; open it again"):
        session.calibrate(samples, recipe=models / "fmnist.toml", samples=4)


def test_missing_samples_are_a_warning_when_a_project_opens(project: Path) -> None:
    project.write_text(project.read_text().replace("fmnist_samples.npz", "gone.npz"))
    session = Session.open(project)
    assert len(session.warnings) == 1
    assert "gone.npz is not there" in session.warnings[0]
    assert session.program().instructions
    with pytest.raises(DataError, match=r"gone\.npz"):
        session.analyze(1)


def test_inspection(open_mobile: OpenMobile) -> None:
    session = open_mobile()
    node = conv_of(session)
    detail = session.inspect(node)
    assert len(detail.histogram_edges) == len(detail.float_histogram) + 1
    assert sum(detail.float_histogram) == sum(detail.quantised_histogram) > 0
    channels = session.graph.types[session.graph.by_id[node].outputs[0]].shape[1]
    assert len(detail.weight_low) == len(detail.weight_high) == channels
    assert all(low <= high for low, high in zip(detail.weight_low, detail.weight_high, strict=True))
    assert 0.0 <= detail.clipped_fraction < 0.05
    for other in session.graph.nodes:
        session.inspect(other.id)
    with pytest.raises(PlanError, match="no node 'ghost'"):
        session.inspect("ghost")
    with pytest.raises(DataError, match="there is no sample 8; choose one from 0 to 7"):
        session.inspect(node, 8)


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.head = torch.nn.Linear(4, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.conv(image)).mean((2, 3)))


def test_a_module_from_python(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Small().eval()
    session = Session.from_torch(module, (torch.zeros(1, 1, 28, 28),))
    (name,) = session.graph.inputs
    rng = np.random.default_rng(0)
    assert name == "image"
    np.savez(tmp_path / "d.npz", image=rng.normal(size=(4, 1, 28, 28)).astype(np.float32))
    session.calibrate(tmp_path / "d.npz")
    sample = next(session.samples(1))
    with torch.no_grad():
        expected = module(torch.from_numpy(np.array(sample.inputs[name]))).numpy()
    (floating,), (quantised,) = (run(sample.inputs).values() for run in (session.run_float, session.run))
    assert relative_error(floating, expected) < 1e-9
    assert relative_error(quantised, expected) < 1e-2
    assert session.evaluate(tmp_path / "d.npz").float_top1 is None
    with pytest.raises(ProjectError, match="no file to refer to; export the module"):
        session.save(tmp_path / "p.qscope")


def test_swin_is_all_integer(models: Path) -> None:
    session = Session.open(models / "swin_fmnist.onnx")
    assert session.cpu_nodes() == ()
    assert session.refusals() == ()


def test_every_accumulator_of_the_demo_is_proved(project: Path) -> None:
    session = Session.open(project)
    found = session.accumulators()
    units = {item.id for item in found}
    assert {item.id for item in found if item.op_type == "Conv"} == {
        unit.anchor for unit in session.resolve().units if session.graph.by_id[unit.anchor].op.type_name == "Conv"
    }
    assert all(item.proof and item.headroom_bits is not None and item.headroom_bits > 0 for item in found)
    assert [item.headroom_bits for item in found] == sorted(item.headroom_bits or 0.0 for item in found)
    detail = session.inspect(next(item.id for item in found if item.op_type == "Conv"))
    assert detail.accumulator in found
    assert len(units) == len(found)


def test_accumulators_without_calibration(models: Path) -> None:
    with pytest.raises(CalibrationError, match="not calibrated"):
        Session.open(models / "mobile_fmnist.onnx").accumulators()
