"""The import as a whole: binding, names, folding, functions, control flow, laziness, digests."""

from __future__ import annotations

import gc
import hashlib
import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from engine.errors import GraphError
from engine.graph.float_run import run_float
from engine.graph.graph import Graph
from engine.graph.lazy import derived
from engine.graph.load import load_model
from engine.graph.onnx_file import open_onnx
from engine.ops.layout import Identity, Reshape
from engine.ops.other import OnnxOp
from tests.engine.graph.onnx_models import Array, assert_same, build, loaded, node, operators, type_names

_GENERATOR = np.random.default_rng(3)


def floats(*shape: int) -> Array:
    return _GENERATOR.uniform(-2, 2, shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


# --- binding


def _shape_of(shape: list[int | str | None], **options: object) -> tuple[int, ...]:
    model = build([node("Relu", ["x"], ["y"])], {"x": shape}, ["y"])
    return loaded(model, **options).types["y"].shape  # type: ignore[arg-type]


def test_leading_symbol_is_the_batch() -> None:
    assert _shape_of(["anything", 4], batch=3) == (3, 4)


def test_batch_by_name_elsewhere() -> None:
    assert _shape_of([5, "batch_size"], batch=3) == (5, 3)


def test_nameless_dimensions_are_called_by_input_and_axis() -> None:
    assert _shape_of([None, 3, None, "?"], bindings={"x.2": 8, "x.3": 9}) == (1, 3, 8, 9)


def test_a_binding_wins_over_the_batch() -> None:
    assert _shape_of(["n", 4], batch=3, bindings={"n": 7}) == (7, 4)


def test_fixed_dimensions_stay() -> None:
    assert _shape_of([2, 4], batch=9) == (2, 4)


def test_one_symbol_in_two_inputs() -> None:
    model = build([node("Add", ["a", "b"], ["y"])], {"a": ["n", 4], "b": [1, "n"]}, ["y"])
    with pytest.raises(GraphError, match="do not broadcast"):
        loaded(model, batch=3)
    assert loaded(model, batch=4).types["y"].shape == (4, 4)


def test_initializers_that_are_also_inputs_are_weights() -> None:
    model = build([node("Add", ["x", "w"], ["y"])], {"x": [1, 4], "w": [4]}, ["y"], {"w": floats(4)})
    assert loaded(model).inputs == ("x",)


# --- names


def test_ids_are_the_file_s_names_and_namespaces_their_scopes() -> None:
    nodes = [
        node("Relu", ["x"], ["a"], name="/layers.0/blocks.1/attn/Relu"),
        node("Abs", ["a"], ["b"], name="/layers.0/blocks.1/attn/Relu"),
        node("Neg", ["b"], ["c"], name=""),
        node("Ceil", ["c"], ["y"], name=""),
    ]
    graph = loaded(build(nodes, {"x": [1, 4]}, ["y"]))
    assert [n.id for n in graph.nodes] == [
        "input/x",
        "/layers.0/blocks.1/attn/Relu",
        "/layers.0/blocks.1/attn/Relu_1",
        "/Neg",
        "/Ceil",
    ]
    assert graph.nodes[1].namespace == ("layers.0", "blocks.1", "attn")
    assert graph.nodes[1].name == "Relu"


def test_torch_s_scopes_make_readable_ids() -> None:
    nodes = [node("Tanh", ["x"], ["a"], name="node_relu_7"), node("Tanh", ["a"], ["y"], name="node_relu_9")]
    for proto in nodes:
        proto.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'enc', 'enc.layers.0', 'relu']")
    graph = loaded(build(nodes, {"x": [1, 4]}, ["y"]))
    assert [n.id for n in graph.nodes[1:]] == ["/enc/layers.0/Tanh", "/enc/layers.0/Tanh_1"]
    assert graph.nodes[1].namespace == ("enc", "layers.0")
    assert graph.nodes[1].provenance == ("node_relu_7",)


