"""Running whole programs: order, constants, what is kept, what is freed, errors that name the node."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from engine.errors import DataError, QuantscopeError
from engine.ops.elementwise import Exp
from engine.ops.layout import Pad, Split
from engine.program.arithmetic import scaling_for
from engine.program.executor import run_instruction, run_program
from engine.program.types import (
    AddScaled,
    DataMovement,
    Dequantise,
    FloatKernel,
    FullyConnected,
    Instruction,
    Output,
    Program,
    ProgramConstant,
    ProgramOp,
    Quantise,
    Requantise,
)
from engine.program.warm import compile_kernels
from engine.qtype import QType

INT8 = Output("int8", -127, 127)


def instruction(op: ProgramOp, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Instruction:
    return Instruction(op, inputs, outputs, (f"node_{outputs[0]}",), outputs[0])


def small_program() -> Program:
    """x -> quantise -> pad with 3 -> split -> a + constant, b * 2 -> dequantised."""
    unit = scaling_for(1.0)
    instructions = (
        instruction(Quantise(0.5, INT8), ("x_fed",), ("q",)),
        instruction(DataMovement(Pad((0, 1, 0, 0), value=1.5), fill=3), ("q",), ("padded",)),
        instruction(DataMovement(Split(1, (2, 3))), ("padded",), ("a", "b")),
        instruction(AddScaled(unit, unit, unit, INT8), ("a", "c"), ("sum",)),
        instruction(Requantise(scaling_for(2.0), INT8), ("b",), ("double",)),
        instruction(Dequantise(0.5), ("sum",), ("y",)),
        instruction(FloatKernel(Exp()), ("y",), ("e",)),
    )
    constants = {"c": ProgramConstant(np.array([10, 20], np.int8), QType("int8", 0.5))}
    return Program(
        instructions, {}, constants, inputs={"x": "x_fed"}, outputs={"out": "y", "twice": "double", "exp": "e"}
    )


X = torch.tensor([[1.0, -2.25, 60.0, -70.0]])


def test_outputs_by_the_models_names() -> None:
    results = run_program(small_program(), {"x": X})
    assert list(results) == ["out", "twice", "exp"]
    assert results["out"].tolist() == [[6.5, 11.0]]
    assert results["twice"].tolist() == [[-8, 127, -127]]
    torch.testing.assert_close(results["exp"], torch.exp(results["out"]))


def test_kept_values_and_visits() -> None:
    seen: list[tuple[str, tuple[int, ...]]] = []

    def visit(item: Instruction, operands: object, results: object) -> None:
        assert isinstance(results, tuple)
        seen.extend((name, tuple(result.shape)) for name, result in zip(item.outputs, results, strict=True))

    results = run_program(small_program(), {"x": X}, keep=("q", "c"), visit=visit)
    assert results["q"].tolist() == [[2, -4, 120, -127]]
    assert results["c"].tolist() == [10, 20]
    assert [name for name, _ in seen] == ["q", "padded", "a", "b", "sum", "double", "y", "e"]
    assert seen[1] == ("padded", (1, 5))


def test_values_are_freed_after_their_last_use() -> None:
    alive: dict[str, weakref.ref[torch.Tensor]] = {}
    at_end: set[str] = set()

    def visit(item: Instruction, _operands: object, results: object) -> None:
        assert isinstance(results, tuple)
        if item.outputs == ("y",):
            at_end.update(name for name, reference in alive.items() if reference() is not None)
        alive.update({name: weakref.ref(result) for name, result in zip(item.outputs, results, strict=True)})

    run_program(small_program(), {"x": X}, visit=visit)
    assert at_end == {"sum", "double"}


def test_programs_on_several_threads_at_once() -> None:
    program, inputs = small_program(), {"x": X}
    wanted = run_program(program, inputs)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: run_program(program, inputs), range(40)))
    for results in runs:
        assert all(torch.equal(results[name], wanted[name]) for name in wanted)


def test_kernels_can_be_compiled_ahead() -> None:
    compile_kernels()


def test_a_missing_input() -> None:
    with pytest.raises(DataError, match="no data for input 'x'; inputs are x"):
        run_program(small_program(), {})


def test_an_operator_without_kernel_names_the_node() -> None:
    with pytest.raises(QuantscopeError, match=r"node 'node_y': .* has no kernel"):
        run_instruction(instruction(ProgramOp(), (), ("y",)), [])


def test_prepared_weights_go_with_their_operator() -> None:
    op = FullyConnected(np.ones((2, 3), np.int8), np.zeros(2, np.int64), scaling_for(1.0), INT8)
    x = torch.ones((1, 3), dtype=torch.int8)
    (first,) = run_instruction(instruction(op, ("x",), ("y",)), [x])
    (again,) = run_instruction(instruction(op, ("x",), ("y",)), [x])
    assert first.tolist() == again.tolist() == [[3, 3]]
    gone = weakref.ref(op)
    del op
    gc.collect()
    assert gone() is None
