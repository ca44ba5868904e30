"""What the engine answers, as plain typed records: shared by Python, the command line's JSON and the window's messages.

Import-light on purpose (no numpy, no torch): the window reads these. Infinite decibels (an exact value) and absent
figures are ``None``.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Interval(msgspec.Struct, frozen=True):
    """A mean over samples and the half width of its 95 % confidence interval (None for one sample)."""

    mean: float | None
    half_width: float | None = None


class NodeInfo(msgspec.Struct, frozen=True):
    """What a node is, independent of any plan. ``problem``: why it cannot run and the way out; "" where it can."""

    id: str
    name: str
    op_type: str
    kind: str
    namespace: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    attributes: dict[str, str]
    provenance: tuple[str, ...]
    problem: str = ""


class EdgeInfo(msgspec.Struct, frozen=True):
    """A value flowing from one node to another."""

    source: str
    target: str
    value: str
    shape: tuple[int, ...]
    dtype: str


class GraphInfo(msgspec.Struct, frozen=True):
    """The graph as the window draws it."""

    name: str
    path: str
    digest: str
    opset: int
    nodes: tuple[NodeInfo, ...]
    edges: tuple[EdgeInfo, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: int
    notes: tuple[str, ...]


class NodePlan(msgspec.Struct, frozen=True):
    """Requested and effective precision of a node. ``fused_into`` is the unit's anchor, "" if it is the node itself."""

    id: str
    requested: str
    effective: str
    dtype: str
    reason: str
    fused_into: str
    scale: float | None = None


class RegionPlan(msgspec.Struct, frozen=True):
    """A fusion region of the plan: whether it takes effect, and if not, why."""

    name: str
    nodes: tuple[str, ...]
    legal: bool
    reason: str


class RegionVerdict(msgspec.Struct, frozen=True):
    """Whether nodes can run as one kernel.

    For what cannot: the name of the broken ``rule`` and its ``text``, one line of ``reason``, the ``offending`` nodes,
    what was ``measured`` against the ``limit`` (None: nothing), and the ``nearest`` nodes that can (none: empty). For
    what can: the values that are ``written`` in full because others read them, what the estimate saves in time and DDR
    traffic, and a ``note`` where it nevertheless takes longer.
    """

    name: str
    nodes: tuple[str, ...]
    legal: bool
    rule: str = ""
    text: str = ""
    reason: str = ""
    offending: tuple[str, ...] = ()
    measured: float | None = None
    limit: float | None = None
    nearest: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    saving_us: float | None = None
    saved_bytes: int | None = None
    note: str = ""


class RegionSplit(msgspec.Struct, frozen=True):
    """What cutting a region in two gives: ``parts`` are the regions that take its place (a side that is one unit is a
    kernel without a region; so there may be fewer than two). Where it cannot be cut, ``reason`` says why, and
    ``refused`` is the side that would not be legal, if that is it.
    """

    name: str
    parts: tuple[RegionVerdict, ...] = ()
    refused: RegionVerdict | None = None
    reason: str = ""


class NodeTime(msgspec.Struct, frozen=True):
    """Estimated time of a node and what bounds it (``mac``, ``vector``, ``lut``, ``dma``, ``cpu``, ``launch``)."""

    id: str
    latency_us: float
    bound: str
    why: str
    dma_bytes: int
    macs: int


class Timing(msgspec.Struct, frozen=True):
    """Estimated times; ``nodes`` sum to ``latency_ms``. ``stated_error``: how far this target's times are known to be
    off."""

    target: str
    latency_ms: float
    throughput_fps: float
    ddr_bytes: int
    nodes: tuple[NodeTime, ...]
    stated_error: str = ""


class KernelReport(msgspec.Struct, frozen=True):
    """What the chip (or the CPU) runs as one: one unit or a fused region.

    ``anchor`` is the node that the kernel is named after, ``region`` the user's region that it is ("" for what the
    compiler chose), ``latency_us`` its time on the critical path, ``busy_us`` the time of each engine that it occupies.
    """

    anchor: str
    nodes: tuple[str, ...]
    region: str
    tiles: int
    latency_us: float
    bound: str
    why: str
    busy_us: dict[str, float]
    macs: int
    ddr_bytes: int


