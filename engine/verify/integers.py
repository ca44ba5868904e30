"""The integer stage: the program gives the same bits however it is run."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch

from engine.verify.checks import Job, NotComparedError, Outcome, processor_count
from engine.verify.tally import Array, Tally, exact
from engine.verify.values import Arrays, from_float, program_values, visit_values

UNIT = ""
BATCH = 2


def compare_threads(job: Job) -> Outcome:
    """Every value with one thread and with several. What follows a float node is left out: torch may sum otherwise.

    Raises Cancelled.
    """
    several = max(2, processor_count())
    left_out = from_float(job.program)
    tally = Tally(exact)
    for sample in job.samples:
        with _threads(1):
            wanted = program_values(job.program, sample, job.cancelled)

        def see(name: str, array: Array, wanted: Arrays = wanted) -> None:
            if name not in left_out:
                tally.add(name, array, wanted[name])

        with _threads(several):
            visit_values(job.program, sample, see, job.cancelled)
    return Outcome(tally, UNIT, f"1 and {several} threads{_left_out(len(left_out))}")


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


def _left_out(count: int) -> str:
    return f"; {count} values that follow float nodes are left out" if count else ""


@contextmanager
def _threads(count: int) -> Generator[None]:
    """Run with so many threads; as before behind the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
