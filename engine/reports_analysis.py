"""What analyses beyond the error maps answer, as plain records; see :mod:`engine.reports`.

Import-light on purpose (no numpy, no torch): the window reads these.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from engine.reports import Interval


class Part(StrEnum):
    """What of a unit is in integers while all else is float: the ``node`` as the chip computes it, its ``weights``
    alone (rounded, the arithmetic in float), or its ``activations`` alone (inputs and output rounded, weights float).
    """

    NODE = "node"
    WEIGHTS = "weights"
    ACTIVATIONS = "activations"


class NodeSensitivity(msgspec.Struct, frozen=True):
    """Error at the model's outputs where only this node's unit is in integers.

    ``output_db``: SQNR; a mean of None is no effect at all, or what was not asked for (``weights_db`` and
    ``activations_db``). ``noise`` is the noise that the node adds to the outputs, as a share of their power, over all
    samples: 0 for none.
    """

    id: str
    output_db: Interval
    noise: float
    weights_db: Interval = Interval(None)
    activations_db: Interval = Interval(None)


class Sensitivities(msgspec.Struct, frozen=True):
    """Sensitivity of every node that adds an error, in graph order, over ``samples`` samples. Nodes of one unit have
    one figure."""

    samples: int
    nodes: tuple[NodeSensitivity, ...]


class Cause(StrEnum):
    """Why a unit's results differ from the float model's on the same inputs, in the order in which they are added.

    ``clipping``: inputs and results beyond what the largest integer stands for. ``input``: inputs rounded. ``weights``:
    weights, biases and constant operands rounded. ``requantisation``: results rounded, and the multiplier that scales
    accumulators. ``table``: functions by tables, and other arithmetic that comes near a function.
    """

    CLIPPING = "clipping"
    INPUT = "input"
    WEIGHTS = "weights"
    REQUANTISATION = "requantisation"
    TABLE = "table"


class CauseShare(msgspec.Struct, frozen=True):
    """What one cause contributes to the error that a unit introduces.

    The shares of all causes sum to 1; one that cancels a part of another's error has a negative share. ``alone_db`` is
    the SQNR that this step alone leaves (None: it changes nothing).
    """

    cause: Cause
    share: Interval
    alone_db: Interval


class Attribution(msgspec.Struct, frozen=True):
    """The error that a node's unit introduces, by cause, over ``samples`` samples. Without causes there is no error."""

    id: str
    samples: int
    introduced_db: Interval
    causes: tuple[CauseShare, ...]


class SampleError(msgspec.Struct, frozen=True):
    """The SQNR of one calibration sample, by its place among them; None for an exact one."""

    sample: int
    sqnr_db: float | None


class NodeExplanation(msgspec.Struct, frozen=True):
    """Why a node's values differ, and on which samples most: the error that its unit introduces by cause, and the error
    that has accumulated at its output sample by sample, the worst first."""

    id: str
    attribution: Attribution
    samples: tuple[SampleError, ...]


class OutputError(msgspec.Struct, frozen=True):
    """The error of one of the model's outputs, over all samples and of each, the worst first."""

    name: str
    node: str
    sqnr_db: Interval
    samples: tuple[SampleError, ...]


class ChannelErrors(msgspec.Struct, frozen=True):
    """SQNR of each channel of a node's output over all samples, everything quantised as planned; None for an exact
    channel, or one that is zero throughout. ``axis`` is that of the channels."""

    id: str
    axis: int
    samples: int
    sqnr_db: tuple[float | None, ...]


class NodeGap(msgspec.Struct, frozen=True):
    """How much better a node's values are in the first of two runs than in the second, sample by sample; and the SQNR
    of the second's against the first's (None: the same values)."""

    id: str
    gain_db: Interval
    between_db: Interval


class Parting(msgspec.Struct, frozen=True):
    """Where two runs of one model part.

    ``first`` is the first node, in graph order, whose values differ at all; ``largest`` the one at which the difference
    between the runs grows most over that of the nodes that it reads ("" for either: the runs are the same).
    """

    samples: int
    first: str
    largest: str
    nodes: tuple[NodeGap, ...]
