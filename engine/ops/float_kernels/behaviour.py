"""The float behaviour: how each operator class computes on torch tensors."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from engine.ops.base import Behaviour

FLOAT: Behaviour[Callable[..., tuple[Tensor, ...]]] = Behaviour("float kernel")
"""Kernels ``(op, *inputs) -> outputs``; an absent optional input is None. All run on meta tensors too, which is
how shapes are inferred. Kernels of layout operators take any element type and return views where torch can."""
