from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from engine.export.onnx_nodes import Emission, OnnxBuilder, emit
from engine.export.qdq.batch import batch_form
from engine.export.qdq.parameters import parameters_of, real_weight
from engine.graph.graph import TensorType
from engine.ops.elementwise import Silu
from engine.ops.reduce import RMSNorm
from engine.program.arithmetic import scaling_for
from engine.program.types import Convolution, Output
from engine.session import Session
from tests.engine.export.demos import Marks, expected_outputs, opened, stacked

PLANS: dict[str, tuple[str, Marks]] = {
    "mobile_int8": ("mobile_fmnist", ()),
    "mobile_mixed": ("mobile_fmnist", (("se/", "int16"), ("blocks.2", "float"))),
    "swin_int8": ("swin_fmnist", ()),
    "swin_mixed": ("swin_fmnist", (("layers.0", "int16"), ("layers.1/blocks.1/mlp", "float"))),
}
LEVELS = {
    "optimised": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "plain": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
SAMPLES = 16


def exported(session: Session, path: Path) -> onnx.ModelProto:
    session.export(path, "qdq")
    return onnx.load(path)


def runtime(path: Path, level: str = "plain") -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def computed(runner: onnxruntime.InferenceSession, pictures: np.ndarray) -> np.ndarray:
    return np.asarray(runner.run(None, {"image": pictures})[0])


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("plan", PLANS)
def test_onnxruntime_agrees_with_the_integer_program(plan: str, tmp_path: Path) -> None:
    session = opened(*PLANS[plan])
    model = exported(session, tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    pictures, expected = stacked(session, SAMPLES), expected_outputs(session, SAMPLES)["logits"]
    for level in LEVELS:
        runner = runtime(tmp_path / "m.onnx", level)
        found = np.concatenate([computed(runner, x[None]) for x in pictures["image"]])
        assert (found.argmax(1) != expected.argmax(1)).sum() <= 1
        error = ((found - expected) ** 2).sum() / (expected**2).sum()
        assert error < 10**-2.5


def test_every_scale_is_the_program_s(tmp_path: Path) -> None:
    session = opened("mobile_fmnist")
    model, types = exported(session, tmp_path / "m.onnx"), session.program().types
    constants = initializers(model)
    quantised = {n.output[0].rpartition("/")[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
    values = {value for value, qtype in types.items() if qtype.is_quantised and value in session.graph.types}
    assert quantised.keys() == values
    for value, node in quantised.items():
        assert constants[node.input[1]] == np.float32(types[value].scale)
        assert (constants[node.input[2]].dtype.name, int(constants[node.input[2]])) == (types[value].dtype, 0)


def test_weights_are_the_program_s_integers(tmp_path: Path) -> None:
    session = opened("mobile_fmnist")
    constants = initializers(exported(session, tmp_path / "m.onnx"))
    program = session.program()
    layers = [item for item in program.instructions if isinstance(item.op, Convolution)]
    assert layers
    for item in layers:
        assert isinstance(item.op, Convolution)
        stem = session.graph.by_id[item.unit].outputs[0]
        weight, scale = constants[f"{stem}/weight/int8"], constants[f"{stem}/weight/scale"]
        assert np.array_equal(weight, item.op.weight)
        assert np.array_equal(constants[f"{stem}/bias/int32"], item.op.bias)
        in_scale = program.types[item.inputs[0]].scale
        assert constants[f"{stem}/bias/scale"] == pytest.approx(scale * in_scale, rel=1e-6)
        original = session.graph.constants[session.graph.by_id[item.unit].inputs[1]].array
        error = np.abs(weight * scale.reshape(-1, 1, 1, 1) - original)
        assert (error <= 0.51 * scale.reshape(-1, 1, 1, 1)).all()


def test_fused_units_are_quantised_at_their_end_only(tmp_path: Path) -> None:
    session = opened("mobile_fmnist")
    model = exported(session, tmp_path / "m.onnx")
    readers = {name: node.op_type for node in model.graph.node for name in node.input}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    clipped = [readers[node.output[0]] for node in convolutions]
    assert clipped.count("Clip") == sum(node.op_type == "Clip" for node in model.graph.node)
    assert set(clipped) <= {"Clip", "Relu", "QuantizeLinear"}


@pytest.mark.parametrize(("plan", "opset"), [("mobile_int8", 20), ("mobile_mixed", 21)])
def test_opset_is_the_lowest_that_has_the_types(plan: str, opset: int, tmp_path: Path) -> None:
    model = exported(opened(*PLANS[plan]), tmp_path / "m.onnx")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]


def test_float_nodes_stay_float_in_onnxruntime(tmp_path: Path) -> None:
    """A float convolution between quantised values: the runtime would quantise its weights."""
    session = opened("mobile_fmnist", (("blocks.2/project/conv/Conv", "float"),))
    session.export(tmp_path / "m.onnx", "qdq")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3  # it warns that the file is for this machine only
    onnxruntime.InferenceSession(tmp_path / "m.onnx", options)
    optimised = onnx.load(tmp_path / "optimised.onnx")
    (node,) = (n for n in optimised.graph.node if "blocks.2/project/conv" in n.name and "Conv" in n.op_type)
    assert node.op_type in ("Conv", "FusedConv")
    weight = initializers(optimised)[node.input[1]]
    assert weight.dtype == np.float32


def test_notes_count_what_was_written(tmp_path: Path) -> None:
    session = opened(*PLANS["mobile_mixed"])
    notes = session.export(tmp_path / "m.onnx", "qdq").notes
    nodes = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    counts = f"{nodes.count('QuantizeLinear')} QuantizeLinear and {nodes.count('DequantizeLinear')} DequantizeLinear"
    assert notes[0].startswith(counts)
    assert notes[1] == f"{len(session.cpu_nodes())} nodes stay in float"


def test_notes_say_what_rounding_to_expect(tmp_path: Path) -> None:
    narrow = opened("swin_fmnist").export(tmp_path / "m.onnx", "qdq").notes
    kinds = [note for note in narrow if note.startswith(("data movement", "products", "functions"))]
    assert [note.partition("): ")[2].partition(";")[0] for note in kinds] == [
        "no difference",
        "one step at most",
        "one step at most",
    ]
    wide = opened(*PLANS["swin_mixed"]).export(tmp_path / "m.onnx", "qdq").notes
    assert any("): one step at most, in int16 16; " in note for note in wide)


@pytest.mark.parametrize("name", ["mobile_fmnist", "swin_fmnist"])
def test_batch_stays_open(name: str, tmp_path: Path) -> None:
    session = opened(name)
    session.source_graph = replace(session.graph, symbolic_batch=True)
    session.export(tmp_path / "m.onnx", "qdq")
    runner = runtime(tmp_path / "m.onnx")
    assert runner.get_inputs()[0].shape == ["batch", 1, 28, 28]
    assert runner.get_outputs()[0].shape == ["batch", 10]
    pictures = stacked(session, 3)["image"]
    single = np.concatenate([computed(runner, x[None]) for x in pictures])
    assert np.allclose(computed(runner, pictures), single, atol=1e-4)


def test_fixed_batch_stays_fixed() -> None:
    session = opened("mobile_fmnist")
    session.source_graph = replace(session.graph, symbolic_batch=False)
    form = batch_form(session)
    assert not form.is_open
    assert form.dimensions == {"image": (1, 1, 28, 28), "logits": (1, 10)}


def transposed(groups: int, inputs: int, per_group: int) -> Convolution:
    """A transposed convolution whose output channel c has the scale (c + 1) / 1000 of input scale 1, output scale 1."""
    outputs = groups * per_group
    weight = np.arange(inputs * per_group * 3).reshape(inputs, per_group, 3).astype(np.int8)
    scaling = scaling_for((np.arange(outputs) + 1) / 1000)
    bias, output = np.zeros(outputs, np.int64), Output("int8", -127, 127)
    return Convolution(weight, bias, scaling, output, (1,), (0, 0), (1,), groups, transposed=True, output_padding=(0,))


def test_transposed_convolutions_put_scales_where_an_axis_carries_them() -> None:
    one_group = parameters_of(transposed(1, 4, 3), 1.0, 1.0)
    assert one_group is not None
    assert (one_group.axis, one_group.weight_scales) == (1, pytest.approx([0.001, 0.002, 0.003]))
    depthwise = parameters_of(transposed(2, 4, 1), 1.0, 1.0)
    assert depthwise is not None
    assert (depthwise.axis, depthwise.weight_scales) == (0, pytest.approx([0.001, 0.001, 0.002, 0.002]))
    grouped = transposed(2, 4, 2)
    assert parameters_of(grouped, 1.0, 1.0) is None
    expected = grouped.weight * np.array([[1, 2], [1, 2], [3, 4], [3, 4]])[..., None] / 1000
    assert np.allclose(real_weight(grouped, 1.0, 1.0), expected, rtol=1e-6)


@pytest.mark.parametrize("op", [Silu(), RMSNorm(1, 1e-5)])
def test_formulas_stand_in_for_operators_of_later_opsets(op: Silu | RMSNorm) -> None:
    x = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    weight = np.linspace(0.5, 1.5, 5).astype(np.float32)
    builder = OnnxBuilder(20)
    kind = TensorType(x.shape, "float32")
    inputs = ("x",) if isinstance(op, Silu) else ("x", builder.initializer("w", weight))
    emit(op, Emission(builder, "n", inputs, ("y",), (kind, TensorType((5,), "float32"))[: len(inputs)], {}))
    model = builder.model("m", {"x": ("float32", x.shape)}, {"y": ("float32", x.shape)}, {})
    found = np.asarray(onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0])
    root = np.sqrt((x**2).mean(1, keepdims=True) + 1e-5)
    expected = x / (1 + np.exp(-x)) if isinstance(op, Silu) else x / root * weight
    assert np.allclose(found, expected, atol=1e-6)