class Timeline(msgspec.Struct, frozen=True):
    """The simulated jobs of one frame as columns, in order of issue; ``engine`` and ``kernel`` are indices.

    Jobs with ``is_critical`` are the critical path: they follow each other without a gap to ``total_us``, from the end
    of the host's part of the inference, which is no job of the chip.
    """

    engines: tuple[str, ...]
    kernels: tuple[KernelReport, ...]
    engine: tuple[int, ...]
    kernel: tuple[int, ...]
    tile: tuple[int, ...]
    start_us: tuple[float, ...]
    end_us: tuple[float, ...]
    size_bytes: tuple[int, ...]
    is_critical: tuple[bool, ...]
    total_us: float


class MemoryBlock(msgspec.Struct, frozen=True):
    """A stretch of memory that holds a value (or ``kind`` ``tiles``, ``weights``) for a time of the frame. ``node`` is
    the anchor of the kernel that makes it."""

    value: str
    node: str
    memory: str
    kind: str
    address: int
    size_bytes: int
    start_us: float
    end_us: float


class MemoryReport(msgspec.Struct, frozen=True):
    """The memory plan of one frame: blocks of ``sram`` and ``dram``, what is occupied on the chip over time (time,
    bytes from then on), and how near the plan is to the least that any plan needs."""

    capacity_bytes: int
    blocks: tuple[MemoryBlock, ...]
    occupancy: tuple[tuple[float, int], ...]
    peak_bytes: int
    lower_bound_bytes: int
    dram_peak_bytes: int
    planner: str


class PassReport(msgspec.Struct, frozen=True):
    """What one pass of the compiler did: a line for a person, and the figure it changes (None: none)."""

    name: str
    text: str
    unit: str = ""
    before: float | None = None
    after: float | None = None


class Ceiling(msgspec.Struct, frozen=True):
    """Limits of a roofline: multiply-accumulates a microsecond at int8, and bytes of DDR a microsecond."""

    macs_per_us: float
    ddr_bytes_per_us: float


class Compilation(msgspec.Struct, frozen=True):
    """The compiled model on the target: what each pass did, the timeline and memory of a frame.

    ``utilisation`` is the share of the frame that each engine is busy; ``layout_bytes`` what data movement operators
    read and write, as exported and as compiled; ``stated_error`` how far this target's times are known to be off.
    """

    target: str
    latency_ms: float
    throughput_fps: float
    ddr_bytes: int
    layout_bytes: tuple[int, int]
    utilisation: dict[str, float]
    passes: tuple[PassReport, ...]
    timeline: Timeline
    memory: MemoryReport
    ceiling: Ceiling
    stated_error: str


class NodeError(msgspec.Struct, frozen=True):
    """Errors of a node over the samples seen so far. Introduced is None for what adds none (data movement)."""

    id: str
    accumulated_db: Interval
    introduced_db: Interval
    cosine: float
    mse: float
    max_abs: float
    introduced_mse: float | None = None


class Errors(msgspec.Struct, frozen=True):
    """Errors of all nodes over ``samples`` samples, and of the model's outputs together."""

    samples: int
    output_sqnr_db: Interval
    nodes: tuple[NodeError, ...]


class Evaluation(msgspec.Struct, frozen=True):
    """Task metric on labelled data; accuracies are fractions. None without labels: top-1, and how many samples the
    quantised model has ``lost`` (only the float model has them right) and ``won`` (only the quantised one)."""

    samples: int
    float_top1: float | None
    quantised_top1: float | None
    agreement: float
    output_sqnr_db: float
    cpu_nodes: int
    lost: int | None = None
    won: int | None = None


