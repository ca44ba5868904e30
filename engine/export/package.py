"""The ``package`` export: everything that ``quantscope run`` needs to compute what the session computes, bit for bit.

A zip of a manifest, integer segments (instructions as JSON, arrays once each by content), CPU segments as ONNX models,
quantisation parameters, schedule and provenance. The same session gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any, BinaryIO

from engine.export.archive import array_member, json_bytes, write_archive
from engine.export.cpu_segment import segment_model
from engine.export.package_format import (
    FORMAT,
    MANIFEST,
    QUANTISATION,
    SCHEDULE,
    VERSION,
    Port,
    segment_member,
)
from engine.export.package_schedule import schedule_record
from engine.export.records import ArrayStore, encode
from engine.export.segments import INTEGER, Segment, cut
from engine.graph.graph import Graph, TensorType
from engine.program.types import Dequantise, Instruction, Program, Quantise

if TYPE_CHECKING:
    from engine.session import Session

Record = dict[str, Any]


def write_package(session: Session, stream: BinaryIO) -> tuple[str, ...]:
    """Write the package of the session's present plan; returns notes for people.

    Raises:
        CalibrationError: The session is not calibrated.
        ExportError: A float node cannot be expressed in ONNX with the same bits.
    """
    program = session.program()
    segments = cut(program)
    members, arrays = _segment_members(session.graph, program, segments)
    members[QUANTISATION] = json_bytes(_quantisation(program))
    members[SCHEDULE] = json_bytes(_schedule(session, program))
    members.update(array_member(digest, array) for digest, array in arrays)
    members[MANIFEST] = json_bytes(_manifest(session, program, segments, members))
    write_archive(stream, members)
    return _notes(segments, len(program.instructions))


def _segment_members(
    graph: Graph, program: Program, segments: tuple[Segment, ...]
) -> tuple[dict[str, bytes], ArrayStore]:
    arrays = ArrayStore()
    members: dict[str, bytes] = {}

    def type_of(value: str) -> TensorType:
        return value_type(graph, program, value)

    open_sizes = {value: graph.dimensions(value) for value in graph.open_sizes}
    for index, segment in enumerate(segments):
        name = _member_of(index, segment)
        if segment.kind == INTEGER:
            members[name] = json_bytes(_integer_segment(program, segment, arrays))
        else:
            members[name] = segment_model(program, segment, type_of, f"{graph.name}_{index}", open_sizes)
    return members, arrays


def _member_of(index: int, segment: Segment) -> str:
    return segment_member(index, "json" if segment.kind == INTEGER else "onnx")


def value_type(graph: Graph, program: Program, value: str) -> TensorType:
    """Shape and element type of a program value that is not inside a unit: a graph value, perhaps seen as another type
    (``NAME@float32``) or as it is fed (``NAME@input``)."""
    constant = program.constants.get(value)
    if constant is not None:
        return TensorType(tuple(constant.array.shape), constant.array.dtype.name)
    base = value if value in graph.types else value.rpartition("@")[0]
    return TensorType(graph.types[base].shape, program.types[value].dtype)


def _integer_segment(program: Program, segment: Segment, arrays: ArrayStore) -> Record:
    names = dict.fromkeys(name for item in segment.instructions for name in item.inputs if name in program.constants)
    constants = {name: program.constants[name] for name in names}
    return {
        "instructions": [_instruction(item, arrays) for item in segment.instructions],
        "constants": {
            name: {"array": arrays.put(item.array), "dtype": item.type.dtype, "scale": item.type.scale}
            for name, item in constants.items()
        },
    }


def _instruction(item: Instruction, arrays: ArrayStore) -> Record:
    return {
        "op": encode(item.op, arrays),
        "inputs": list(item.inputs),
        "outputs": list(item.outputs),
        "nodes": list(item.nodes),
        "unit": item.unit,
    }


def _quantisation(program: Program) -> Record:
    return {
        name: {"dtype": qtype.dtype, "scale": qtype.scale}
        for name, qtype in sorted(program.types.items())
        if qtype.is_quantised
    }


def _schedule(session: Session, program: Program) -> Record:
    places: dict[str, list[int]] = {}
    for place, item in enumerate(program.instructions):
        places.setdefault(item.unit, []).append(place)
    instructions = {unit: tuple(found) for unit, found in places.items()}
    return schedule_record(session.simulation(), session.target, session.plan.compile, instructions)


def _manifest(
    session: Session, program: Program, segments: tuple[Segment, ...], members: Mapping[str, bytes]
) -> Record:
    graph = session.graph
    return {
        "format": FORMAT,
        "version": VERSION,
        "tool": f"quantscope {_tool_version()}",
        "model": {"name": graph.name, "digest": graph.digest, "opset": graph.opset},
        "target": session.target.name,
        "symbolic_batch": graph.symbolic_batch,
        "inputs": [asdict(port) for port in _inputs(graph, program)],
        "outputs": [asdict(port) for port in _outputs(graph, program)],
        "segments": [
            {
                "kind": segment.kind,
                "file": _member_of(index, segment),
                "inputs": list(segment.inputs),
                "outputs": list(segment.outputs),
                "instructions": len(segment.instructions),
            }
            for index, segment in enumerate(segments)
        ],
        "provenance": {
            "instructions": {
                _member_of(index, segment): [list(item.nodes) for item in segment.instructions]
                for index, segment in enumerate(segments)
            },
            "nodes": {node.id: list(node.provenance) for node in graph.nodes},
        },
        "members": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }


def _tool_version() -> str:
    try:
        return metadata.version("quantscope")
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def _inputs(graph: Graph, program: Program) -> Iterator[Port]:
    quantisers = {item.inputs[0]: item.op for item in program.instructions if isinstance(item.op, Quantise)}
    for name, value in program.inputs.items():
        kind = graph.types[name]
        op = quantisers.get(value)
        if op is None:
            yield Port(name, value, kind.shape, kind.dtype)
        else:
            yield Port(name, value, kind.shape, kind.dtype, op.output.dtype, op.scale)


def _outputs(graph: Graph, program: Program) -> Iterator[Port]:
    seams = {item.outputs[0]: item for item in program.instructions if isinstance(item.op, Dequantise)}
    for name, value in program.outputs.items():
        shape = graph.types[name].shape
        seam = seams.get(value)
        if seam is None:
            yield Port(name, value, shape, value_type(graph, program, value).dtype)
        else:
            qtype = program.types[seam.inputs[0]]
            yield Port(name, value, shape, "float32", qtype.dtype, qtype.scale)


def _notes(segments: tuple[Segment, ...], instructions: int) -> tuple[str, ...]:
    integer = sum(segment.kind == INTEGER for segment in segments)
    return (
        f"{instructions} instructions in {integer} integer and {len(segments) - integer} CPU segments",
        "execute it with `quantscope run`: the outputs have the bits of the session's",
    )
