"""How the values of a node are distributed, and its look-up table, as plain records; see :mod:`engine.reports`.

Import-light on purpose (no numpy, no torch): the window reads these.
"""

from __future__ import annotations

import msgspec

from engine.reports import Interval


class TableCurve(msgspec.Struct, frozen=True):
    """A unit that is computed by a look-up table: the function, what the table makes of it, and where its inputs lie.

    ``x`` are inputs in real units from the smallest integer to the largest, ``exact`` the function there, ``made`` what
    the chip computes. ``input_edges`` [bins + 1] and ``input_counts`` [bins] are of the float model's inputs, clipped
    ones included; ``clipped`` is the percentage of these beyond the table's ends. The powers are means of squares over
    the inputs, in units of the output: of inputs clipped, of inputs rounded to the table's places, and of its entries
    (with interpolation and the output's rounding). ``output_db`` is the error at the model's outputs where only this
    unit is in integers.
    """

    function: str
    entries: int
    input_dtype: str
    output_dtype: str
    low: float
    high: float
    input_step: float
    output_step: float
    x: tuple[float, ...]
    exact: tuple[float, ...]
    made: tuple[float, ...]
    input_edges: tuple[float, ...]
    input_counts: tuple[int, ...]
    clipped: Interval
    clipping_power: Interval
    rounding_power: Interval
    entries_power: Interval
    signal_power: Interval
    output_db: Interval


class Picture(msgspec.Struct, frozen=True):
    """``pixels`` are red, green and blue bytes, row by row from the top."""

    width: int
    height: int
    pixels: bytes


class SampleView(msgspec.Struct, frozen=True):
    """One calibration sample: its SQNR at the model's outputs (None: exact), the class that the float model and the
    integers choose (None: the first output is no choice of one), and its picture, if it is one."""

    index: int
    output_db: float | None
    float_class: int | None = None
    made_class: int | None = None
    picture: Picture | None = None


class NodeDistribution(msgspec.Struct, frozen=True):
    """Values of the unit of a node in the float model and in the integer program.

    ``sqnr_db`` has one figure for each of the first samples; ``sample`` is the one that is shown, None for all of them
    together, ``worst`` the one of largest error. ``channel`` is the one that is shown, None for all. Both histograms
    [bins] share ``edges`` [bins + 1]. ``threshold`` is the largest magnitude that the integers have, None for float
    values; ``step`` the distance of two. Channel figures [channels] are over the samples shown; an exact channel has
    the SQNR None. ``clipped`` is the percentage of float values beyond the threshold. ``view`` is of the sample that is
    shown.
    """

    id: str
    value: str
    dtype: str
    sqnr_db: tuple[float | None, ...]
    mean_db: Interval
    sample: int | None
    worst: int
    channel: int | None
    edges: tuple[float, ...]
    float_counts: tuple[int, ...]
    quantised_counts: tuple[int, ...]
    threshold: float | None
    step: float | None
    clipped: Interval
    channel_low: tuple[float, ...]
    channel_high: tuple[float, ...]
    channel_db: tuple[float | None, ...]
    table: TableCurve | None = None
    view: SampleView | None = None
