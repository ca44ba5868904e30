"""Executing packages: nothing is needed but the package file.

Integer segments run through the engine's executor. CPU segments are imported from their ONNX files and run through the
same float kernels as in a session, so that the outputs have the same bits; no other runtime is involved. (Float kernels
round alike only with the same number of threads and the same torch build.)
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
from torch import Tensor

from engine.errors import PackageError
from engine.export.archive import Archive, array_bytes, write_archive
from engine.export.cpu_segment import segment_instructions
from engine.export.package_format import FORMAT, MANIFEST, QUANTISATION, VERSION, Port
from engine.export.records import Array, decode_op
from engine.export.segments import CPU, INTEGER
from engine.files import replacing
from engine.ops.float_kernels import to_numpy, to_torch
from engine.program.executor import run_program
from engine.program.types import Instruction, Program, ProgramConstant
from engine.qtype import INTEGER_RANGE, QType

S = TypeVar("S")


class _SegmentEntry(msgspec.Struct, frozen=True):
    kind: str
    file: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class _Manifest(msgspec.Struct, frozen=True):
    """What execution needs of the manifest."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    segments: tuple[_SegmentEntry, ...]
    members: dict[str, str]
    symbolic_batch: bool


class _InstructionEntry(msgspec.Struct, frozen=True):
    op: dict[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]
    unit: str


class _ConstantEntry(msgspec.Struct, frozen=True):
    array: str
    dtype: str
    scale: float


class _IntegerSegment(msgspec.Struct, frozen=True):
    instructions: tuple[_InstructionEntry, ...]
    constants: dict[str, _ConstantEntry]