class Accumulator(msgspec.Struct, frozen=True):
    """How large the sums of a node's kernel can become, of which that with the least headroom is meant.

    ``largest`` is the magnitude that no input exceeds, ``bits`` the width it is kept in, ``headroom_bits`` how many
    times it could double. ``stage`` names the sum, ``instruction`` the program operator that has it, ``proof`` what the
    bound was made from: the layer's ``weights``, the ``constants`` of its arithmetic, or the ``shape`` ("": there is
    none, and no figure).
    """

    id: str
    op_type: str
    instruction: str
    stage: str = ""
    proof: str = ""
    bits: int | None = None
    largest: int | None = None
    headroom_bits: float | None = None


class NodeDetail(msgspec.Struct, frozen=True):
    """What the inspector shows of one node on one sample.

    ``histogram_edges`` [bins + 1] are shared by both histograms [bins]; weight ranges are per output channel.
    ``accumulator`` is None for a kernel that adds nothing up.
    """

    id: str
    histogram_edges: tuple[float, ...]
    float_histogram: tuple[int, ...]
    quantised_histogram: tuple[int, ...]
    float_range: tuple[float, float]
    scales: dict[str, float]
    weight_low: tuple[float, ...]
    weight_high: tuple[float, ...]
    threshold: float | None
    clipped_fraction: float
    accumulator: Accumulator | None = None


class Refusal(msgspec.Struct, frozen=True):
    """A node that does not run on the chip, or not as requested."""

    id: str
    op_type: str
    effective: str
    reason: str


class Rewrite(msgspec.Struct, frozen=True):
    """A refused node, and what would run on the chip in its place.

    ``rule`` is the broken rule of the target, with what was ``measured`` and the ``limit`` ("" and None: there is
    none). ``rewrite`` is how to write the node anew: ``checked`` against the target's rules, or advice; ``change_us``
    is what it changes the latency by (None: it was not estimated).
    """

    id: str
    rule: str = ""
    reason: str = ""
    measured: float | None = None
    limit: float | None = None
    rewrite: str = ""
    change_us: float | None = None
    checked: bool = False


class Advice(msgspec.Struct, frozen=True):
    """A rewrite or advice for each refused node, and what all rewrites together change the latency by (None: there is
    none)."""

    rewrites: tuple[Rewrite, ...]
    change_us: float | None = None


class ExportSummary(msgspec.Struct, frozen=True):
    """What an export wrote."""

    path: str
    format: str
    size_bytes: int
    notes: tuple[str, ...]


class Stage(StrEnum):
    """The forms that a model takes on its way, in their order: each is compared with the one before it."""

    FLOAT = "float"
    CALIBRATED = "calibrated"
    INTEGER = "integer"
    EXPORTED = "exported"
    PACKAGE = "package"


class Agreement(StrEnum):
    """What a comparison found: all bits ``same``, ``within`` the stated tolerance, or it ``differs``. ``unavailable``:
    it could not be made here, ``failed``: the other program refused, crashed or hung; the text says why."""

    SAME = "same"
    WITHIN = "within"
    DIFFERS = "differs"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"


class Comparison(msgspec.Struct, frozen=True):
    """One stage compared with another program's, or with ours run in another way.

    ``values`` values of ``elements`` elements were compared over all samples; ``differing`` elements differ,
    ``beyond`` of them by more than the tolerance, at most by ``worst``, in ``unit``. ``node`` and ``value`` are the
    first beyond the tolerance, else the first that differ.
    """

    stage: Stage
    party: str
    what: str
    agreement: Agreement
    text: str
    values: int = 0
    elements: int = 0
    differing: int = 0
    beyond: int = 0
    worst: float = 0.0
    unit: str = ""
    node: str = ""
    value: str = ""


class Mismatch(msgspec.Struct, frozen=True):
    """A value that differs in a comparison."""

    stage: Stage
    party: str
    what: str
    node: str
    value: str
    elements: int
    differing: int
    beyond: int
    worst: float
    unit: str


class Verification(msgspec.Struct, frozen=True):
    """All comparisons over ``samples`` samples, in the order of the stages, and the values that differ; the first stage
    that differs by more than its tolerance, and the first node there ("" where all agree)."""

    samples: int
    comparisons: tuple[Comparison, ...]
    mismatches: tuple[Mismatch, ...]
    first_stage: str
    first_node: str
