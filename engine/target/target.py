"""Descriptions of chips: TOML files whose every figure names its unit and its source."""

from __future__ import annotations

import difflib
import math
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from engine.errors import TargetError
from engine.precision import Precision
from engine.target.figures import (
    Figure,
    Quantity,
    accumulator,
    count,
    figure_problem,
    fraction,
    nonnegative,
    positive,
    source_problem,
)
from engine.target.operators import operator_names, takes_tables
from engine.target.relations import breaches

_SOURCE_HINT = 'begin it with "datasheet: ", "assumed: " or "fitted: " and say where the figure comes from'
_FOLDER = "targets"


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the tables of a target file: unknown keys are errors."""


class Identity(_Section, frozen=True):
    """What the target is called; ``summary`` is one sentence for lists."""

    name: str
    title: str
    summary: str


class Clock(_Section, frozen=True):
    """Clock of the accelerator and its number of equal cores (a single frame runs on one of them)."""

    frequency: Annotated[Figure, positive("GHz")]
    cores: Annotated[Figure, count("cores")]


class Dataflow(StrEnum):
    """What stays in the cells of a systolic array while the rest passes through."""

    WEIGHT_STATIONARY = "weight-stationary"


class MacArray(_Section, frozen=True):
    """The multiply-accumulate array of all cores together; 1 TOPS is 0.5e12 multiply-accumulates a second.

    Channels and positions are rounded up to the alignments. A depthwise convolution uses
    ``depthwise_fraction`` of the array. ``sustained_fraction`` is what dense, well-aligned layers reach of
    the peak. The operands and the result of a product of two activations are rearranged in runs of
    ``operand_run`` where the array takes weights in an order of its own; without it they are read as they lie.

    With a ``dataflow`` the array of a core is a systolic one of ``rows`` by ``columns``, and its cycles are those of
    :mod:`engine.simulate.systolic`: filling and draining are counted there, and alignments and fractions take no part.
    """

    int8_peak: Annotated[Figure, positive("TOPS")]
    int16_peak: Annotated[Figure, positive("TOPS")]
    sustained_fraction: Annotated[Figure, fraction()]
    input_channel_alignment: Annotated[Figure, count("channels")]
    output_channel_alignment: Annotated[Figure, count("channels")]
    position_alignment: Annotated[Figure, count("positions")]
    depthwise_fraction: Annotated[Figure, fraction()]
    dataflow: Dataflow | None = None
    rows: Annotated[Figure, count("rows")] | None = None
    columns: Annotated[Figure, count("columns")] | None = None
    operand_run: Annotated[Figure, count("elements")] | None = None


class VectorUnit(_Section, frozen=True):
    """Elementwise arithmetic, pooling and reductions of one core."""

    int8: Annotated[Figure, positive("elements/cycle")]
    int16: Annotated[Figure, positive("elements/cycle")]
    reduction: Annotated[Figure, positive("elements/cycle")]


class TableUnit(_Section, frozen=True):
    """Table look-ups of one core, by the width of the input."""

    int8: Annotated[Figure, positive("lookups/cycle")]
    int16: Annotated[Figure, positive("lookups/cycle")]


class Sram(_Section, frozen=True):
    """On-chip memory of one core. ``activation_share`` may hold activations between operators; the rest
    buffers weights and tiles. ``access`` is the shortest run that is read or written at full speed.
    """

    capacity: Annotated[Figure, count("B")]
    activation_share: Annotated[Figure, fraction()]
    bandwidth: Annotated[Figure, positive("GB/s")]
    access: Annotated[Figure, count("B")]


class Dma(_Section, frozen=True):
    """Transfers to and from DDR, one core.

    ``burst`` is the shortest run moved at full speed, ``latency`` the delay before the first byte of each
    transfer. ``gather`` is the run that the engine assembles on the chip when the data's own runs are
    shorter.
    """

    bandwidth: Annotated[Figure, positive("GB/s")]
    burst: Annotated[Figure, count("B")]
    latency: Annotated[Figure, nonnegative("ns")]
    gather: Annotated[Figure, count("B")]


class Launch(_Section, frozen=True):
    """Overheads: of each unit on the chip, and of each inference on the host."""

    operator: Annotated[Figure, nonnegative("us")]
    inference: Annotated[Figure, nonnegative("us")]


class Cpu(_Section, frozen=True):
    """The host processor that computes ``float`` nodes and the quantise/dequantise seams around them.

    ``throughput`` and the bandwidths are of one thread; ``cores`` frames can be on the CPU at a time;
    ``dispatch`` is what handing one operator to the CPU costs.
    """

    throughput: Annotated[Figure, positive("GFLOP/s")]
    bandwidth: Annotated[Figure, positive("GB/s")]
    seam_bandwidth: Annotated[Figure, positive("GB/s")]
    dispatch: Annotated[Figure, nonnegative("us")]
    cores: Annotated[Figure, count("cores")]


class Capability(_Section, frozen=True):
    """Integer precisions of an operator class or family, the first being what ``auto`` means."""

    precisions: tuple[Precision, ...]
    source: str


class Limits(_Section, frozen=True):
    """Limits of the operator rules; an absent one does not bind. See ``engine.target.rules`` for each."""

    conv_channels: Annotated[Figure, count("channels")] | None = None
    conv_kernel: Annotated[Figure, count("positions")] | None = None
    conv_spatial_axes: Annotated[Figure, count("axes")] | None = None
    linear_features: Annotated[Figure, count("features")] | None = None
    norm_positions: Annotated[Figure, count("positions")] | None = None
    accumulator_bits: Annotated[Figure, accumulator("bits")] | None = None
    batch_transposes: Annotated[Figure, nonnegative("transposes")] | None = None


class EthosU(_Section, frozen=True):
    """Present where the chip is an Arm Ethos-U: it is then timed pass by pass, as its compiler Vela estimates it.

    ``engine`` names generation and multiply-accumulates a cycle. Latencies are those of the first byte of SRAM and of
    the memory off the chip; requests are those that each memory serves at a time, over all its ports. A memory off the
    chip that serves no writes holds constants only: activations stay in SRAM, whatever they need.
    """

    engine: Literal["ethos-u55-256", "ethos-u85-1024"]
    sram_read_latency: Annotated[Figure, nonnegative("cycles")]
    sram_write_latency: Annotated[Figure, nonnegative("cycles")]
    sram_reads: Annotated[Figure, count("requests")]
    sram_writes: Annotated[Figure, count("requests")]
    off_chip_write_latency: Annotated[Figure, nonnegative("cycles")]
    off_chip_reads: Annotated[Figure, count("requests")]
    off_chip_writes: Annotated[Figure, nonnegative("requests")]


class StatedError(_Section, frozen=True):
    """How far the estimate was from measurements, as stated beside every latency of this target."""

    throughput: Annotated[Figure, nonnegative("%")] | None = None
    latency: Annotated[Figure, nonnegative("%")] | None = None
    note: str = ""

    @property
    def text(self) -> str:
        """One line for a person."""
        known = (("throughput", self.throughput), ("latency", self.latency))
        parts = [f"{name} off by {figure.value:g} %" for name, figure in known if figure is not None]
        if not parts:
            return self.note or "Never compared with measurements."
        text = " and ".join(parts)
        return f"{text[0].upper()}{text[1:]} on average. {self.note}".rstrip()


class Target(_Section, frozen=True):
    """A chip as the checker and the timing see it. Immutable; equal files give equal targets."""

    identity: Identity
    clock: Clock
    mac: MacArray
    vector: VectorUnit
    table: TableUnit
    sram: Sram
    dma: Dma
    launch: Launch
    cpu: Cpu
    operators: dict[str, Capability]
    limits: Limits = Limits()
    ethos_u: EthosU | None = None
    stated_error: StatedError = StatedError()

    @property
    def name(self) -> str:
        return self.identity.name

    @property
    def title(self) -> str:
        return self.identity.title

    @property
    def core_count(self) -> int:
        return int(self.clock.cores.value)


@dataclass(frozen=True)
class TargetSummary:
    """One row of a list of targets."""

    name: str
    title: str
    summary: str


def list_targets() -> tuple[TargetSummary, ...]:
    """The targets that ship with the product, by name."""
    targets = (load_target(name) for name in _known_names())
    return tuple(TargetSummary(t.name, t.title, t.identity.summary) for t in targets)


def load_target(name_or_path: str | Path) -> Target:
    """Load a shipped target by name, or a description of your own by the path of its ``.toml`` file.

    Raises:
        TargetError: The name is unknown, the file cannot be read, is not TOML, lacks or misspells a key, or
        holds a
            figure without a source or with an impossible value.
    """
    text = str(name_or_path)
    if text.endswith(".toml") or "/" in text or "\\" in text:
        return _from_file(Path(name_or_path))
    known = _known_names()
    if text not in known:
        near = difflib.get_close_matches(text, known, n=1)
        guess = f"did you mean '{near[0]}'? " if near else ""
        hint = f"{guess}Known targets: {', '.join(known)}; or give the path of a .toml file"
        raise TargetError(f"unknown target '{text}'", hint=hint)
    file = resources.files("resources") / _FOLDER / f"{text}.toml"
    return parse_target(file.read_bytes(), f"{text}.toml")


def _known_names() -> tuple[str, ...]:
    folder = resources.files("resources") / _FOLDER
    return tuple(sorted(f.name[: -len(".toml")] for f in folder.iterdir() if f.name.endswith(".toml")))


def _from_file(path: Path) -> Target:
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "cannot be read"
        hint = f"give an existing .toml file or one of {', '.join(_known_names())}"
        raise TargetError(f"cannot read the target: {reason}", path=path, hint=hint) from error
    return parse_target(data, path)


def parse_target(data: bytes, path: str | Path) -> Target:
    """Parse and validate a description; ``path`` is only named in messages.

    Raises:
        TargetError: As :func:`load_target`.
    """
    try:
        target = msgspec.toml.decode(data, type=Target)
    except msgspec.ValidationError as error:
        raise _located(str(error), path) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"is not TOML: {error}", path=path, hint="mend the file's syntax there") from error
    _verify(target, path)
    return target


def _located(message: str, path: str | Path) -> TargetError:
    """A decoding error as one line that names the key the way the file spells it."""
    text, _, where = message.partition(" - at `$.")
    key = where.rstrip("`")
    text = text.replace("Object", "table").replace("`object`", "a table").replace("`", "'")
    line = f"{key}: {text}" if key else text
    if "missing required field 'source'" in text:
        return TargetError(line, path=path, hint=f"add source = and {_SOURCE_HINT}")
    if "unknown field" in text:
        return TargetError(line, path=path, hint="remove or correct it; a shipped target shows all keys")
    if "missing required field" in text:
        return TargetError(line, path=path, hint="add it; a shipped target shows how")
    hint = 'figures read { value = 1.0, unit = "...", source = "assumed: ..." }'
    return TargetError(line, path=path, hint=hint)


def _verify(target: Target, path: str | Path) -> None:
    for key, figure, quantity in _quantities(target, ""):
        problem = source_problem(figure.source)
        if problem is not None:
            raise TargetError(f"{key}: {problem}", path=path, hint=_SOURCE_HINT)
        problem = figure_problem(figure, quantity)
        if problem is not None:
            raise TargetError(f"{key}: {problem}", path=path, hint="correct the figure")
    _verify_identity(target, path)
    _verify_operators(target, path)
    _verify_relations(target, path)


def _verify_identity(target: Target, path: str | Path) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", target.name):
        message = f"identity.name: is {target.name!r}"
        raise TargetError(message, path=path, hint="use lower-case letters, digits, '.', '_' and '-'")


def _verify_operators(target: Target, path: str | Path) -> None:
    for name, capability in target.operators.items():
        key = f"operators.{name}"
        if name not in operator_names():
            near = difflib.get_close_matches(name, sorted(operator_names()), n=1)
            hint = f"did you mean '{near[0]}'?" if near else "use an operator class or a family such as 'mac'"
            raise TargetError(f"{key}: is no operator class or family", path=path, hint=hint)
        problem = source_problem(capability.source)
        if problem is not None:
            raise TargetError(f"{key}: {problem}", path=path, hint=_SOURCE_HINT)
        if not capability.precisions:
            hint = "list int8, int16 or lut, or remove the line: what is absent runs on the CPU"
            raise TargetError(f"{key}: precisions is empty", path=path, hint=hint)
        if Precision.AUTO in capability.precisions or Precision.FLOAT in capability.precisions:
            message = f"{key}: precisions name 'auto' or 'float'"
            raise TargetError(message, path=path, hint="list integer precisions only: int8, int16, lut")
        if Precision.LUT in capability.precisions and not takes_tables(name):
            hint = "list int8 or int16; lut is for the family 'unary' and its operators"
            message = f"{key}: precisions name 'lut', but it is no function of one tensor"
            raise TargetError(message, path=path, hint=hint)


def _verify_relations(target: Target, path: str | Path) -> None:
    for key, problem, hint in breaches(target):
        raise TargetError(f"{key}: {problem}", path=path, hint=hint)


def figures(target: Target) -> Iterator[tuple[str, Figure]]:
    """Key path and figure of every figure that the description holds, in the order of its sections."""
    for key, figure, _ in _quantities(target, ""):
        yield key, figure


def _quantities(section: msgspec.Struct, prefix: str) -> Iterator[tuple[str, Figure, Quantity]]:
    hints = typing.get_type_hints(type(section), include_extras=True)
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, Figure):
            yield f"{prefix}{name}", value, _quantity(hints[name])
        elif isinstance(value, _Section):
            yield from _quantities(value, f"{prefix}{name}.")


def _quantity(hint: object) -> Quantity:
    """The quantity in the annotation of a figure, optional or not."""
    for part in (hint, *typing.get_args(hint)):
        for extra in getattr(part, "__metadata__", ()):
            if isinstance(extra, Quantity):
                return extra
    raise TypeError(f"{hint} declares no quantity")


def exact_limit(figure: Figure | None) -> float:
    """The value of a limit, infinite where there is none."""
    return math.inf if figure is None else figure.value