def test_malformed_scopes_are_ignored() -> None:
    proto = node("Relu", ["x"], ["y"])
    proto.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="__import__('os')")
    assert loaded(build([proto], {"x": [1, 4]}, ["y"])).nodes[1].id == "/net/y"


def test_import_is_repeatable() -> None:
    model = build(
        [node("Gemm", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])], {"x": [1, 4]}, ["y"], {"w": floats(4, 4)}
    )
    assert loaded(model).nodes == loaded(model).nodes


# --- folding and cleaning


def test_same_padding_computed_from_shapes_folds_away() -> None:
    """The way exporters spell dynamic padding: Shape, Gather, arithmetic, Concat, Cast, Pad."""
    nodes = [
        node("Shape", ["x"], ["s"]), node("Gather", ["s", "two"], ["h"]), node("Cast", ["h"], ["hf"], to=1),
        node("Div", ["hf", "stride"], ["q"]), node("Ceil", ["q"], ["c"]), node("Mul", ["c", "stride"], ["m"]),
        node("Sub", ["m", "hf"], ["d"]), node("Cast", ["d"], ["di"], to=7), node("Unsqueeze", ["di", "zero"], ["du"]),
        node("Concat", ["zeros", "du", "one0"], ["pads"], axis=0), node("Pad", ["x", "pads"], ["p"]),
        node("Conv", ["p", "w"], ["y"], strides=[2, 2]),
    ]  # fmt: skip
    constants = {
        "two": np.array(2), "stride": np.array(4, np.float32), "zero": ints(0), "zeros": ints(0, 0, 0, 0, 0, 0),
        "one0": ints(0), "w": floats(4, 3, 3, 3),
    }  # fmt: skip
    x = floats(1, 3, 9, 9)
    assert type_names(assert_same(build(nodes, {"x": x}, ["y"], constants), {"x": x})) == ["Conv"]


def test_constants_fold_without_being_read() -> None:
    nodes = [
        node("Transpose", ["w"], ["t"]), node("Mul", ["t", "t"], ["m"]), node("Add", ["x", "m"], ["y"]),
    ]  # fmt: skip
    x = floats(1, 40)
    graph = assert_same(build(nodes, {"x": x}, ["y"], {"w": floats(40, 3)}), {"x": x})
    assert type_names(graph) == ["Add"]


def test_long_chains_of_constants_are_read_without_recursing() -> None:
    nodes = [node("Neg", [f"c{i}"], [f"c{i + 1}"]) for i in range(2000)]
    nodes.append(node("Add", ["x", "c2000"], ["y"]))
    x = floats(1, 40)
    assert type_names(assert_same(build(nodes, {"x": x}, ["y"], {"c0": floats(40)}), {"x": x})) == ["Add"]


def test_dead_nodes_and_weights_vanish() -> None:
    nodes = [node("Relu", ["x"], ["y"]), node("MatMul", ["x", "w"], ["unused"])]
    graph = loaded(build(nodes, {"x": [1, 4]}, ["y"], {"w": floats(4, 4)}))
    assert type_names(graph) == ["Relu"]
    assert set(graph.types) == {"x", "y"}
    assert not graph.constants


def test_unused_inputs_stay() -> None:
    graph = loaded(build([node("Relu", ["x"], ["y"])], {"x": [1, 4], "z": [1, 4]}, ["y"]))
    assert graph.inputs == ("x", "z")


IDENTITY = node("Identity", ["a"], ["y"])
RELU = node("Relu", ["x"], ["a"])


