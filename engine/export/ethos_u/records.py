"""The summary of an ``ethos-u`` export: what its JSON file holds."""

from __future__ import annotations

import msgspec

FORMAT = "quantscope-ethos-u"
VERSION = 1


class NodeRow(msgspec.Struct, frozen=True):
    """A unit of the plan, by the id of its anchor: where it runs, what Vela says of it, and what we do.

    ``where`` is ``npu``, ``host`` (integers that Vela refuses, ``reason`` says why) or ``cpu`` (float). ``operators``
    are Vela's; without any, the unit costs nothing, or other units have taken it up. ``estimate_us`` is our time on
    the session's target, ``bound`` what bounds it. ``macs`` are multiply-accumulates of Vela's convolutions and matrix
    products, ``estimate_macs`` ours. ``memory_cycles`` are those of operators that wait for a memory, ``moved_bytes``
    are read and written by memory, in whole bursts; ``weight_bytes`` are those of the encoded weights.
    """

    id: str
    nodes: tuple[str, ...]
    op_type: str
    where: str
    reason: str
    operators: int
    cycles: int
    npu_cycles: int
    memory_cycles: int
    moved_bytes: dict[str, int]
    weight_bytes: int
    vela_us: float
    macs: int
    estimate_us: float
    estimate_macs: int
    bound: str


class OperatorRow(msgspec.Struct, frozen=True):
    """An operator that Vela reports: the file it is in, its place among that file's TOSA operators, and its unit.

    ``access_cycles`` and ``moved_bytes`` are by memory; ``cycles`` is the slowest of all. One that runs as part of
    another has 0.
    """

    file: str
    operator: str
    place: int | None
    unit: str
    on_npu: bool
    cycles: int
    npu_cycles: int
    macs: int
    staging_bytes: int
    access_cycles: dict[str, int]
    moved_bytes: dict[str, int]
    weight_bytes: int


class SegmentRow(msgspec.Struct, frozen=True):
    """An integer segment: its TOSA file, and where it runs on the NPU, what Vela wrote and says of it.

    ``memory_bytes`` are peaks by memory.
    """

    file: str
    where: str
    compiled: tuple[str, ...] = ()
    operators: int = 0
    npu_operators: int = 0
    cycles: int = 0
    macs: int = 0
    memory_bytes: dict[str, int] = {}


class Totals(msgspec.Struct, frozen=True):
    """Over all segments: memory is the largest of any, the rest is summed. ``macs`` as of :class:`NodeRow`."""

    operators: int
    npu_operators: int
    cycles: int
    vela_us: float
    macs: int
    memory_bytes: dict[str, int]
    estimate_us: float
    estimate_macs: int


class Summary(msgspec.Struct, frozen=True):
    """The JSON file: what was compiled for what, totals, and rows of segments, nodes and operators.

    The files that it names lie in the folder beside it that is called like it, without ``.json``. ``steps`` say in
    which order what runs and how values pass, as in the ``tosa`` export. ``estimate_target`` is the target that our
    estimate is of.
    """

    format: str
    version: int
    model: str
    vela: str
    accelerator: str
    system_config: str
    memory_mode: str
    clock_hz: float
    estimate_target: str
    totals: Totals
    segments: tuple[SegmentRow, ...]
    nodes: tuple[NodeRow, ...]
    operators: tuple[OperatorRow, ...]
    inputs: dict[str, str]
    outputs: dict[str, str]
    steps: tuple[dict[str, object], ...]
