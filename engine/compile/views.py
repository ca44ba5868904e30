"""Views: where the elements of a tensor lie in a buffer that holds them in another order.

A view gives every axis of the tensor as *factors*, outermost first: the axis' index, written in the mixed radix of the
factors' sizes, has one digit a factor, and each digit moves the address by its factor's stride. So a view stands for a
chain of reshapes, transposes, slices, splits and broadcasts without a copy: a reshape regroups and splits factors, a
transpose reorders axes, a slice shortens the outermost factor, a broadcast has stride 0.

A cyclic shift is a *ring*: factors of a ring add to an index that is shifted and wraps around, and whose own digits
then move the address. Cutting a shifted axis into windows (or joining windows and shifting back) therefore stays one
view, which falls into at most two pieces a window and axis.

All functions are pure and count elements; None says that the result is no view of this form.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DIRECT = -1
"""The ring of a factor that moves the address itself."""

Shape = tuple[int, ...]


class Factor(NamedTuple):
    """``size`` steps of ``stride`` elements each, or of ``stride`` steps in the index of ring number ``ring``."""

    size: int
    stride: int
    ring: int = DIRECT


class Ring(NamedTuple):
    """An index from 0 to ``size`` that starts at ``shift`` and wraps around; ``digits`` are its factors in the buffer,
    outermost first: (size, stride)."""

    size: int
    shift: int
    digits: tuple[tuple[int, int], ...]

    def addresses(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Address of each index, before the shift."""
        rest = (index + self.shift) % self.size
        found = np.zeros_like(rest)
        for size, stride in reversed(self.digits):
            found += rest % size * stride
            rest = rest // size
        return found


Axis = tuple[Factor, ...]


class View(NamedTuple):
    """A tensor's elements in a buffer: factors of each axis (none of size 1), the first address, and the rings."""

    axes: tuple[Axis, ...]
    offset: int = 0
    rings: tuple[Ring, ...] = ()

    @property
    def shape(self) -> Shape:
        return tuple([axis_size(axis) for axis in self.axes])

    @property
    def element_count(self) -> int:
        return prod([factor.size for axis in self.axes for factor in axis])

    @property
    def is_strided(self) -> bool:
        """Whether no index wraps around."""
        return not self.rings

    def addresses(self) -> NDArray[np.int64]:
        """The place of every element in the buffer, [*shape]."""
        sources = [np.zeros((1,) * len(self.axes), np.int64) for _ in range(len(self.rings) + 1)]
        for place, axis in enumerate(self.axes):
            behind = (1,) * (len(self.axes) - place - 1)
            for source in range(DIRECT, len(self.rings)):
                sources[source] = sources[source] + _walk(axis, source).reshape((-1, *behind))
        found = self.offset + sources[DIRECT]
        for ring, index in zip(self.rings, sources, strict=False):
            found = found + ring.addresses(index)
        return found


def axis_size(axis: Axis) -> int:
    """Elements along an axis."""
    size = 1
    for factor in axis:
        size *= factor.size
    return size


def _walk(axis: Axis, source: int) -> NDArray[np.int64]:
    """What each index of an axis adds to one source, [size]."""
    found = np.zeros(1, np.int64)
    for size, stride, ring in axis:
        steps = np.arange(size, dtype=np.int64) * (stride if ring == source else 0)
        found = (found[:, None] + steps).reshape(-1)
    return found


def row_major(shape: Sequence[int]) -> View:
    """The view of a buffer that holds a tensor in its own order."""
    return ordered(shape, range(len(shape)))


def ordered(shape: Sequence[int], order: Sequence[int]) -> View:
    """The view of a buffer that holds a tensor's axes in another ``order``, outermost first."""
    axes: list[Axis] = [()] * len(shape)
    stride = 1
    for axis in reversed(order):
        if shape[axis] != 1:
            axes[axis] = (Factor(shape[axis], stride),)
        stride *= shape[axis]
    return View(tuple(axes))


def packed(view: View) -> View | None:
    """The view of a buffer of its own that holds the elements in the order in which ``view`` has them in memory.

    None where that order is none of factors: with rings, broadcast or reversed axes.
    """
    if view.rings:
        return None
    flat = [(factor.stride, place, rank) for place, axis in enumerate(view.axes) for rank, factor in enumerate(axis)]
    if any(stride <= 0 for stride, _, _ in flat):
        return None
    axes = [list(axis) for axis in view.axes]
    expected = 1
    for _, place, rank in sorted(flat):
        size = axes[place][rank].size
        axes[place][rank] = Factor(size, expected)
        expected *= size
    return View(tuple(_merged(axis) for axis in axes))


# -- what layout operators do --------------------------------------------------------------------------------


def transposed(view: View, perm: Sequence[int]) -> View:
    """Axis i of the result is axis ``perm[i]``."""
    return View(tuple([view.axes[axis] for axis in perm]), view.offset, view.rings)


