"""Compiling the usual kernels ahead of their first use (``python -m engine.warm`` compiles these and the others).

A kernel takes one to three seconds to compile the first time that a machine meets it, and about 10 ms to load from
numba's cache afterwards. Compiling all of them at installation takes half a minute; a session then never waits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from engine.program.arithmetic import scaling_for
from engine.program.executor import run_instruction
from engine.program.norm import integer_layernorm
from engine.program.softmax import integer_softmax
from engine.program.tables import table8, table16
from engine.program.types import (
    AddScaled,
    AveragePoolInteger,
    Convolution,
    ExtremeScaled,
    FullyConnected,
    Instruction,
    MatrixProduct,
    MultiplyScaled,
    Output,
    ProgramOp,
    Quantise,
    Requantise,
    SumReduce,
)

_SIZE = 4


def compile_kernels() -> None:
    """Run a tiny instruction of each usual kind, for int8 and for int16 activations."""
    for dtype, largest in (("int8", 127), ("int16", 32767)):
        output = Output(dtype, -largest, largest)
        x = torch.ones((1, _SIZE, _SIZE, _SIZE), dtype=getattr(torch, dtype))
        for op, inputs in _instructions(x, dtype, output):
            run_instruction(Instruction(op, (), ("y",), (), ""), inputs)


def _instructions(x: Tensor, dtype: str, output: Output) -> Iterator[tuple[ProgramOp, tuple[Tensor, ...]]]:
    """Operators with the inputs to run them on; ``x`` is [1, 4, 4, 4]."""
    unit, ones = scaling_for(1.0), np.ones(_SIZE)
    bias = np.zeros(_SIZE, np.int64)
    yield Quantise(1.0, output), (x.float(),)
    yield Requantise(unit, output), (x,)
    for groups in (1, _SIZE):
        weight = np.ones((_SIZE, _SIZE // groups, 3, 3), np.int8)
        yield Convolution(weight, bias, unit, output, (1, 1), (1, 1, 1, 1), (1, 1), groups), (x,)
    yield FullyConnected(np.ones((_SIZE, _SIZE), np.int8), bias, unit, output), (x,)
    yield MatrixProduct(unit, output), (x, x)
    yield AddScaled(unit, unit, unit, output), (x, x)
    yield AddScaled(unit, None, unit, output), (x, x.to(torch.int32))
    yield MultiplyScaled(unit, output), (x, x)
    yield ExtremeScaled(unit, unit, output, maximum=True), (x, x)
    yield (table8 if dtype == "int8" else table16)(np.tanh, 1.0, 1.0, output), (x,)
    yield SumReduce((2, 3), True, unit, output), (x,)
    yield AveragePoolInteger((2, 2), (1, 1), (0, 0, 0, 0), (0, 0, 0, 0)), (x,)
    yield integer_softmax(0.1, dtype, 3, _SIZE, 1 / output.high, output), (x,)
    yield integer_layernorm(0.1, dtype, _SIZE, 1e-5, ones, ones, 0.1, output, centre=True), (x,)
