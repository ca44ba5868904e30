"""Compile every usual numba kernel ahead of its first use: calibration, program, metrics, memory planning.

    python -m engine.warm

The first meeting of a machine with a kernel costs a second or more; from numba's cache it takes some 10 ms.
"""

from __future__ import annotations

import torch

from engine.analyze.metrics import error_sums
from engine.calibrate.calibration import tensor_range
from engine.calibrate.observers import TensorStatistics
from engine.compile.memory.warm import compile_kernels as compile_planners
from engine.program.warm import compile_kernels


def main() -> None:
    """Run each kernel once on a small tensor."""
    reference = torch.ones(2, 3)
    statistics = TensorStatistics()
    statistics.update(torch.linspace(-1.0, 1.0, 2048).numpy())
    tensor_range(statistics)
    for dtype in (torch.int8, torch.int16, torch.float32):
        error_sums(reference, reference.to(dtype), 1.0)
    compile_kernels()
    compile_planners()


if __name__ == "__main__":
    main()
