"""Every operator as ONNX nodes: read back it computes the same bits, and ONNX Runtime computes the same numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernelError

from engine.errors import ExportError
from engine.export import cpu_segment
from engine.export.cpu_segment import segment_model
from engine.export.onnx_nodes import TO_ONNX
from engine.export.segments import CPU, cut
from engine.graph.graph import TensorType
from engine.ops import elementwise as e
from engine.ops import layout as lay
from engine.ops import linear as lin
from engine.ops import logic
from engine.ops import reduce as red
from engine.ops.base import Op
from engine.ops.float_kernels import FLOAT, run_node
from engine.ops.other import Input, OnnxOp, Unsupported
from engine.program.types import FloatKernel, Instruction, Program, ProgramConstant
from engine.qtype import QType

GENERATOR = np.random.default_rng(7)
IMAGE, MATRIX, CUBE = (1, 4, 6, 6), (3, 5), (2, 3, 5)


def weights(*shape: int) -> np.ndarray:
    return GENERATOR.normal(size=shape).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """An operator, the shapes of its activations, and its constants by input position."""

    op: Op
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    label: str = ""


def whole(op_type: str, opset: int, inputs: int) -> OnnxOp:
    names = [f"i{index}" for index in range(inputs)]
    body = helper.make_node(op_type, names, ["o0"])
    function = helper.make_function("", "body", names, ["o0"], [body], [helper.make_opsetid("", opset)])
    return OnnxOp(op_type, "", opset, function.SerializeToString(deterministic=True))


UNARY: tuple[e.Unary, ...] = (
    e.Relu(), e.Clip(-0.5, 0.75), e.Clip(-math.inf, 0.5), e.Clip(-0.25, math.inf), e.LeakyRelu(0.2), e.Elu(0.7),
    e.Celu(0.7), e.Selu(), e.ThresholdedRelu(0.3), e.HardSigmoid(0.3, 0.4), e.HardSwish(), e.Sigmoid(), e.Silu(),
    e.Gelu(), e.Gelu(approximate=True), e.Mish(), e.Softplus(), e.Softsign(), e.Tanh(), e.Erf(), e.Exp(), e.Log(),
    e.Sqrt(), e.Reciprocal(), e.Neg(), e.Abs(), e.Sign(), e.Floor(), e.Ceil(), e.Round(), e.Sin(), e.Cos(),
    e.Affine(1 / 3, 0.0, "Div"), e.Affine(1.0, 0.3, "Add"), e.Affine(-1.0, 0.3, "Sub"), e.Affine(0.7, 0.3),
    e.PowScalar(2.0), e.PowScalar(0.5), e.DivInto(1.5), e.PowOf(1.7), e.ModScalar(0.4), e.Silu(1.7), e.Shrink(0.2, 0.3),
    e.Tan(), e.Asin(), e.Acos(), e.Atan(), e.Sinh(), e.Cosh(), e.Asinh(), e.Acosh(), e.Atanh(),
)  # fmt: skip
BINARY = (
    e.Add(), e.Sub(), e.Mul(), e.Div(), e.Pow(), e.Minimum(), e.Maximum(), e.Mod(True), logic.Equal(), logic.Greater(),
    logic.GreaterOrEqual(), logic.Less(), logic.LessOrEqual(),
)  # fmt: skip
TRUTH = np.array([[True, False], [False, True]])
CASES: list[Case] = [
    *(Case(op) for op in UNARY),
    *(Case(op, (CUBE, (3, 1))) for op in BINARY),
    *(Case(op, (IMAGE,), {1: weights(4, 1, 1)}, "constant") for op in BINARY),
    Case(e.PRelu(), (IMAGE,), {1: weights(4, 1, 1)}),
    Case(e.Where(), (CUBE, CUBE), {0: np.array([[True], [False], [True]])}),
    *(Case(op, (), {0: TRUTH, 1: TRUTH[0]}) for op in (logic.And(), logic.Or(), logic.Xor())),
    Case(logic.Not(), (), {0: TRUTH}),
    Case(logic.IsNaN()),
    Case(logic.IsInf(positive=False)),
    Case(logic.Cast("float32", "bool")),
    Case(logic.Cast("bool", "float32"), (), {0: TRUTH}, "truth"),
    Case(logic.Cast("float32", "int64"), label="whole"),
    Case(lay.Reshape((4, 9, 4))),
    Case(lay.Transpose((0, 2, 3, 1))),
    Case(lay.Concat(1), (IMAGE, IMAGE)),
    Case(lay.Split(1, (1, 3))),
    Case(lay.Slice((0, 1, 5, 0), (1, 4, -1, 6), (1, 2, -2, 1))),
    Case(lay.Pad((0, 0, 1, 2, 0, 0, 0, 1), "constant", 1.5)),
    Case(lay.Pad((0, 0, 1, 2, 0, 0, 0, 1), "reflect"), label="reflect"),
    Case(lay.Pad((0, 0, 1, 2, 0, 0, 0, 1), "edge"), label="edge"),
    Case(lay.Gather(1, (3, 0, 1, 1), (2, 2))),
    Case(lay.Gather(2, (5,), ()), label="scalar"),
    Case(lay.LookUp(1), (IMAGE,), {1: np.array([[3, -1], [0, 1]])}),
    Case(lay.Expand((2, 3, 4)), ((3, 1),)),
    Case(lay.Tile((1, 2, 1, 3))),
    Case(lay.Roll((-2, 1), (2, 3))),
    Case(lay.DepthToSpace(2, "DCR")),
    Case(lay.DepthToSpace(2, "CRD"), label="CRD"),
    Case(lay.SpaceToDepth(2)),
    Case(lay.SpaceToDepth(2, "CRD"), label="CRD"),
    Case(lay.Identity()),
    Case(Input()),
    Case(lin.Conv((2, 1), (1, 0, 1, 0), (1, 1), 2), (IMAGE,), {1: weights(6, 2, 3, 3), 2: weights(6)}),
    Case(lin.Conv((1, 1), (0, 1, 1, 0), (1, 2)), (IMAGE,), {1: weights(2, 4, 3, 2)}, "uneven"),
    Case(
        lin.ConvTranspose((2, 2), (1, 0, 1, 0), (1, 1), (1, 0), 2), (IMAGE,), {1: weights(4, 3, 3, 3), 2: weights(6)}
    ),
    Case(lin.Linear(), (MATRIX,), {1: weights(7, 5), 2: weights(7)}),
    Case(lin.Linear("MatMul"), (CUBE,), {1: np.asfortranarray(weights(7, 5)), 2: weights(7)}, "columns"),
    Case(lin.Linear("MatMul"), (MATRIX,), {1: np.asfortranarray(weights(7, 5))}, "columns of a matrix"),
    Case(lin.MatMul(), (CUBE, (5, 4))),
    *(
        Case(cls(axes, keepdims), label=f"{len(axes)} {keepdims}")
        for cls in (
            red.ReduceMean, red.ReduceSum, red.ReduceMax, red.ReduceMin, red.ReduceL2, red.ReduceL1,
            red.ReduceSumSquare, red.ReduceProd, red.ReduceLogSum, red.ReduceLogSumExp,
        )
        for axes, keepdims in (((2, 3), True), ((1,), False))
    ),
    Case(red.ReduceL2(()), label="no axes"),
    Case(red.MaxPool((3, 2), (2, 2), (1, 0, 1, 1), (1, 2))),
    Case(red.AveragePool((3, 3), (2, 2), (1, 1, 1, 1), True, (1, 1, 1, 1))),
    Case(red.AveragePool((3, 3), (2, 2), (0, 0, 1, 1), True, (0, 0, 0, 0)), label="ceil"),
    Case(red.AveragePool((3, 3), (2, 2), (0, 1, 1, 0)), label="real elements"),
    Case(red.Softmax(1)),
    Case(red.LogSoftmax(3)),
    Case(red.LayerNorm(1, 1e-6), (CUBE,), {1: weights(5), 2: weights(5)}),
    Case(red.LayerNorm(2), (CUBE,), {}, "bare"),
    Case(red.RMSNorm(1), (CUBE,), {1: weights(5)}),
    Case(red.RMSNorm(1), (CUBE,), {}, "bare"),
    Case(red.InstanceNorm(), (IMAGE,), {1: weights(4), 2: weights(4)}),
    Case(red.GroupNorm(2), (IMAGE,), {1: weights(4), 2: weights(4)}),
    Case(red.BatchNorm(), (IMAGE,), {1: weights(4), 2: weights(4)}),
    Case(red.ArgMax(1, False)),
    Case(red.ArgMin(2, True, True)),
    Case(red.Resize((12, 9), (2.0, 1.5))),
    Case(red.Resize((11, 7), (11 / 6, 7 / 6), "linear"), label="sizes"),
    Case(red.Resize((12, 12), (2.0, 2.0), "cubic", "align_corners"), label="cubic"),
    Case(red.Resize((3, 4), (0.5, float(np.float32(0.7))), "linear", antialias=True), label="antialias"),
    Case(whole("CumSum", 14, 2), (MATRIX,), {1: np.array(1, np.int64)}),
    Case(whole("Hardmax", 11, 1), (MATRIX,), {}, "old"),
]


def built(case: Case) -> tuple[Program, dict[str, TensorType]]:
    """A program of one float kernel."""
    count = len(case.shapes) + len(case.constants)
    names = [f"c{index}" if index in case.constants else f"x{index}" for index in range(count)]
    types = {f"c{i}": TensorType(a.shape, a.dtype.name) for i, a in case.constants.items()}
    shapes = iter(case.shapes)
    types |= {name: TensorType(next(shapes), "float32") for name in names if name[0] == "x"}
    outputs = run_node(case.op, [_tensor(case, types, name) for name in names])
    made = tuple(f"y{index}" for index in range(len(outputs)))
    for name, output in zip(made, outputs, strict=True):
        types[name] = TensorType(tuple(output.shape), str(output.dtype).removeprefix("torch."))
    instruction = Instruction(FloatKernel(case.op), tuple(names), made, ("node",), "node")
    constants = {f"c{i}": ProgramConstant(a, QType(a.dtype.name)) for i, a in case.constants.items()}
    inputs = {name: name for name in names if name[0] == "x"}
    return Program((instruction,), {}, constants, inputs, {name: name for name in made}), types


def _tensor(case: Case, types: dict[str, TensorType], name: str) -> torch.Tensor:
    if name[0] == "c":
        return torch.from_numpy(np.array(case.constants[int(name[1:])]))
    return torch.zeros(types[name].shape)


def name_of(case: Case) -> str:
    return f"{type(case.op).__name__} {case.label}".strip()


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_is_read_back_with_the_same_bits(case: Case) -> None:
    """``segment_model`` computes both ways and refuses a difference; ONNX Runtime is asked for its opinion too."""
    program, types = built(case)
    (segment,) = cut(program)
    assert segment.kind == CPU
    data = segment_model(program, segment, types.__getitem__, "segment")
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    feeds = {name: np.abs(weights(*types[name].shape)) + np.float32(0.1) for name in segment.inputs}
    operands = [
        torch.from_numpy(feeds[name]) if name in feeds else _tensor(case, types, name)
        for name in program.instructions[0].inputs
    ]
    expected = run_node(case.op, operands)
    try:
        runner = onnxruntime.InferenceSession(data)
    except NoKernelError:
        pytest.skip("ONNX Runtime has no kernel for it")
    for found, wanted in zip(runner.run(list(segment.outputs), feeds), expected, strict=True):
        assert np.allclose(np.asarray(found), wanted.numpy(), rtol=2e-4, atol=2e-5, equal_nan=True)


def test_every_operator_with_a_float_kernel_has_a_case() -> None:
    covered = {type(case.op) for case in CASES}
    assert covered == set(FLOAT) - {Unsupported} == set(TO_ONNX) - {Unsupported}


def test_an_operator_of_another_opset_is_a_segment_of_its_own() -> None:
    steps = (e.Relu(), whole("Hardmax", 11, 1), e.Abs(), e.Neg())
    instructions = tuple(
        Instruction(FloatKernel(op), (f"v{i}",), (f"v{i + 1}",), (f"n{i}",), f"n{i}") for i, op in enumerate(steps)
    )
    program = Program(instructions, {}, {}, {"x": "v0"}, {"y": "v4"})
    segments = cut(program)
    assert [(s.opset, s.inputs, s.outputs) for s in segments] == [
        (24, ("v0",), ("v1",)),
        (11, ("v1",), ("v2",)),
        (24, ("v2",), ("v4",)),
    ]


def test_different_bits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_tanh(op: Op, emission: cpu_segment.Emission) -> None:
        emission.node("Tanh")

    monkeypatch.setattr(cpu_segment, "emit", as_tanh)
    program, types = built(Case(e.Sigmoid()))
    (segment,) = cut(program)
    with pytest.raises(ExportError, match="node 'node': its ONNX form does not compute the same bits"):
        segment_model(program, segment, types.__getitem__, "segment")
