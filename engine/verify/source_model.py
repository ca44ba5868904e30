"""The float stage: the source model in the runtime it was made for against our float executor."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import InlinePass
from torch import Tensor
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.utils import _pytree  # pyright: ignore[reportPrivateUsage]

from engine.errors import Cancelled, ThirdPartyError
from engine.graph.graph import Graph, Node
from engine.graph.torch_import import exported_program
from engine.graph.torchscript import script_module
from engine.graph.torchscript_check import is_torchscript
from engine.ops.float_kernels import to_numpy, to_torch
from engine.ops.other import Input
from engine.verify.checks import Job, NotComparedError, Outcome
from engine.verify.onnx_models import with_outputs
from engine.verify.onnx_runtime import Output, RuntimeJob, each_computed
from engine.verify.tally import FLOAT_TOLERANCE_DB, Tally, relative

if TYPE_CHECKING:
    from engine.session import Session

UNIT = "relative"
_STORABLE = frozenset("fiub")
"""Kinds of numpy types that an ``.npy`` file holds: floats of IEEE 754, integers, truth values."""


def is_onnx(session: Session) -> bool:
    """Whether the model is not a torch program's file."""
    return not is_torch(session)


def is_torch(session: Session) -> bool:
    """Whether the model was opened from a file that torch wrote."""
    source = session.graph.source
    return source is not None and zipfile.is_zipfile(source)


def torch_version() -> str:
    """The version of torch, which is always there."""
    return torch.__version__


def compare_with_runtime(job: Job) -> Outcome:
    """An ONNX file in ONNX Runtime, without optimisations: every value that file and graph both have.

    Raises:
        NotComparedError: The model came from no file.
        ThirdPartyError: ONNX Runtime does not compute it.
        Cancelled: The user stopped.
    """
    graph = job.session.graph
    if graph.source is None:
        raise NotComparedError("the model came from no file")
    source = _inlined(graph.source)
    shared = _shared_values(graph, source.model)
    tally = Tally(relative)
    runtime_job = RuntimeJob(with_outputs(source.model, shared), shared, optimised=False, external=source.external)
    for result, sample in each_computed(runtime_job, zip(job.samples, job.samples, strict=True), job.cancelled):
        _add_values(job, sample, frozenset(shared), result, tally)
    computing = [node for node in graph.nodes if not isinstance(node.op, Input)]
    unseen = sum(not set(shared).intersection(node.outputs) for node in computing)
    return Outcome(tally, UNIT, _tolerance(f"; {unseen} nodes make no value that the file names" if unseen else ""))


def compare_with_torch(job: Job) -> Outcome:
    """A program that torch saved (``.pt2`` or TorchScript), run by torch itself: the outputs.

    Raises:
        ThirdPartyError: Torch does not compute it.
        Cancelled: The user stopped.
    """
    graph = job.session.graph
    assert graph.source is not None
    run = _torch_program(graph.source)
    tally = Tally(relative)
    for sample in job.samples:
        if job.cancelled():
            raise Cancelled
        wanted = _torch_outputs(run, [to_torch(np.asarray(sample[name])) for name in graph.inputs])
        found = job.session.run_float(sample)
        for name, result in zip(graph.outputs, wanted, strict=True):
            tally.add(name, np.asarray(found[name]), to_numpy(result))
    return Outcome(tally, UNIT, _tolerance("; torch shows the outputs alone"))


def _tolerance(more: str) -> str:
    return f"tolerated: a difference {FLOAT_TOLERANCE_DB:g} dB below each value{more}"


# --- ONNX


@dataclass(frozen=True)
class _Source:
    """A model with its functions inlined; ``external`` is the folder of external data, or None."""

    model: onnx.ModelProto
    external: Path | None


def _inlined(path: Path) -> _Source:
    model = onnx.load(path, load_external_data=False)
    is_external = any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)
    if model.functions:
        model = ir.to_proto(InlinePass()(ir.from_proto(model)).model)
    return _Source(model, path.parent.resolve() if is_external else None)


def _shared_values(graph: Graph, model: onnx.ModelProto) -> list[str]:
    """Values that nodes of both make under one name, in the graph's order."""
    made = {name for node in model.graph.node for name in node.output}
    values = [value for node in graph.nodes if not isinstance(node.op, Input) for value in node.outputs if value]
    return [value for value in values if value in made and _is_storable(graph.types[value].dtype)]


def _is_storable(dtype: str) -> bool:
    return hasattr(np, dtype) and np.dtype(dtype).kind in _STORABLE


def _add_values(job: Job, sample: Mapping[str, Any], shared: frozenset[str], result: Output, tally: Tally) -> None:
    def visit(node: Node, outputs: tuple[Tensor, ...]) -> None:
        if job.cancelled():
            raise Cancelled
        for name, tensor in zip(node.outputs, outputs, strict=False):
            if name in shared:
                tally.add(name, to_numpy(tensor), result(name))

    job.session.evaluator.model.run(sample, keep=(), visit=visit)


# --- torch


Run = Callable[[Sequence[Tensor]], object]
"""A program of torch: from its inputs, in order, to what it returns."""


def _torch_program(path: Path) -> Run:
    with zipfile.ZipFile(path) as archive:
        is_script = is_torchscript(archive.namelist())
    if is_script:
        module = script_module(path)
        return lambda inputs: module(*inputs)
    program = exported_program(path)
    exported, specification = program.module(), program.call_spec.in_spec
    assert specification is not None

    def run(inputs: Sequence[Tensor]) -> object:
        arguments, named = _pytree.tree_unflatten(_leaves(program, inputs), specification)
        return exported(*arguments, **named)

    return run


def _leaves(program: torch.export.ExportedProgram, inputs: Sequence[Tensor]) -> list[object]:
    """The inputs, with the constants that the program was exported for in their places."""
    tensors = iter(inputs)
    given = [spec.arg for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
    return [arg.value if isinstance(arg, ConstantArgument) else next(tensors) for arg in given]


def _torch_outputs(run: Run, inputs: Sequence[Tensor]) -> list[Tensor]:
    try:
        with torch.inference_mode():
            return list(_tensors(run(inputs)))
    except Exception as error:  # whatever the traced program raises
        raise ThirdPartyError(f"torch cannot run the program: {error}") from error


def _tensors(result: object) -> Iterator[Tensor]:
    """The tensors in what a module returned, in order."""
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, dict):
        yield from _tensors(list(cast("dict[Any, object]", result).values()))
    elif isinstance(result, list | tuple):
        for item in cast("Sequence[object]", result):
            yield from _tensors(item)