@pytest.mark.parametrize(
    ("nodes", "outputs", "kept"),
    [
        ([node("Identity", ["x"], ["y"])], ["y"], ["Identity"]),
        ([RELU, IDENTITY], ["y"], ["Relu"]),
        ([RELU, IDENTITY], ["a", "y"], ["Relu", "Identity"]),
        ([RELU, IDENTITY, node("Abs", ["a"], ["z"])], ["y", "z"], ["Relu", "Abs"]),
        ([RELU, IDENTITY, node("Identity", ["a"], ["z"])], ["y", "z"], ["Relu", "Identity"]),
        ([node("Identity", ["c"], ["y"])], ["y"], ["Identity"]),
        ([node("Identity", ["x"], ["a"]), node("Relu", ["a"], ["y"])], ["y"], ["Relu"]),
    ],
)
def test_identities_vanish_except_where_an_output_needs_one(
    nodes: list[onnx.NodeProto], outputs: list[str], kept: list[str]
) -> None:
    x = floats(2, 3)
    graph = assert_same(build(nodes, {"x": x}, outputs, {"c": floats(2)}), {"x": x})
    assert type_names(graph) == kept
    assert graph.outputs == tuple(outputs)


def test_an_initializer_as_output() -> None:
    x = floats(2, 3)
    graph = assert_same(build([node("Relu", ["x"], ["y"])], {"x": x}, ["y", "c"], {"c": floats(2)}), {"x": x})
    assert isinstance(graph.producer["c"].op, Identity)


@pytest.mark.parametrize("attribute", [{"value_float": 1.5}, {"value_floats": [1.5] * 4}, {"value_int": 2}])
def test_constant_nodes(attribute: dict[str, object]) -> None:
    cast = node("Cast", ["c"], ["f"], to=1)
    nodes = [node("Constant", [], ["c"], **attribute), cast, node("Mul", ["x", "f"], ["y"])]
    x = floats(2, 4)
    assert type_names(assert_same(build(nodes, {"x": x}, ["y"]), {"x": x})) == ["Mul"]


def test_large_weights_in_constant_nodes_are_lazy(tmp_path: Path) -> None:
    weight = floats(64, 64)
    constant = node("Constant", [], ["w"], value=numpy_helper.from_array(weight))
    model = build([constant, node("MatMul", ["x", "w"], ["y"])], {"x": [1, 64]}, ["y"])
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    graph = load_model(path)
    (stored,) = graph.constants.values()
    assert "array" not in stored.__dict__
    np.testing.assert_array_equal(stored.array, weight.T)


def test_empty_reshape_with_allowzero() -> None:
    nodes = [node("Slice", ["x", "one", "one"], ["e"]), node("Reshape", ["e", "s"], ["y"], allowzero=1)]
    x = floats(2, 3)
    graph = assert_same(build(nodes, {"x": x}, ["y"], {"one": ints(1), "s": ints(3, 0)}), {"x": x})
    assert operators(graph)[-1] == Reshape((3, 0))


# --- functions, control flow, fallbacks


def test_functions_are_inlined() -> None:
    body = [node("Mul", ["a", "a"], ["s"]), node("Add", ["s", "b"], ["r"])]
    function = helper.make_function("acme", "Poly", ["a", "b"], ["r"], body, [helper.make_opsetid("", 17)])
    nodes = [node("Poly", ["x", "x"], ["m"], domain="acme"), node("Poly", ["m", "x"], ["y"], domain="acme")]
    x = floats(2, 3)
    model = build(nodes, {"x": x}, ["y"], functions=[function], domains=["acme"])
    graph = assert_same(model, {"x": x})
    assert type_names(graph) == ["Mul", "Add", "Mul", "Add"]
    assert len({n.id for n in graph.nodes}) == 5


def test_unsorted_nodes_are_sorted() -> None:
    x = floats(2)
    graph = loaded(build([node("Relu", ["a"], ["y"]), node("Abs", ["x"], ["a"])], {"x": x}, ["y"]))
    assert type_names(graph) == ["Abs", "Relu"]


def test_random_operators_are_not_folded() -> None:
    nodes = [node("RandomNormal", [], ["r"], shape=[4], seed=1.0), node("Add", ["x", "r"], ["y"])]
    graph = loaded(build(nodes, {"x": [1, 4]}, ["y"]))
    assert type_names(graph) == ["RandomNormal", "Add"]


