"""Time of the integer kernels against the same layers in float32 torch, at the shapes of two known models.

    python -m tests.benchmarks.kernels [--threads 2] [--runs 31] [--shortest] [--model swin_t|efficientnet_lite0]

Both run on the same threads, in turn, so that a busy machine slows both. Each row is one layer shape with how often the
model has it; the totals weigh by that. Inputs of convolutions lie channels-last for the integer kernels (as they do
inside a program) and in torch's default order for float.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.ops.layout import Reshape, Roll, Transpose
from engine.program.arithmetic import scaling_for
from engine.program.executor import run_instruction
from engine.program.norm import integer_layernorm
from engine.program.softmax import integer_softmax
from engine.program.tables import table8
from engine.program.types import (
    AddScaled,
    Convolution,
    DataMovement,
    Dequantise,
    FullyConnected,
    Instruction,
    IntegerSoftmax,
    MatrixProduct,
    MultiplyScaled,
    Output,
    ProgramOp,
    Quantise,
    SumReduce,
)

INT8 = Output("int8", -127, 127)
RELU6 = Output("int8", 0, 127)


@dataclass(frozen=True)
class Case:
    """One layer: the integer operators that compute it one after the other, and its float counterpart."""

    model: str
    name: str
    count: int
    ops: tuple[ProgramOp, ...]
    integers: tuple[Tensor, ...]
    in_float: Callable[[], object]


def _integers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-127, 128, shape, dtype=torch.int8, generator=generator)


def _scaling(channels: int, length: int) -> object:
    return scaling_for(np.full(channels, 1.0 / (70 * np.sqrt(length))))


def _dense(model: str, rows: int, length: int, outputs: int, count: int) -> Case:
    weight = _integers(outputs, length, seed=1).numpy()
    op = FullyConnected(weight, np.zeros(outputs, np.int64), _scaling(outputs, length), INT8)  # type: ignore[arg-type]
    x, w, b = torch.randn(1, rows, length), torch.randn(outputs, length), torch.randn(outputs)
    return Case(
        model, f"linear {rows}x{length}->{outputs}", count, (op,), (_integers(1, rows, length),),
        lambda: F.linear(x, w, b),
    )  # fmt: skip


def _conv(
    model: str, size: int, channels: int, outputs: int, kernel: int, stride: int, count: int, depthwise: bool = False
) -> Case:
    groups = channels if depthwise else 1
    pad = 0 if kernel == stride else kernel // 2
    weight = _integers(outputs, channels // groups, kernel, kernel, seed=1).numpy()
    op = Convolution(
        weight, np.zeros(outputs, np.int64), _scaling(outputs, weight[0].size),  # type: ignore[arg-type]
        RELU6, (stride, stride), (pad,) * 4, (1, 1), groups,
    )  # fmt: skip
    x, w = torch.randn(1, channels, size, size), torch.randn(weight.shape)
    b = torch.randn(outputs)
    kind = "depthwise" if depthwise else "conv"
    name = f"{kind} {kernel}x{kernel}/{stride} {channels}->{outputs} @{size}"
    image = _integers(1, channels, size, size).contiguous(memory_format=torch.channels_last)
    return Case(
        model, name, count, (op,), (image,),
        lambda: F.relu6(F.conv2d(x, w, b, stride, pad, 1, groups)),
    )  # fmt: skip


def _product(windows: int, rows: int, length: int, columns: int, count: int) -> Case:
    op = MatrixProduct(scaling_for(1.0 / 1000), INT8)
    a, b = torch.randn(windows, 3, rows, length), torch.randn(windows, 3, length, columns)
    integers = (_integers(windows, 3, rows, length), _integers(windows, 3, length, columns, seed=1))
    name = f"matmul {windows * 3}x[{rows}x{length} @ {length}x{columns}]"
    return Case("swin_t", name, count, (op,), integers, lambda: a @ b)


def _key_product(windows: int, count: int) -> Case:
    """Queries times keys as an exported model has it: the keys are transposed by an operator of their own."""
    op = MatrixProduct(scaling_for(1.0 / 1000), INT8)
    a, b = torch.randn(windows, 3, 49, 32), torch.randn(windows, 3, 49, 32).mT
    integers = (_integers(windows, 3, 49, 32), _integers(windows, 3, 49, 32, seed=1).mT)
    return Case("swin_t", f"matmul {windows * 3}x[49x32 @ (49x32)^T]", count, (op,), integers, lambda: a @ b)


def _softmax(rows: int, length: int, count: int) -> Case:
    op: IntegerSoftmax = integer_softmax(0.05, "int8", 2, length, 1 / 127, INT8)
    x = torch.randn(1, rows, length)
    return Case(
        "swin_t", f"softmax {rows}x{length}", count, (op,), (_integers(1, rows, length),),
        lambda: torch.softmax(x, -1),
    )  # fmt: skip


def _layernorm(rows: int, length: int, count: int) -> Case:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=length), rng.normal(size=length)
    op = integer_layernorm(0.02, "int8", length, 1e-5, weight, bias, 0.03, INT8, centre=True)
    x, w, b = torch.randn(1, rows, length), torch.randn(length), torch.randn(length)
    return Case(
        "swin_t", f"layernorm {rows}x{length}", count, (op,), (_integers(1, rows, length),),
        lambda: F.layer_norm(x, (length,), w, b),
    )  # fmt: skip


def _gelu(rows: int, length: int, count: int) -> Case:
    def gelu(values: np.ndarray) -> np.ndarray:
        return F.gelu(torch.from_numpy(values)).numpy()

    x = torch.randn(1, rows, length)
    op = table8(gelu, 0.05, 0.05, INT8)
    return Case(
        "swin_t", f"gelu {rows}x{length}", count, (op,), (_integers(1, rows, length),), lambda: F.gelu(x)
    )


def _add(model: str, shape: tuple[int, ...], other: tuple[int, ...], count: int) -> Case:
    op = AddScaled(scaling_for(2.0**20), scaling_for(1.3 * 2**19), scaling_for(2.0**-21), INT8)
    a, b = torch.randn(shape), torch.randn(other)
    name = f"add {list(shape)} + {list(other)}"
    return Case(model, name, count, (op,), (_integers(*shape), _integers(*other, seed=1)), lambda: a + b)


def _scale(shape: tuple[int, ...], count: int) -> Case:
    op = MultiplyScaled(scaling_for(0.01), INT8)
    a, b = torch.randn(shape), torch.randn(())
    name = f"mul {list(shape)} by one value"
    return Case("swin_t", name, count, (op,), (_integers(*shape), _integers()), lambda: a * b)


def _windows(size: int, channels: int, count: int) -> Case:
    """Roll, cut into windows of 7x7 and make the result contiguous: the shifted window's way in."""
    n = size // 7
    steps = (
        Roll((-3, -3), (1, 2)),
        Reshape((1, n, 7, n, 7, channels)),
        Transpose((0, 1, 3, 2, 4, 5)),
        Reshape((n * n, 49, channels)),
    )
    x = torch.randn(1, size, size, channels)

    def in_float() -> Tensor:
        rolled = torch.roll(x, (-3, -3), (1, 2)).view(1, n, 7, n, 7, channels)
        return rolled.permute(0, 1, 3, 2, 4, 5).reshape(n * n, 49, channels)

    ops = tuple(DataMovement(step) for step in steps)
    name = f"windows {size}x{size}x{channels}"
    return Case("swin_t", name, count, ops, (_integers(1, size, size, channels),), in_float)