@dataclass(frozen=True, eq=False)
class Package:
    """A loaded package.

    Attributes:
        path: The file.
        inputs, outputs: The model's, in its order.
        symbolic_batch: Whether the model's batch is open: then several batches may be fed at once.
        program: All segments in order.
    """

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    symbolic_batch: bool
    program: Program

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the model's outputs by name.

        Args:
            inputs: An array for each input, of its shape: floats (float16 and float64 are converted to float32), or
                integers of the type that the manifest gives, already quantised with its scale. Where the batch is
                symbolic, the first dimension may hold several batches, which are computed one after the other.

        Raises:
            PackageError: A name, shape or element type does not fit; names file and input.
        """
        self._check_names(inputs)
        fed = {port.name: self._fed(port, inputs[port.name]) for port in self.inputs}
        counts = {port.name: self._batches(port, fed[port.name]) for port in self.inputs}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"'{name}' {count}" for name, count in counts.items())
            raise self._refused(f"the inputs hold different numbers of batches: {listed}", "feed as many of each")
        results = [self._run_batch(fed, index) for index in range(next(iter(counts.values()), 1))]
        if len(results) == 1:
            return results[0]
        return {port.name: np.concatenate([result[port.name] for result in results]) for port in self.outputs}

    def _run_batch(self, fed: Mapping[str, Array], index: int) -> dict[str, Array]:
        tensors: dict[str, Tensor] = {}
        for port in self.inputs:
            array = fed[port.name]
            rows = array[index * port.shape[0] : (index + 1) * port.shape[0]] if port.shape else array
            tensors[port.name] = to_torch(np.array(rows, order="C"))
        return {name: to_numpy(tensor) for name, tensor in run_program(self.program, tensors).items()}

    def _refused(self, message: str, hint: str) -> PackageError:
        return PackageError(message, path=self.path, hint=hint)

    def _check_names(self, inputs: Mapping[str, Array]) -> None:
        names = [port.name for port in self.inputs]
        hint = f"its inputs are {', '.join(names)}"
        for name in names:
            if name not in inputs:
                raise self._refused(f"no array for input '{name}'", hint)
        for name in inputs:
            if name not in names:
                raise self._refused(f"has no input '{name}'", hint)

    def _fed(self, port: Port, array: Array) -> Array:
        """The array in the type that the program is fed; integers are made real exactly."""
        found = array.dtype.name
        if found == port.dtype:
            return array
        if port.dtype == "float32" and found in ("float16", "float64"):
            return array.astype(np.float32)
        if port.integer_dtype and found == port.integer_dtype:
            return self._dequantised(port, array)
        wanted = f"{port.dtype} or {port.integer_dtype}" if port.integer_dtype else port.dtype
        raise self._refused(f"input '{port.name}' is {found}, the package takes {wanted}", "convert the array")

    def _dequantised(self, port: Port, array: Array) -> Array:
        """Quantising the result again gives these integers: the float error is far below half a step."""
        low, high = INTEGER_RANGE[port.integer_dtype]
        if array.size and (array.min() < low or array.max() > high):
            message = f"input '{port.name}' holds {array.min()} to {array.max()}, outside {low} to {high}"
            raise self._refused(message, "quantise symmetrically and clip")
        return array.astype(np.float32) * np.float32(port.scale)

    def _batches(self, port: Port, array: Array) -> int:
        """How many batches the array holds."""
        if array.shape == port.shape:
            return 1
        several = self.symbolic_batch and bool(port.shape) and array.ndim == len(port.shape)
        if several and array.shape[1:] == port.shape[1:] and array.shape[0] and not array.shape[0] % port.shape[0]:
            return array.shape[0] // port.shape[0]
        wanted = ["any", *port.shape[1:]] if self.symbolic_batch else list(port.shape)
        shown = ", ".join(map(str, wanted))
        raise self._refused(
            f"input '{port.name}' has shape {list(array.shape)}, the package takes [{shown}]", "reshape the array"
        )


def load_package(path: str | Path) -> Package:
    """Open a package.

    Raises:
        PackageError: The file is missing, damaged, of an unknown version, or not a package.
    """
    path = Path(path)
    with Archive(path) as archive:
        manifest = _manifest(archive)
        instructions: list[Instruction] = []
        constants: dict[str, ProgramConstant] = {}
        for index, entry in enumerate(manifest.segments):
            loader = _LOADERS.get(entry.kind)
            if loader is None:
                raise archive.damaged(f"has a segment of unknown kind '{entry.kind}'")
            new_instructions, new_constants = loader(archive, entry, index)
            instructions.extend(new_instructions)
            constants.update(new_constants)
        program = Program(
            tuple(instructions),
            _types(archive),
            constants,
            {port.name: port.value for port in manifest.inputs},
            {port.name: port.value for port in manifest.outputs},
        )
        _check_flow(archive, program)
    return Package(path, manifest.inputs, manifest.outputs, manifest.symbolic_batch, program)


def _manifest(archive: Archive) -> _Manifest:
    record = archive.json(MANIFEST)
    if record.get("format") != FORMAT:
        raise PackageError("is not a Quantscope package", path=archive.path, hint="choose a .qspkg file")
    if record.get("version") != VERSION:
        raise PackageError(
            f"is a package of version {record.get('version')}, this program reads version {VERSION}",
            path=archive.path,
            hint="export it again with this program",
        )
    manifest = _typed(archive, record, _Manifest, MANIFEST)
    for name, digest in manifest.members.items():
        if hashlib.sha256(archive.read(name)).hexdigest() != digest:
            raise archive.damaged(f"'{name}' is not the one that the manifest was written for")
    return manifest


def _typed(archive: Archive, record: object, kind: type[S], name: str) -> S:
    try:
        return msgspec.convert(record, kind)
    except msgspec.ValidationError as error:
        raise archive.damaged(f"'{name}' is malformed: {error}") from error


def _types(archive: Archive) -> Mapping[str, QType]:
    return _typed(archive, archive.json(QUANTISATION), dict[str, QType], QUANTISATION)


Loaded = tuple[list[Instruction], Mapping[str, ProgramConstant]]


def _load_integer(archive: Archive, entry: _SegmentEntry, index: int) -> Loaded:
    segment = _typed(archive, archive.json(entry.file), _IntegerSegment, entry.file)
    arrays: dict[str, Array] = {}

    def array(digest: str) -> Array:
        if digest not in arrays:
            arrays[digest] = archive.array(digest)
        return arrays[digest]

    try:
        instructions = [
            Instruction(decode_op(item.op, array), item.inputs, item.outputs, item.nodes, item.unit)
            for item in segment.instructions
        ]
    except PackageError as error:
        if error.path is not None:
            raise
        raise archive.damaged(f"'{entry.file}' is malformed: {error.message}") from error
    constants = {
        name: ProgramConstant(array(item.array), QType(item.dtype, item.scale))
        for name, item in segment.constants.items()
    }
    return instructions, constants


def _load_cpu(archive: Archive, entry: _SegmentEntry, index: int) -> Loaded:
    instructions, constants, graph = segment_instructions(archive.read(entry.file), str(index), archive.path)
    if graph.inputs != entry.inputs or graph.outputs != entry.outputs:
        raise archive.damaged(f"'{entry.file}' has other inputs or outputs than the manifest says")
    return list(instructions), constants


_LOADERS: Mapping[str, Callable[[Archive, _SegmentEntry, int], Loaded]] = {INTEGER: _load_integer, CPU: _load_cpu}


def _check_flow(archive: Archive, program: Program) -> None:
    """Every value is made once, before it is read."""
    known = {*program.inputs.values(), *program.constants}
    for item in program.instructions:
        missing = [name for name in item.inputs if name and name not in known]
        again = [name for name in item.outputs if name and name in known]
        if missing or again:
            problem = f"reads '{missing[0]}' before it is made" if missing else f"makes '{again[0]}' again"
            raise archive.damaged(f"an instruction of '{item.unit}' {problem}")
        known.update(item.outputs)
    for name, value in program.outputs.items():
        if value not in known:
            raise archive.damaged(f"output '{name}' is never made")


def run_file(package: str | Path, inputs: str | Path, outputs: str | Path) -> dict[str, list[int]]:
    """Execute a package on the arrays of an ``.npz`` file, and write its outputs to another, atomically.

    Returns:
        The shape of each output by name.

    Raises:
        PackageError: The package or the arrays cannot be used, or the outputs cannot be written.
    """
    results = load_package(package).run(_read_arrays(Path(inputs)))
    with replacing(Path(outputs), PackageError) as stream:
        write_archive(stream, {f"{name}.npy": array_bytes(array) for name, array in results.items()})
    return {name: list(array.shape) for name, array in results.items()}


def _read_arrays(path: Path) -> dict[str, Array]:
    """All arrays of an ``.npz`` file; objects (pickles) are refused."""
    hint = "write it with numpy.savez(file, name=array)"
    try:
        with path.open("rb") as stream:
            arrays = np.load(stream, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise PackageError("holds one array without a name", path=path, hint=hint)
            return {name: cast("Array", arrays[name]) for name in arrays.files}
    except OSError as error:
        raise PackageError(f"cannot be read: {error.strerror or error}", path=path) from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise PackageError(f"is not a readable .npz file ({error})", path=path, hint=hint) from error