def test_what_has_no_class_runs_by_the_reference() -> None:
    x = floats(3, 4)
    graph = assert_same(build([node("CumSum", ["x", "a"], ["y"])], {"x": x}, ["y"], {"a": np.array(1)}), {"x": x})
    (op,) = operators(graph)
    assert isinstance(op, OnnxOp)
    assert hash(op) == hash(OnnxOp(op.op_type, op.domain, op.opset, op.body))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats(dtype: str) -> None:
    x = floats(2, 3).astype(dtype)
    w = floats(3, 4).astype(dtype)
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])]
    assert_same(build(nodes, {"x": x}, ["y"], {"w": w}), {"x": x}, tolerance=2e-3)


def test_large_weights_in_typed_fields(tmp_path: Path) -> None:
    model = build([node("MatMul", ["x", "w"], ["y"])], {"x": [1, 16]}, ["y"])
    weight = floats(16, 16)
    model.graph.initializer.append(helper.make_tensor("w", onnx.TensorProto.FLOAT, [16, 16], weight.ravel().tolist()))
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    np.testing.assert_array_equal(next(iter(load_model(path).constants.values())).array, weight.T)


def test_quantised_files_keep_their_operators() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        node("DequantizeLinear", ["wq", "scale", "zero"], ["w"]),
        node("MatMul", ["d", "w"], ["y"]),
    ]
    constants = {
        "scale": np.array(0.1, np.float32),
        "zero": np.array(0, np.int8),
        "wq": _GENERATOR.integers(-9, 9, (4, 4)).astype(np.int8),
    }
    x = floats(2, 4)
    graph = assert_same(build(nodes, {"x": x}, ["y"], constants), {"x": x})
    assert type_names(graph) == ["QuantizeLinear", "DequantizeLinear", "MatMul"]


# --- the file


def _saved_with_external_data(folder: Path) -> Path:
    model = build([node("MatMul", ["x", "w"], ["y"])], {"x": [1, 64]}, ["y"], {"w": floats(64, 64)})
    path = folder / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin")
    return path


def test_digest_is_of_the_content(tmp_path: Path) -> None:
    model = build([node("Relu", ["x"], ["y"])], {"x": [1, 4]}, ["y"])
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    assert load_model(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_digest_covers_external_data(tmp_path: Path) -> None:
    path = _saved_with_external_data(tmp_path)
    before = load_model(path).digest
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[7] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    assert load_model(path).digest != before


def test_source_and_opset_are_kept(tmp_path: Path) -> None:
    path = _saved_with_external_data(tmp_path)
    graph = load_model(path)
    assert (graph.source, graph.opset, graph.name) == (path, 17, "m")


def test_a_graph_can_be_freed(tmp_path: Path) -> None:
    graph: Graph | None = load_model(_saved_with_external_data(tmp_path))
    assert graph is not None
    constant = weakref.ref(next(iter(graph.constants.values())))
    graph = None
    gc.collect()
    assert constant() is None


def test_weights_that_are_folded_are_held_once(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Mul", ["c", "s"], ["y"])]
    constants = {"w": floats(8, 16, 3, 3), "s": floats(8, 1, 1)}
    path = tmp_path / "m.onnx"
    onnx.save(build(nodes, {"x": [1, 16, 5, 5]}, ["y"], constants), path)
    model = open_onnx(path)
    tensor = model.model.graph.initializers["w"].const_value
    assert tensor is not None
    stored = model.weights.constant(tensor)
    doubled = derived(stored.type, np.add, stored, stored)
    np.testing.assert_array_equal(doubled.array, 2 * constants["w"])
    assert "array" not in vars(stored)
    x = floats(1, 16, 5, 5)
    (y,) = run_float(load_model(path), {"x": x}).values()
    expected_y = run_float(loaded(build(nodes[:1], {"x": x}, ["c"], constants)), {"x": x})["c"].numpy() * constants["s"]
    np.testing.assert_allclose(y.numpy(), expected_y, rtol=1e-5, atol=1e-5)