def _seams(model: str, size: int, outputs: int) -> list[Case]:
    x, logits = torch.randn(1, 3, size, size), torch.randint(-127, 128, (1, outputs), dtype=torch.int8)
    nothing = torch.zeros(1)
    return [
        Case(model, "quantise the picture", 1, (Quantise(0.02, INT8),), (x,), lambda: nothing.relu()),
        Case(model, "dequantise the logits", 1, (Dequantise(0.02),), (logits,), lambda: nothing.relu()),
    ]


def swin_t() -> list[Case]:
    """The operators of Swin-T at 224x224, batch 1."""
    model = "swin_t"
    cases = [_conv(model, 224, 3, 96, 4, 4, 1), *_seams(model, 224, 1000)]
    for stage, (size, depth) in enumerate(((56, 2), (28, 2), (14, 6), (7, 2))):
        channels, rows, windows = 96 << stage, size * size, (size // 7) ** 2
        heads = windows * (1 << stage)
        cases += [
            _dense(model, rows, channels, channels, depth * 4),
            _dense(model, rows, channels, channels * 4, depth),
            _dense(model, rows, channels * 4, channels, depth),
            _gelu(rows, channels * 4, depth),
            _layernorm(rows, channels, depth * 2 + 1),
            _key_product(heads, depth),
            _product(heads, 49, 49, 32, depth),
            _scale((heads, 3, 49, 49), depth),
            _add(model, (heads, 3, 49, 49), (3, 49, 49), depth),
            _softmax(heads * 3 * 49, 49, depth),
            _add(model, (1, rows, channels), (1, rows, channels), depth * 2),
            _windows(size, channels, depth),
        ]
        if stage < 3:
            cases.append(_dense(model, rows // 4, channels * 4, channels * 2, 1))
    return [*cases, _dense(model, 1, 768, 1000, 1)]


def efficientnet_lite0() -> list[Case]:
    """The operators of EfficientNet-Lite0 at 224x224, batch 1."""
    model = "efficientnet_lite0"
    cases = [_conv(model, 224, 3, 32, 3, 2, 1), *_seams(model, 224, 1000)]
    size, channels = 112, 32
    blocks = (
        (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    )  # fmt: skip
    for expand, kernel, first_stride, outputs, repeats in blocks:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            wide = channels * expand
            if expand > 1:
                cases.append(_conv(model, size, channels, wide, 1, 1, 1))
            cases.append(_conv(model, size, wide, wide, kernel, stride, 1, depthwise=True))
            size //= stride
            cases.append(_conv(model, size, wide, outputs, 1, 1, 1))
            if repeat:
                cases.append(_add(model, (1, outputs, size, size), (1, outputs, size, size), 1))
            channels = outputs
    pool = SumReduce((2, 3), True, scaling_for(1 / 49), INT8)
    x = torch.randn(1, 1280, 7, 7)
    image = _integers(1, 1280, 7, 7).contiguous(memory_format=torch.channels_last)
    cases += [
        _conv(model, 7, 320, 1280, 1, 1, 1),
        Case(model, "mean 1280 @7", 1, (pool,), (image,), lambda: x.mean((2, 3), keepdim=True)),
        _dense(model, 1, 1280, 1000, 1),
    ]
    return _merged(cases)


def _merged(cases: Sequence[Case]) -> list[Case]:
    """One case for each name, with the counts added."""
    found: dict[str, Case] = {}
    for case in cases:
        before = found.get(case.name)
        count = case.count + (before.count if before else 0)
        found[case.name] = Case(case.model, case.name, count, case.ops, case.integers, case.in_float)
    return list(found.values())


def measure(case: Case, runs: int, summary: Callable[[list[float]], float]) -> tuple[float, float]:
    """Milliseconds of the integer operators and of float, run in turn: the median or the shortest."""
    instructions = [Instruction(op, (), ("y",), (), "") for op in case.ops]

    def in_integers() -> None:
        values: Sequence[Tensor] = case.integers
        for instruction in instructions:
            values = run_instruction(instruction, values)

    times: tuple[list[float], list[float]] = ([], [])
    for index in range(runs + 2):
        for action, record in ((in_integers, times[0]), (case.in_float, times[1])):
            start = time.perf_counter()
            action()
            if index >= 2:
                record.append((time.perf_counter() - start) * 1e3)
    return summary(times[0]), summary(times[1])


MODELS = {"swin_t": swin_t, "efficientnet_lite0": efficientnet_lite0}


def main(arguments: list[str] | None = None) -> None:
    """Print one row a layer and the totals."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.kernels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("--shortest", action="store_true", help="print the shortest run: for a busy machine")
    parser.add_argument("--model", choices=list(MODELS))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    word = "shortest" if options.shortest else "median"
    for model in [options.model] if options.model else MODELS:
        totals = [0.0, 0.0]
        print(f"{model}, {options.threads} threads, {word} of {options.runs} runs, milliseconds")
        with torch.no_grad():
            for case in MODELS[model]():
                integer_ms, float_ms = measure(case, options.runs, min if options.shortest else statistics.median)
                totals[0] += integer_ms * case.count
                totals[1] += float_ms * case.count
                ratio = integer_ms / float_ms
                print(f"  {case.count:3} x {case.name:44} {integer_ms:8.3f} {float_ms:8.3f}  {ratio:6.2f}", flush=True)
        print(f"        {'all layers':44} {totals[0]:8.2f} {totals[1]:8.2f}  {totals[0] / totals[1]:6.2f}")


if __name__ == "__main__":
    main()
