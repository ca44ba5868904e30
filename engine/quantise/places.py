# pyright: reportUnknownMemberType=false
"""What a convolution or fully connected kernel reads at a few places of its output, and what it is to write there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.program.types import Convolution, FullyConnected

MacOp = Convolution | FullyConnected

_ROW_ELEMENTS = 1 << 24
"""Inputs of all rows together: 64 MiB of float32."""

_MOST_ROWS = 8192


def is_fittable(op: object) -> bool:
    """Whether :func:`inputs_at` knows what the operator reads."""
    if isinstance(op, Convolution):
        return not op.transposed and op.weight.ndim in (3, 4)
    return isinstance(op, FullyConnected)


@dataclass(frozen=True)
class Shape:
    """Groups, outputs of each, and weights of each output."""

    groups: int
    outputs: int
    weights: int

    @staticmethod
    def of(op: MacOp) -> Shape:
        groups = op.groups if isinstance(op, Convolution) else 1
        return Shape(groups, op.weight.shape[0] // groups, math.prod(op.weight.shape[1:]))

    def rows(self, samples: int, places: int) -> int:
        """Rows to take of each sample that has so many places."""
        elements = self.groups * max(self.weights, self.outputs)
        most = min(_MOST_ROWS * max(1, 128 // self.weights), _ROW_ELEMENTS // elements)
        return max(1, min(places, most // samples))


def places_of(op: MacOp, output: Tensor) -> int:
    """How many places an output [N, O, *S] or [..., O] has."""
    return output.numel() // op.weight.shape[0]


def outputs_at(op: MacOp, output: Tensor, chosen: Tensor) -> Tensor:
    """The output [N, O, *S] or [..., O] at places [P] -> [G, P, O/G]."""
    rows = output.movedim(1, -1) if isinstance(op, Convolution) else output
    picked = rows.reshape(-1, rows.shape[-1])[chosen]
    return picked.view(len(chosen), Shape.of(op).groups, -1).movedim(1, 0)


def inputs_at(op: MacOp, x: Tensor, output_shape: tuple[int, ...], chosen: Tensor) -> Tensor:
    """What the outputs at places [P] are made of, from an input of integers -> [G, P, K], in the order of the weights
    of one output, float32."""
    if isinstance(op, FullyConnected):
        return x.reshape(-1, x.shape[-1])[chosen][None].float()
    kernel, strides, dilations, pads = op.weight.shape[2:], op.strides, op.dilations, op.pads
    image, sizes = x, output_shape[2:]
    if len(kernel) == 1:
        image, sizes = x.unsqueeze(2), (1, *sizes)
        kernel, strides, dilations, pads = (1, *kernel), (1, *strides), (1, *dilations), (0, pads[0], 0, pads[1])
    padded = torch.nn.functional.pad(image, (pads[1], pads[3], pads[0], pads[2]))
    picture, rest = chosen // (sizes[0] * sizes[1]), chosen % (sizes[0] * sizes[1])
    down = (rest // sizes[1] * strides[0])[:, None] + torch.arange(kernel[0]) * dilations[0]
    across = (rest % sizes[1] * strides[1])[:, None] + torch.arange(kernel[1]) * dilations[1]
    patches = padded.movedim(1, -1)[picture[:, None, None], down[:, :, None], across[:, None, :]]  # [P, KH, KW, C]
    split = patches.view(*patches.shape[:3], op.groups, -1)
    return split.permute(3, 0, 4, 1, 2).reshape(op.groups, len(chosen), -1).float()