def reshaped(view: View, shape: Sequence[int]) -> View | None:
    """The same elements in row-major order as ``shape``; None where a factor would have to be cut off its size."""
    left = list(_merged([factor for axis in view.axes for factor in axis]))
    axes: list[Axis] = []
    for size in reversed(shape):
        taken = _take(left, size)
        if taken is None:
            return None
        axes.append(taken)
    return None if left else View(tuple(reversed(axes)), view.offset, view.rings)


def _take(left: list[Factor], size: int) -> Axis | None:
    """Innermost factors of ``left`` that make up an axis of ``size``; they are removed there."""
    taken: list[Factor] = []
    while size != 1:
        if not left:
            return None
        last = left.pop()
        if size % last.size == 0:
            taken.append(last)
            size //= last.size
        elif size and last.size % size == 0:
            taken.append(last._replace(size=size))
            left.append(last._replace(size=last.size // size, stride=last.stride * size))
            size = 1
        else:
            return None
    return tuple(reversed(taken))


def sliced(view: View, axis: int, start: int, count: int, step: int = 1) -> View | None:
    """``count`` elements of an axis from ``start`` on, ``step`` apart (0: the same one again and again); None
    where they are no factors of the view.
    """
    if count == 1 or step == 0:
        return _fixed(view, axis, start, (Factor(count, 0),))
    cut = _cut(view.axes[axis], start, count, step)
    if cut is None:
        return None
    factors, base = cut
    return _moved(view, axis, factors, base)


def _fixed(view: View, axis: int, index: int, factors: Axis) -> View:
    """One index of an axis, in whose place other factors stand."""
    base: list[Factor] = []
    for factor in reversed(view.axes[axis]):
        base.append(factor._replace(size=index % factor.size))
        index //= factor.size
    return _moved(view, axis, factors, base)


def _moved(view: View, axis: int, factors: Sequence[Factor], base: Sequence[Factor]) -> View:
    """The view with other factors for an axis, ``base`` (factors with the number of steps as size) further on."""
    offset, shifts = view.offset, [ring.shift for ring in view.rings]
    for steps, stride, ring in base:
        if ring == DIRECT:
            offset += steps * stride
        else:
            shifts[ring] += steps * stride
    rings = [ring._replace(shift=shift % ring.size) for ring, shift in zip(view.rings, shifts, strict=True)]
    axes = (*view.axes[:axis], _merged(factors), *view.axes[axis + 1 :])
    return _tidy(View(axes, offset, tuple(rings)))


def _cut(axis: Axis, start: int, count: int, step: int) -> tuple[list[Factor], list[Factor]] | None:
    """The factors of a slice of an axis, and how far on it starts."""
    if len(axis) == 1:
        (only,) = axis
        return [only._replace(size=count, stride=only.stride * step)], [only._replace(size=start)]
    outer, inner = axis[0], axis[1:]
    size = axis_size(inner)
    last = start + (count - 1) * step
    if start // size == last // size:
        within = _cut(inner, start % size, count, step)
        return None if within is None else (within[0], [outer._replace(size=start // size), *within[1]])
    if step == 1 and start % size == 0 and count % size == 0:
        return [outer._replace(size=count // size), *inner], [outer._replace(size=start // size)]
    return _strided_cut(axis, start, count, step)


def _strided_cut(axis: Axis, start: int, count: int, step: int) -> tuple[list[Factor], list[Factor]] | None:
    """Every ``step``-th element of a whole axis, where the innermost factor is a multiple of the step."""
    last = axis[-1]
    if not 0 < start + 1 <= step or last.size % step or count * step != axis_size(axis):
        return None
    rest = [last._replace(size=last.size // step, stride=last.stride * step)] if last.size != step else []
    return [*axis[:-1], *rest], [last._replace(size=start)]


def rolled(view: View, axis: int, shift: int) -> View | None:
    """Element i of the axis is element ``i - shift``, cyclically; None for an axis that is part of a ring."""
    factors = view.axes[axis]
    size = axis_size(factors)
    back = -shift % size if size else 0
    if back == 0:
        return view
    if all(factor.ring == DIRECT for factor in factors):
        ring = Ring(size, back, tuple((factor.size, factor.stride) for factor in factors))
        axes = (*view.axes[:axis], (Factor(size, 1, len(view.rings)),), *view.axes[axis + 1 :])
        return View(axes, view.offset, (*view.rings, ring))
    (first, *more) = factors
    if more or (first.size, first.stride) != (view.rings[first.ring].size, 1):
        return None
    rings = list(view.rings)
    rings[first.ring] = rings[first.ring]._replace(shift=(rings[first.ring].shift + back) % size)
    return _tidy(View(view.axes, view.offset, tuple(rings)))


def expanded(view: View, shape: Sequence[int]) -> View:
    """Broadcast to ``shape``: new axes, and those of size 1, are read again and again."""
    axes = ((),) * (len(shape) - len(view.axes)) + view.axes
    repeats = tuple(
        (Factor(size, 0),) if not axis and size != 1 else axis for axis, size in zip(axes, shape, strict=True)
    )
    return View(repeats, view.offset, view.rings)


def repeated(view: View, repeats: Sequence[int]) -> View:
    """Each axis ``repeats`` times over."""
    axes = tuple(
        _merged((Factor(count, 0), *axis)) if count != 1 else axis
        for axis, count in zip(view.axes, repeats, strict=True)
    )
    return View(axes, view.offset, view.rings)


def joined(views: Sequence[View], axis: int) -> View | None:
    """Concatenation along an axis of views of one buffer, where together they are one: pieces at regular distances (the
    four slices of patch merging), or each where the one before it ends."""
    first = views[0]
    if any(view.rings or len(view.axes) != len(first.axes) for view in views):
        return None
    if any(view.axes[:axis] + view.axes[axis + 1 :] != first.axes[:axis] + first.axes[axis + 1 :] for view in views):
        return None
    if all(view.axes == first.axes for view in views):
        regular = _progression([view.offset - first.offset for view in views])
        if regular is not None:
            return _moved(first, axis, (*regular, *first.axes[axis]), ())
    return _adjacent(views, axis)


def _progression(offsets: Sequence[int]) -> list[Factor] | None:
    """Factors whose steps are these offsets (the first is 0), in order."""
    if len(offsets) == 1:
        return []
    stride = offsets[1] - offsets[0]
    run = 1
    while run < len(offsets) and offsets[run] == run * stride:
        run += 1
    sizes = (size for size in range(run, 1, -1) if len(offsets) % size == 0)
    for size in sizes:
        starts = offsets[::size]
        if all(offsets[index] == starts[index // size] + index % size * stride for index in range(len(offsets))):
            outer = _progression(starts)
            if outer is not None:
                return [*outer, Factor(size, stride)]
    return None


def _adjacent(views: Sequence[View], axis: int) -> View | None:
    total, end = 0, views[0].offset
    outers = [view.axes[axis][0] if view.axes[axis] else None for view in views]
    strides = {outer.stride for outer in outers if outer is not None}
    if len(strides) != 1 or len({view.axes[axis][1:] for view in views if view.axes[axis]}) != 1:
        return None
    (stride,) = strides
    inner = next(view.axes[axis][1:] for view in views if view.axes[axis])
    for view, outer in zip(views, outers, strict=True):
        if view.offset != end or (outer is None and inner):
            return None
        steps = 1 if outer is None else outer.size
        total += steps
        end += steps * stride
    return _moved(views[0], axis, (Factor(total, stride), *inner), ())


def is_permutation(view: View, elements: int) -> bool:
    """Whether a strided view has every one of a buffer's ``elements`` exactly once."""
    if view.rings or view.offset or view.element_count != elements:
        return False
    expected = 1
    for stride, size in sorted((factor.stride, factor.size) for axis in view.axes for factor in axis):
        if stride != expected:
            return False
        expected *= size
    return True


# -- normal form ---------------------------------------------------------------------------------------------


def _merged(factors: Sequence[Factor]) -> Axis:
    """Without factors of size 1, and with neighbours that continue each other as one."""
    found: list[Factor] = []
    for factor in factors:
        size, stride, ring = factor
        if size == 1:
            continue
        if found:
            outer = found[-1]
            if outer.stride == stride * size and outer.ring == ring:
                found[-1] = Factor(outer.size * size, stride, ring)
                continue
        found.append(factor)
    return tuple(found)


def _tidy(view: View) -> View:
    """Rings that no factor steps through become part of the offset, and rings that never wrap plain factors."""
    if not view.rings:
        return view
    offset, kept, number = view.offset, list[Ring](), dict[int, int]()
    plain: dict[int, int] = {}
    for index, ring in enumerate(view.rings):
        steps = [factor for axis in view.axes for factor in axis if factor.ring == index]
        lowest = ring.shift + sum((f.size - 1) * f.stride for f in steps if f.stride < 0)
        highest = ring.shift + sum((f.size - 1) * f.stride for f in steps if f.stride > 0)
        if not steps:
            offset += int(ring.addresses(np.zeros(1, np.int64))[0])
        elif len(ring.digits) == 1 and lowest >= 0 and highest < ring.size:
            plain[index] = ring.digits[0][1]
            offset += ring.shift * ring.digits[0][1]
        else:
            number[index] = len(kept)
            kept.append(ring)
    axes = tuple(_merged([_renumbered(factor, number, plain) for factor in axis]) for axis in view.axes)
    return View(axes, offset, tuple(kept))


def _renumbered(factor: Factor, number: dict[int, int], plain: dict[int, int]) -> Factor:
    if factor.ring == DIRECT:
        return factor
    if factor.ring in plain:
        return Factor(factor.size, factor.stride * plain[factor.ring])
    return factor._replace(ring=number[factor.ring])
