"""The integer stage: the program gives the same bits however it is run."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from engine.errors import Cancelled
from engine.program.executor import run_instruction, run_program
from engine.program.types import FloatKernel, Instruction
from engine.verify.checks import Job, NotComparedError, Outcome, processor_count
from engine.verify.tally import Tally, exact
from engine.verify.values import from_float, program_values

UNIT = ""
BATCH = 2


def compare_threads(job: Job) -> Outcome:
    """Every integer instruction with one thread and with several, on the same values.

    Raises Cancelled.
    """
    several = max(2, processor_count())
    tally = Tally(exact)

    def visit(item: Instruction, operands: Sequence[Tensor | None], results: Sequence[Tensor]) -> None:
        if job.cancelled():
            raise Cancelled
        if isinstance(item.op, FloatKernel):
            return
        with _threads(several):
            found = run_instruction(item, operands)
        for name, array, wanted in zip(item.outputs, found, results, strict=True):
            if name:
                tally.add(name, array.numpy(), wanted.numpy())

    with _threads(1):
        for sample in job.samples:
            fed = {name: torch.from_numpy(np.array(array)) for name, array in sample.items()}
            run_program(job.program, fed, visit=visit)
    return Outcome(tally, UNIT, f"1 and {several} threads")


def compare_batches(job: Job) -> Outcome:
    """The outputs of two samples at once, and of each alone.

    Raises:
        NotComparedError: The model's batch is fixed, or an output follows a float node.
        Cancelled: The user stopped.
    """
    graph = job.session.graph
    size = BATCH * next((graph.types[name].shape[0] for name in graph.inputs if graph.types[name].shape), 0)
    twin = job.session.batched(size) if size else None
    if twin is None:
        raise NotComparedError("the model's batch is fixed")
    left_out = from_float(job.program)
    outputs = [name for name, value in job.program.outputs.items() if value not in left_out]
    if not outputs:
        raise NotComparedError("all outputs follow float nodes, which torch may sum otherwise")
    samples = (job.samples * BATCH)[:BATCH]
    wanted = [program_values(job.program, sample, job.cancelled) for sample in samples]
    fed = {name: np.concatenate([sample[name] for sample in samples]) for name in graph.inputs}
    program = twin.program()
    found = program_values(program, fed, job.cancelled)
    tally = Tally(exact)
    for name in outputs:
        alone = np.concatenate([values[job.program.outputs[name]] for values in wanted])
        tally.add(name, found[program.outputs[name]], alone)
    return Outcome(tally, UNIT, f"batches of 1 and {BATCH}; outputs")


@contextmanager
def _threads(count: int) -> Generator[None]:
    """Run with so many threads; as before behind the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
