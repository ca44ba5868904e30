"""An exported model in ONNX Runtime, fed the integer program's own values in the middle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx

from engine.export.package import value_type
from engine.verify.checks import Job
from engine.verify.onnx_models import with_fed, with_outputs
from engine.verify.onnx_runtime import Output, RuntimeJob, each_computed
from engine.verify.values import Arrays, program_values


def each_computed_from(
    job: Job, model: onnx.ModelProto, fed: Mapping[str, str], outputs: Sequence[str], optimised: bool
) -> Iterator[tuple[Output, Arrays]]:
    """For every sample, what the runtime computes for ``outputs`` and the program's values.

    ``fed`` has the program value to feed in the place of a value of the model, by that one's name. What no output then
    needs is neither fed nor computed.

    Raises:
        ThirdPartyError: ONNX Runtime does not compute the model.
        Cancelled: The user stopped.
    """
    program, graph = job.program, job.session.graph
    types = {name: value_type(graph, program, value) for name, value in fed.items()}
    changed, inputs = with_fed(model, types)
    shown = with_outputs(changed, outputs)
    needed = {info.name for info in shown.graph.input}

    def pairs() -> Iterator[tuple[Arrays, Arrays]]:
        for sample in job.samples:
            values = program_values(program, sample, job.cancelled)
            arrays = {name: array for name, array in sample.items() if name in needed}
            arrays |= {inputs[name]: values[value] for name, value in fed.items() if inputs[name] in needed}
            yield arrays, values

    return each_computed(RuntimeJob(shown, outputs, optimised), pairs(), job.cancelled)
