"""TorchScript files (``torch.jit.save``): traced once more for known input shapes, then exported to ONNX in memory."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import onnx
import onnx_ir as ir
import torch
from torch import Tensor

from engine.errors import GraphError, ModelFileError
from engine.graph.digests import file_digest
from engine.graph.graph import Graph
from engine.graph.onnx_file import prepared
from engine.graph.onnx_import import import_onnx
from engine.graph.quiet import quiet_exporter
from engine.graph.torchscript_check import check_torchscript
from engine.graph.weights import WeightFiles

_OPSET = 20
"""The newest that torch's TorchScript exporter writes; has LayerNormalization and Gelu whole."""

_ELEMENT_TYPES = (torch.float32, torch.int64)
"""What an input may take where the file does not say: the first that the module runs with."""

_MOST_GUESSED_INPUTS = 6

_WRAPPER = "module"

_jit: Any = torch.jit
"""Untyped, as torch leaves most of it."""


@dataclass(frozen=True)
class _Parameter:
    """A tensor that ``forward`` takes, with the shape and element type it was traced with, where the file has them."""

    name: str
    shape: tuple[int, ...] | None
    dtype: torch.dtype | None


class _Positional(torch.nn.Module):
    """The loaded module with its tensors alone as inputs; its other arguments keep their defaults."""

    def __init__(self, loaded: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.module = loaded

    def forward(self, *inputs: Tensor) -> Any:
        return self.module(*inputs)


def script_module(path: Path) -> torch.jit.ScriptModule:
    """The module of a TorchScript file, after :func:`check_torchscript`, in evaluation mode.

    Raises:
        ModelFileError: The file is damaged or refused.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror}", path=path) from error
    check_torchscript(path, content)
    try:
        with quiet_exporter():
            # The very bytes that were checked; a traced file's inputs are read with its shapes.
            module: torch.jit.ScriptModule = _jit.load(io.BytesIO(content), map_location="cpu", _restore_shapes=True)
    except Exception as error:  # torch raises many kinds for damaged archives
        hint = "save it again with torch.jit.save in a current torch"
        raise ModelFileError(f"is not a TorchScript module: {error}", path=path, hint=hint) from error
    if getattr(module, "training", False):
        module.train(False)
    return module


def load_torchscript(path: Path, bindings: Mapping[str, int], batch: int) -> Graph:
    """Open a TorchScript file, after :func:`check_torchscript` has made sure that its code only computes.

    Input shapes are those of the file, where it was traced; ``bindings`` (``x.2`` for axis 2 of input ``x``) overrides
    them and gives those of a scripted module, whose first axis is ``batch`` unless it is named. Control flow is
    followed for these shapes.

    Raises:
        ModelFileError: The file is damaged or refused, or torch cannot export the module.
        GraphError: Input shapes are missing or do not fit, or the exported graph cannot be used.
    """
    module = script_module(path)
    parameters = _parameters(module, path)
    shapes = _shapes(parameters, bindings, batch, path)
    with quiet_exporter(), torch.no_grad():
        examples = _examples(module, parameters, shapes, path)
        proto = _exported(module, parameters, examples, path)
    model = ir.from_proto(proto)
    _tidy_names(model)
    graph = import_onnx(prepared(model, path.stem, WeightFiles(path), path), {}, 1)
    listed = ", ".join(
        f"{parameter.name} {str(example.dtype).removeprefix('torch.')}{list(example.shape)}"
        for parameter, example in zip(parameters, examples, strict=True)
    )
    notes = (f"TorchScript, traced for {listed}", *graph.notes)
    return replace(graph, source=path, digest=file_digest(path), notes=notes)


def _parameters(module: torch.jit.ScriptModule, path: Path) -> list[_Parameter]:
    """The tensors that ``forward`` must be given, in order. Other arguments must have defaults."""
    compiled = cast("Any", module)._c
    if not compiled._has_method("forward"):
        raise ModelFileError("has no forward method", path=path, hint="save a module that has one")
    forward = compiled._get_method("forward")
    parameters: list[_Parameter] = []
    for argument, value in zip(forward.schema.arguments[1:], list(forward.graph.inputs())[1:], strict=True):
        kind = value.type()
        if kind.kind() == "TensorType":
            sizes = kind.sizes()
            parameters.append(_Parameter(argument.name, None if sizes is None else tuple(sizes), kind.dtype()))
        elif not argument.has_default_value():
            message = f"input '{argument.name}' is {kind}; only tensors can be inputs of a graph"
            raise GraphError(message, path=path, hint="wrap the module in one that takes tensors, and save that")
        else:
            break
    return parameters


def _shapes(
    parameters: Sequence[_Parameter], bindings: Mapping[str, int], batch: int, path: Path
) -> list[tuple[int, ...]]:
    """The shape of each input: of the file, overridden by ``bindings``."""
    names = {parameter.name for parameter in parameters}
    unknown = [name for name in bindings if _input_of(name) not in names]
    if unknown:
        known = ", ".join(f"{name}.AXIS" for name in sorted(names)) or "none"
        raise GraphError(f"no input dimension is named {', '.join(unknown)}; the model has: {known}", path=path)
    shapes = [_shape(parameter, bindings, batch) for parameter in parameters]
    missing = [parameter.name for parameter, shape in zip(parameters, shapes, strict=True) if shape is None]
    if missing:
        options = " ".join(f"--bind {name}=1x3x224x224" for name in missing)
        raise GraphError(
            f"a scripted module does not say the shapes of its inputs: {', '.join(missing)}",
            path=path,
            hint=f"give every size, for example {options}",
        )
    found = [shape for shape in shapes if shape is not None]
    for parameter, shape in zip(parameters, found, strict=True):
        if any(size < 1 for size in shape):
            raise GraphError(f"input '{parameter.name}' has shape {list(shape)}: sizes must be positive", path=path)
    return found


def _input_of(dimension: str) -> str:
    """The input that a dimension ``INPUT.AXIS`` belongs to; "" where it has another form."""
    name, _, axis = dimension.rpartition(".")
    return name if axis.isdecimal() else ""


def _shape(parameter: _Parameter, bindings: Mapping[str, int], batch: int) -> tuple[int, ...] | None:
    given = {int(name.rpartition(".")[2]): size for name, size in bindings.items() if _input_of(name) == parameter.name}
    if parameter.shape is not None:
        sizes = dict(enumerate(parameter.shape)) | given
    else:
        sizes = {0: batch} | given if given else {}
    complete = bool(sizes) and set(sizes) == set(range(len(sizes)))
    return tuple(sizes[axis] for axis in range(len(sizes))) if complete else None


def _examples(
    module: torch.jit.ScriptModule, parameters: Sequence[_Parameter], shapes: Sequence[tuple[int, ...]], path: Path
) -> tuple[Tensor, ...]:
    """Zeros of the inputs' shapes that the module runs with, which settles unknown element types."""
    choices = [
        _ELEMENT_TYPES if parameter.dtype is None else (parameter.dtype,)
        for parameter in parameters[:_MOST_GUESSED_INPUTS]
    ]
    choices += [(torch.float32,)] * (len(parameters) - len(choices))
    failure = ""
    for types in itertools.product(*choices):
        examples = tuple(torch.zeros(shape, dtype=dtype) for shape, dtype in zip(shapes, types, strict=True))
        try:
            module(*examples)
        except Exception as error:  # whatever the module's own code raises
            failure = failure or _reason(error)
        else:
            return examples
    listed = ", ".join(f"{parameter.name} {list(shape)}" for parameter, shape in zip(parameters, shapes, strict=True))
    hint = "give the shapes that the module takes with --bind INPUT=SIZExSIZE"
    raise GraphError(f"the module does not run with inputs {listed}: {failure}", path=path, hint=hint)


def _reason(error: Exception) -> str:
    """The last line of TorchScript's message: those before it quote the program."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _exported(
    module: torch.jit.ScriptModule, parameters: Sequence[_Parameter], examples: tuple[Tensor, ...], path: Path
) -> onnx.ModelProto:
    target = io.BytesIO()
    try:
        traced = _jit.trace(_Positional(module).eval(), examples, check_trace=False, strict=False)
        torch.onnx.export(  # pyright: ignore[reportUnknownMemberType]
            traced,
            examples,
            target,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=_OPSET,
            input_names=[parameter.name for parameter in parameters],
        )
    except Exception as error:  # whatever the tracer or the exporter raises
        hint = "save torch.export.export(model, inputs) with torch.export.save as .pt2, or export to ONNX"
        raise ModelFileError(f"torch cannot export the module: {_reason(error)}", path=path, hint=hint) from error
    return onnx.load_from_string(target.getvalue())


def _tidy_names(model: ir.Model) -> None:
    """Without the wrapper's scope in node names; outputs are called ``output``, or ``output.0``, ``output.1``."""
    for node in model.graph.all_nodes():
        node.name = (node.name or "").replace(f"/{_WRAPPER}/", "/", 1)
    taken = {value.name for value in model.graph.inputs}
    outputs = [value for value in model.graph.outputs if value.name not in taken]
    for index, value in enumerate(outputs):
        value.name = "output" if len(outputs) == 1 else f"output.{index}"
