"""The ``tosa`` export: a ``.tosa`` file for each integer segment, and a JSON file that says how to use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ExportError
from engine.export.archive import json_bytes
from engine.export.package import value_type
from engine.export.segments import CPU, INTEGER, Segment, cut
from engine.export.tosa.graph import Tensor
from engine.export.tosa.segment import TosaSegment, tosa_segment
from engine.files import write_atomic
from engine.program.types import Dequantise, Program, Quantise

if TYPE_CHECKING:
    from engine.session import Session

SUFFIX = ".tosa"
Record = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One step of the execution: an integer segment, or instructions that something else has to compute in float."""

    segment: Segment
    tosa: TosaSegment | None


def tosa_steps(session: Session, *, intermediates: bool = False) -> tuple[Step, ...]:
    """The session's program in order, its integer segments as TOSA; ``intermediates`` as in :func:`tosa_segment`.

    Raises:
        CalibrationError: The session is not calibrated.
        ExportError: An integer instruction has no TOSA form; the node is named.
    """
    return tuple(
        Step(segment, tosa_of(session, segment, intermediates=intermediates)) for segment in cut(session.program())
    )


def tosa_of(session: Session, segment: Segment, *, intermediates: bool = False) -> TosaSegment | None:
    """A segment of the session's program as TOSA; None where there is nothing for TOSA in it.

    Raises:
        ExportError: An integer instruction has no TOSA form; the node is named.
    """
    program = session.program()

    def shape_of(value: str) -> tuple[int, ...]:
        return value_type(session.graph, program, value).shape

    if segment.kind == CPU:
        return None
    return tosa_segment(program, segment, shape_of, intermediates=intermediates)


def write_tosa(session: Session, path: Path) -> tuple[str, ...]:
    """Write the session's present plan as TOSA 1.0; returns notes for people.

    The first integer segment goes to ``path``, the second beside it to NAME.2.tosa, and so on; NAME.json holds types,
    scales, and the order of the segments among the nodes that stay in float. All are computed before any is written.

    Raises:
        CalibrationError: The session is not calibrated.
        ExportError: An integer instruction has no TOSA form, nothing is integer, or a file cannot be written.
    """
    steps = tosa_steps(session)
    written = [step.tosa for step in steps if step.tosa is not None]
    if not written:
        raise ExportError("no node is computed in integers", path=path, hint="mark some int8 or int16")
    files = [segment_path(path, number) for number in range(1, len(written) + 1)]
    side = path.with_name(f"{_stem(path)}.json")
    text = json_bytes(_manifest(session, steps, [file.name for file in files]))
    for file, tosa in zip(files, written, strict=True):
        write_atomic(file, tosa.data, ExportError)
    write_atomic(side, text, ExportError)
    return tuple(_notes(steps, [*files[1:], side]))


def segment_path(path: Path, number: int) -> Path:
    """The file of an integer segment, counted from 1."""
    return path if number == 1 else path.with_name(f"{_stem(path)}.{number}{SUFFIX}")


def _stem(path: Path) -> str:
    return path.name.removesuffix(SUFFIX)


def _notes(steps: tuple[Step, ...], others: list[Path]) -> Iterator[str]:
    written = [step.tosa for step in steps if step.tosa is not None]
    operators = sum(tosa.operators for tosa in written)
    files = "1 file" if len(written) == 1 else f"{len(written)} files, one for each integer segment"
    yield f"TOSA 1.0 (pro-int, ext-int16): {files}; {operators} operators, constants among them"
    yield f"beside it: {', '.join(other.name for other in others)}"
    yield "inputs and outputs are integers; the JSON file has their types and scales"
    floats = sum(len(step.segment.instructions) for step in steps if step.segment.kind != INTEGER)
    if floats:
        yield f"{floats} float nodes are not in these files: compute them between the segments"


def _manifest(session: Session, steps: tuple[Step, ...], files: list[str]) -> Record:
    program = session.program()
    names = iter(files)
    return {
        "format": "quantscope-tosa",
        "version": 1,
        "tosa": "1.0",
        "model": session.graph.name,
        "target": session.target.name,
        "inputs": dict(program.inputs),
        "outputs": dict(program.outputs),
        "steps": [record for step in steps for record in step_records(program, step, names)],
    }


def step_records(program: Program, step: Step, files: Iterator[str]) -> Iterator[Record]:
    """Seams, then the file (or the float nodes), then seams: a segment quantises what enters it first."""
    items = step.segment.instructions
    if step.segment.kind == CPU:
        yield {
            "kind": "float",
            "nodes": [node for item in items for node in item.nodes],
            "inputs": list(step.segment.inputs),
            "outputs": list(step.segment.outputs),
        }
        return
    for item in items:
        if isinstance(item.op, Quantise):
            yield _seam("quantise", item.inputs[0], item.outputs[0], item.op.output.dtype, item.op.scale)
    if step.tosa is not None:
        yield {
            "kind": step.segment.kind,
            "file": next(files),
            "inputs": _ports(program, step.tosa, step.tosa.inputs),
            "outputs": _ports(program, step.tosa, step.tosa.outputs),
        }
    for item in items:
        if isinstance(item.op, Dequantise):
            kind = program.types[item.inputs[0]]
            yield _seam("dequantise", item.inputs[0], item.outputs[0], kind.dtype, item.op.scale)


def _seam(kind: str, source: str, target: str, dtype: str, scale: float) -> Record:
    """``quantise``: clamp(round half to even(x / scale)) to the symmetric range; ``dequantise``: x * scale."""
    return {"kind": kind, "from": source, "to": target, "dtype": dtype, "scale": scale}


def _ports(program: Program, segment: TosaSegment, tensors: Mapping[str, Tensor]) -> list[Record]:
    """Inputs or outputs of a file. ``model_dtype`` is what the model has where the file has a narrower type."""
    ports: list[Record] = []
    for name, tensor in tensors.items():
        port = {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype, "scale": program.types[name].scale}
        ports.append(port | ({"model_dtype": segment.widened[name]} if name in segment.widened else {}))
    return ports
