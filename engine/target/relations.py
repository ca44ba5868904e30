"""Relations between the figures of a target: what no figure alone can break, but two of them together.

Each is a small function that names the key and says what is wrong with it, or answers None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.target.target import Target

Breach = tuple[str, str, str]
"""The key, what is wrong with it, and the way out."""

LEAST_TILE_ROOM_BYTES = 1024
"""What any target keeps on the chip for tiles: with less, a layer is cut into more tiles than anyone waits for."""

_BUFFERS = 2

RELATIONS: list[Callable[[Target], Breach | None]] = []
"""All relations, in the order in which they are asked."""


def _relation(check: Callable[[Target], Breach | None]) -> Callable[[Target], Breach | None]:
    RELATIONS.append(check)
    return check


def breaches(target: Target) -> Iterator[Breach]:
    """What is wrong with the figures together."""
    for check in RELATIONS:
        found = check(target)
        if found is not None:
            yield found


def tile_room_bytes(target: Target) -> int:
    """On-chip memory that is kept for tiles: what activations between operators leave."""
    return int(target.sram.capacity.value * (1.0 - target.sram.activation_share.value))


@_relation
def runs_fit_the_memory(target: Target) -> Breach | None:
    """A burst, a gathered run and a line of on-chip memory are no longer than that memory."""
    capacity = target.sram.capacity.value
    runs = {"dma.burst": target.dma.burst, "dma.gather": target.dma.gather, "sram.access": target.sram.access}
    for key, figure in runs.items():
        if figure.value > capacity:
            text = f"{figure.value:,.0f} B do not fit the {capacity:,.0f} B of sram.capacity"
            return key, text, "correct one of them"
    return None


@_relation
def memory_is_left_for_tiles(target: Target) -> Breach | None:
    """What activations between operators leave of the memory holds tiles."""
    room = tile_room_bytes(target)
    if room >= LEAST_TILE_ROOM_BYTES:
        return None
    sram = target.sram
    text = (
        f"{sram.activation_share.value:g} of the {sram.capacity.value:,.0f} B of sram.capacity leaves {room:,} B for "
        f"tiles, where at least {LEAST_TILE_ROOM_BYTES:,} B are needed"
    )
    return "sram.activation_share", text, "lower it, or correct sram.capacity"


@_relation
def an_array_tile_fits(target: Target) -> Breach | None:
    """What the array takes at once fits the memory for tiles: int8 weights of all its channels, and the inputs and
    results of its positions, each twice."""
    mac = target.mac
    inputs, outputs = int(mac.input_channel_alignment.value), int(mac.output_channel_alignment.value)
    positions = int(mac.position_alignment.value)
    needed = _BUFFERS * (inputs * outputs + positions * (inputs + outputs))
    room = tile_room_bytes(target)
    if needed <= room:
        return None
    text = (
        f"a tile of {inputs:,} by {outputs:,} channels and {positions:,} positions takes {needed:,} B; sram keeps "
        f"{room:,} B for tiles"
    )
    return "mac", text, "correct the alignments, or sram.capacity and sram.activation_share"


@_relation
def a_systolic_array_is_whole(target: Target) -> Breach | None:
    """A systolic array has a dataflow, rows and columns, or none of them."""
    mac = target.mac
    parts = {"dataflow": mac.dataflow, "rows": mac.rows, "columns": mac.columns}
    missing = [name for name, value in parts.items() if value is None]
    if not missing or len(missing) == len(parts):
        return None
    present = " and ".join(name for name in parts if name not in missing)
    hint = "a systolic array has dataflow, rows and columns; any other array none of them"
    return f"mac.{missing[0]}", f"is missing beside {present}", hint


@_relation
def a_systolic_array_has_its_peak(target: Target) -> Breach | None:
    """The cells of all cores' systolic arrays, at the clock's rate, are the peak (to a hundredth)."""
    mac, clock = target.mac, target.clock
    if mac.dataflow is None or mac.rows is None or mac.columns is None:
        return None
    tops = 2e-3 * mac.rows.value * mac.columns.value * clock.frequency.value * clock.cores.value
    if abs(tops - mac.int8_peak.value) <= 0.01 * tops:
        return None
    text = (
        f"{mac.int8_peak.value:g} TOPS is not the {tops:.4g} TOPS of {mac.rows.value:g} rows by {mac.columns.value:g} "
    )
    text += f"columns in {clock.cores.value:g} cores at {clock.frequency.value:g} GHz"
    return "mac.int8_peak", text, "correct one of them"


@_relation
def int16_is_not_faster(target: Target) -> Breach | None:
    """No engine is faster on wide elements than on narrow ones."""
    pairs = (
        ("mac.int16_peak", target.mac.int16_peak, "mac.int8_peak", target.mac.int8_peak),
        ("vector.int16", target.vector.int16, "vector.int8", target.vector.int8),
        ("table.int16", target.table.int16, "table.int8", target.table.int8),
    )
    for key, wide, other, narrow in pairs:
        if wide.value > narrow.value:
            text = f"{wide.value:g} {wide.unit} is faster than the {narrow.value:g} {narrow.unit} of {other}"
            return key, text, "correct one of them"
    return None
