"""Integer models in ONNX Runtime beside the program's executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
import torch

from engine.export.integer_onnx import IntegerModel, program_model
from engine.export.qdq.batch import BatchForm
from engine.graph.graph import TensorType
from engine.program.executor import run_instruction
from engine.program.types import Instruction, Program, ProgramConstant, ProgramOp
from engine.qtype import QType
from engine.verify.values import program_values

LEVELS = {
    "optimised": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "plain": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}

Arrays = Mapping[str, np.ndarray]


def runtime(model: onnx.ModelProto, level: str = "plain") -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def computed(runner: onnxruntime.InferenceSession, inputs: Arrays) -> Arrays:
    names = [port.name for port in runner.get_outputs()]
    return dict(zip(names, (np.asarray(value) for value in runner.run(None, dict(inputs))), strict=True))


def mismatches(model: IntegerModel, runner: onnxruntime.InferenceSession, program: Program, inputs: Arrays) -> Arrays:
    """How many elements differ of each value of a model that has its intermediates as outputs."""
    found, expected = computed(runner, inputs), program_values(program, inputs)
    counts: dict[str, np.ndarray] = {}
    for name, wanted in expected.items():
        got = found[model.names[name]]
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape), name
        counts[name] = (got != wanted).sum()
    return counts


def single(
    op: ProgramOp, *inputs: np.ndarray, constants: Sequence[int] = ()
) -> tuple[Program, Mapping[str, TensorType]]:
    """The program of one instruction, ``x0``, ``x1``, ... to ``y``, with the shapes of its values."""
    names = tuple(f"x{index}" for index in range(len(inputs)))
    (result,) = run_instruction(Instruction(op, names, ("y",), ("node",), "unit"), list(map(torch.from_numpy, inputs)))
    known = {name: TensorType(x.shape, x.dtype.name) for name, x in zip(names, inputs, strict=True)}
    known["y"] = TensorType(tuple(result.shape), result.numpy().dtype.name)
    held = {names[index]: ProgramConstant(inputs[index], QType(inputs[index].dtype.name)) for index in constants}
    program = Program(
        instructions=(Instruction(op, names, ("y",), ("node",), "unit"),),
        types={name: QType(kind.dtype) for name, kind in known.items()},
        constants=held,
        inputs={name: name for name in names if name not in held},
        outputs={"y": "y"},
    )
    return program, known


def fixed(program: Program, known: Mapping[str, TensorType]) -> BatchForm:
    """The form with the dimensions that the values have."""
    return BatchForm({}, {name: known[name].shape for name in (*program.inputs, *program.outputs)})


def check(op: ProgramOp, *inputs: np.ndarray, constants: Sequence[int] = ()) -> None:
    """ONNX Runtime computes the executor's bits, with and without optimisations."""
    program, known = single(op, *inputs, constants=constants)
    model = program_model(program, known, fixed(program, known))
    onnx.checker.check_model(model.proto, full_check=True)
    fed = {name: inputs[int(name[1:])] for name in program.inputs}
    wanted = program_values(program, fed)["y"]
    for level in LEVELS:
        found = computed(runtime(model.proto, level), fed)["y"]
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
