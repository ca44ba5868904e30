"""Steps as passes of the engine: what each generation runs for a step, and what of the steps it runs as one pass."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.simulate.ethos.npu import U55, U85, Npu, round_up
from engine.simulate.ethos.passes import Block, FeatureMap, Part, Pass, Weights
from engine.simulate.ethos.steps import WIDE, Kind, Shape, Step, Steps, Value
from engine.simulate.ethos.weights import SCALE_BYTES, Statistics, encoded_bytes

Locate = Callable[[Value, str], bool]
"""Whether a value, of a name in the graph or "", lies in SRAM."""

_ELEMENTWISE = frozenset({Kind.ADD, Kind.MULTIPLY, Kind.OTHER, Kind.UNARY, Kind.ADD_SCALED})
_LINEAR = frozenset({Kind.SUM, Kind.LARGEST, Kind.SMALLEST, Kind.TRANSPOSE, Kind.COPY, Kind.PRODUCT})
"""Steps around which tensors are stored position by position."""
_CHAIN = 4
_AXES = 3
_ROW = 16
_TABLE_PASSES = 3
_TABLE_BYTES = {Kind.TABLE8: 256, Kind.TABLE16: 2048}


@dataclass(frozen=True)
class Lowering(ABC):
    """Lowers the steps of one unit.

    Attributes:
        npu: The engine.
        names: Of values that leave the unit, by their keys.
        place: Where values lie.
        is_brick: Whether a value of the graph is stored in bricks.
        statistics: Of the weights, by the name of the value.
    """

    npu: Npu
    names: Mapping[int, str]
    place: Locate
    is_brick: Callable[[str], bool]
    statistics: Callable[[str], Statistics]

    def passes(self, steps: Steps) -> tuple[Pass, ...]:
        """The passes of the steps, in order."""
        linear = _linear_keys(steps, bricks=self.npu.chains)
        return tuple(self._passes(steps, linear))

    @abstractmethod
    def _passes(self, steps: Steps, linear: frozenset[int]) -> Iterator[Pass]:
        """The passes; ``linear`` are keys of values that are not stored in bricks."""

    def map_of(self, value: Value, shape: Block, linear: frozenset[int]) -> FeatureMap:
        """A value as a feature map of a shape."""
        name = self.name_of(value)
        brick = value.is_image or self.is_brick(name) if name else value.key not in linear
        return FeatureMap(*shape, value.width_bytes, self.locate(value), brick and not value.is_constant)

    def name_of(self, value: Value) -> str:
        """The graph's name of a value, "" of what only the unit knows."""
        return value.name or self.names.get(value.key, "")

    def locate(self, value: Value) -> bool:
        """Whether a value lies in SRAM."""
        return self.place(value, self.name_of(value))

    def convolution(self, step: Step, linear: frozenset[int]) -> Pass:
        """A convolution or depthwise convolution, with the bytes of its weights."""
        x, weight = step.inputs
        part = Part.DEPTHWISE if step.kind is Kind.DEPTHWISE else Part.CONVOLUTION
        _, height, width, depth = step.output.shape
        item = Pass(
            part,
            self.map_of(x, _image_block(x.shape), linear),
            self.map_of(step.output, (height * step.output.shape[0], width, depth), linear),
            kernel=step.kernel,
            strides=step.strides,
            dilations=step.dilations,
            output_cycles=self.result_cycles(step),
            repeats=step.repeats,
            others=tuple(self.map_of(value, _image_block(value.shape), linear) for value in step.added),
            is_first=step.is_first,
        )
        size = encoded_bytes(self.statistics(weight.name), item, self.npu)
        scales = round_up(round_up(depth, self.npu.scale_channels) * SCALE_BYTES, _ROW)
        return replace(item, weights=Weights(size, scales))

    def window(self, step: Step, linear: frozenset[int], part: Part = Part.POOLING) -> Pass:
        """A pass over windows without weights, or over single elements."""
        x, result = step.inputs[0], step.output
        if step.kind in (Kind.LARGEST, Kind.SMALLEST):
            rows, size = math.prod(x.shape[:-1]), x.shape[-1]
            source, target, kernel = (rows, size, 1), (rows, 1, 1), (1, size)
        elif step.kind is Kind.POOL:
            source, target, kernel = _image_block(x.shape), _image_block(result.shape), step.kernel
        elif step.kind is Kind.SUM:
            source = _block(x.shape)
            target, kernel = (*source[:2], 1), (1, 1)
        else:
            source = target = _block(x.shape) if x.shape[-1] > 1 or part is Part.COPY else _even(x.elements)
            kernel = (1, 1)
        return Pass(
            part,
            self.map_of(x, source, linear),
            self.map_of(result, target, linear),
            kernel=kernel,
            strides=step.strides,
            output_cycles=self.result_cycles(step),
            table_bytes=_TABLE_BYTES.get(step.kind, 0),
        )

    def function(self, step: Step, linear: frozenset[int], rate: float) -> Pass:
        """An elementwise pass. Batches beside an operand that is broadcast are passes of their own."""
        result = step.output
        first, *others = sorted(step.inputs, key=lambda value: value.elements, reverse=True)
        second = others[0] if others and others[0].elements > 1 else None
        is_broadcast = second is not None and second.elements < result.elements
        repeats = math.prod(result.shape[:-3]) if is_broadcast and not _is_row(second) else 1
        shape = _even(result.elements) if result.shape[-1] == 1 and not is_broadcast else _block(result.shape, repeats)
        other = None
        if second is not None:
            height, width, depth = _block(second.shape)
            small = (height // max(math.prod(second.shape[:-3]), 1), width, depth)
            other = self.map_of(second, small if is_broadcast else shape, linear)
        return Pass(
            Part.ELEMENTWISE,
            self.map_of(first, shape, linear),
            self.map_of(result, shape, linear),
            second=other,
            output_cycles=rate,
            repeats=repeats,
        )

    @abstractmethod
    def result_cycles(self, step: Step) -> float:
        """Cycles a result of a step takes in the output unit."""


def _is_row(value: Value | None) -> bool:
    """Whether an operand is the same for all positions: one number a channel."""
    return value is not None and value.elements == value.shape[-1]


def _linear_keys(steps: Steps, *, bricks: bool) -> frozenset[int]:
    """Keys of values that are stored position by position; ``bricks`` says that products of tensors make bricks."""
    keys: set[int] = set()
    for step in steps.items:
        if step.kind in _LINEAR:
            if step.kind is not Kind.PRODUCT or not bricks:
                keys.add(step.output.key)
            keys.update(value.key for value in step.inputs)
    return frozenset(keys)


def _block(shape: Shape, repeats: int = 1) -> Block:
    """The last three axes, all before them counted as height, of one of ``repeats`` parts."""
    padded = (1,) * (3 - len(shape)) + shape
    return math.prod(padded[:-2]) // repeats, padded[-2], padded[-1]


def _image_block(shape: Shape) -> Block:
    """[N, H, W, C], batches on top of each other."""
    return shape[0] * shape[1], shape[2], shape[3]


def _even(elements: int) -> Block:
    """Any shape of so many elements without a channel axis: whole bricks, about square."""
    positions = -(-elements // _ROW)
    width = max(math.isqrt(positions), 1)
    return -(-positions // width), width, min(elements, _ROW)


# -- transpositions ------------------------------------------------------------------------------------------


def without_units(shape: Shape, perm: Sequence[int]) -> tuple[Shape, tuple[int, ...]]:
    """The transposition without axes of one element, where three others or fewer are left."""
    kept = [axis for axis in range(len(shape)) if shape[axis] > 1]
    if len(kept) > _AXES:
        return shape, tuple(perm)
    return tuple(shape[axis] for axis in kept), tuple(kept.index(axis) for axis in perm if shape[axis] > 1)


def swaps(shape: Shape, perm: Sequence[int]) -> Iterator[tuple[Block, tuple[int, int, int]]]:
    """A transposition as transpositions of three axes that exchange two: (shape, permutation) of each.

    Axes are put into place one after the other, as Vela does; two in the middle are brought to the ends and back.
    """
    sizes, labels = list(shape), list(range(len(shape)))
    for place, wanted in enumerate(perm):
        if labels[place] == wanted:
            continue
        at = labels.index(wanted)
        yield from _exchanged(sizes, place, at)
        sizes[place], sizes[at] = sizes[at], sizes[place]
        labels[place], labels[at] = labels[at], labels[place]


def _exchanged(sizes: Sequence[int], a: int, b: int) -> Iterator[tuple[Block, tuple[int, int, int]]]:
    """Axes ``a`` < ``b`` exchanged: ``a`` brought to the front, ``b`` to the back, the ends exchanged, and back."""
    now = list(sizes)
    last = len(now) - 1
    if last == 1:
        yield (1, now[0], now[1]), (0, 2, 1)
        return
    if last == 2:
        order = [0, 1, 2]
        order[a], order[b] = b, a
        yield (now[0], now[1], now[2]), (order[0], order[1], order[2])
        return
    if a == last - 1:
        yield (math.prod(now[:a]), now[a], now[b]), (0, 2, 1)
        return
    if a > 0:
        yield (math.prod(now[:a]), now[a], math.prod(now[a + 1 :])), (1, 0, 2)
        now = [now[a], *now[:a], *now[a + 1 :]]
    if b < last:
        yield (math.prod(now[:b]), now[b], math.prod(now[b + 1 :])), (0, 2, 1)
        now = [*now[:b], *now[b + 1 :], now[b]]
    yield (now[0], math.prod(now[1:-1]), now[-1]), (2, 1, 0)
    now[0], now[-1] = now[-1], now[0]
    if b < last:
        behind = math.prod(now[b:-1])
        yield (math.prod(now[:b]), behind, now[-1]), (0, 2, 1)
        now = [*now[:b], now[-1], *now[b:-1]]
    if a > 0:
        yield (now[0], math.prod(now[1 : a + 1]), math.prod(now[a + 1 :])), (1, 0, 2)


# -- Ethos-U55 -----------------------------------------------------------------------------------------------


class U55Lowering(Lowering):
    """Every step is a pass, some are several: a change of scale is a sum and a product, a table of int16 three
    tables."""

    def result_cycles(self, step: Step) -> float:
        """Facts of an Ethos-U55 with 256 multiply-accumulates a cycle."""
        width, result = step.inputs[0].width_bytes, step.output.width_bytes
        if step.kind in (Kind.TABLE8, Kind.TABLE16, Kind.CLAMP):
            return 1.0
        if step.kind not in _ELEMENTWISE and step.kind is not Kind.RESCALE:
            return 0.25
        if width == WIDE:
            return 0.625 if step.kind is Kind.UNARY else 1.125
        if step.kind is Kind.MULTIPLY:
            return 0.5 if result == WIDE else 0.375
        return 0.75 if step.kind in (Kind.ADD, Kind.ADD_SCALED, Kind.RESCALE) else 0.25

    def _passes(self, steps: Steps, linear: frozenset[int]) -> Iterator[Pass]:
        for step in steps.items:
            yield from _U55_PASSES.get(step.kind, _function_u55)(self, step, linear)


def _function_u55(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    yield lowering.function(step, linear, lowering.result_cycles(step))


def _rescale_u55(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    """To 32 bits first, where it is not; a multiplier a channel is read from off the chip."""
    x = step.inputs[0]
    if x.width_bytes < WIDE:
        wide = Value(x.shape, WIDE, is_image=x.is_image)
        yield from _function_u55(lowering, Step(Kind.ADD, (x,), wide), linear)
        x = wide
    operands = (x,)
    if step.is_per_channel:
        operands = (x, Value((x.shape[-1],), WIDE, is_constant=True))
    yield from _function_u55(lowering, replace(step, kind=Kind.MULTIPLY, inputs=operands), linear)


def _sum_u55(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    """Operands of one scale in 32 bits, their sum, its change of scale."""
    wide: list[Value] = []
    for value in step.inputs:
        if value.is_constant:
            wide.append(value)
            continue
        scaled = Value(value.shape, WIDE, is_image=value.is_image)
        yield from _rescale_u55(lowering, Step(Kind.RESCALE, (value,), scaled), linear)
        wide.append(scaled)
    total = Value(step.output.shape, WIDE, is_image=step.output.is_image)
    yield from _function_u55(lowering, Step(Kind.ADD, tuple(wide), total), linear)
    yield from _rescale_u55(lowering, replace(step, kind=Kind.RESCALE, inputs=(total,)), linear)


def _table16_u55(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    """Base, slope and fraction by tables; slope times fraction, base shifted, and their sum."""
    x = step.inputs[0]
    narrow = Value(x.shape, x.width_bytes)
    wide = Value(x.shape, WIDE)
    for _ in range(_TABLE_PASSES):
        yield lowering.window(replace(step, output=narrow), linear)
    yield from _function_u55(lowering, Step(Kind.MULTIPLY, (narrow, narrow), wide), linear)
    yield from _function_u55(lowering, Step(Kind.MULTIPLY, (narrow,), wide), linear)
    yield from _function_u55(lowering, replace(step, kind=Kind.ADD, inputs=(wide, wide)), linear)


def _smallest_u55(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    """The largest of what is negated before and after."""
    x = step.inputs[0]
    yield from _function_u55(lowering, Step(Kind.ADD, (x,), Value(x.shape, x.width_bytes)), linear)
    yield lowering.window(step, linear)
    yield from _function_u55(lowering, Step(Kind.ADD, (step.output,), step.output), linear)


def _transpose_u55(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    x, result = step.inputs[0], step.output
    moves = list(swaps(*without_units(x.shape, step.perm)))
    source = x
    for index, (shape, perm) in enumerate(moves):
        target = result if index == len(moves) - 1 else Value(x.shape, x.width_bytes)
        apart = FeatureMap(*shape, x.width_bytes, lowering.locate(source))
        moved = (shape[perm[0]], shape[perm[1]], shape[perm[2]])
        yield Pass(Part.SHUFFLE, apart, FeatureMap(*moved, x.width_bytes, lowering.locate(target)))
        source = target


def _product_u55(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    """For each column: the first operand times it, and the sum of that along the depth."""
    a = step.inputs[0]
    batch, rows, depth = a.shape
    columns = step.output.shape[-1]
    flat = FeatureMap(1, -(-batch * rows * depth // _ROW), _ROW, is_near=lowering.locate(a), is_brick=True)
    yield Pass(Part.ELEMENTWISE, flat, replace(flat, is_near=True), output_cycles=0.5, repeats=columns)
    product = FeatureMap(batch, rows, depth)
    total = FeatureMap(batch, rows, 1, step.output.width_bytes, lowering.locate(step.output))
    yield Pass(Part.SUM, product, total, output_cycles=0.25, repeats=columns)


def _convolution_any(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    yield lowering.convolution(step, linear)


def _window_any(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    yield lowering.window(step, linear)


def _copy_any(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    yield lowering.window(step, linear, Part.COPY)


def _total_any(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    yield lowering.window(step, linear, Part.SUM)


_Lower = Callable[[Lowering, Step, frozenset[int]], Iterator[Pass]]

_ANY: Mapping[Kind, _Lower] = {
    Kind.CONVOLUTION: _convolution_any,
    Kind.DEPTHWISE: _convolution_any,
    Kind.POOL: _window_any,
    Kind.TABLE8: _window_any,
    Kind.CLAMP: _window_any,
    Kind.LARGEST: _window_any,
    Kind.SMALLEST: _window_any,
    Kind.COPY: _copy_any,
    Kind.SUM: _total_any,
}
_U55_PASSES: Mapping[Kind, _Lower] = {
    **_ANY,
    Kind.RESCALE: _rescale_u55,
    Kind.ADD_SCALED: _sum_u55,
    Kind.TABLE16: _table16_u55,
    Kind.SMALLEST: _smallest_u55,
    Kind.TRANSPOSE: _transpose_u55,
    Kind.PRODUCT: _product_u55,
}


# -- Ethos-U85 -----------------------------------------------------------------------------------------------


class U85Lowering(Lowering):
    """Elementwise steps that follow each other are one pass, changes of scale cost nothing there, and convolutions
    write what they make transposed."""

    def result_cycles(self, step: Step) -> float:
        """Facts of an Ethos-U85 with 1024 multiply-accumulates a cycle."""
        width, result = step.inputs[0].width_bytes, step.output.width_bytes
        if step.kind not in _ELEMENTWISE and step.kind not in (Kind.RESCALE, Kind.TABLE16):
            return 0.0625
        if width == WIDE and step.kind is not Kind.UNARY:
            return 0.25 if result == WIDE else 0.125
        return 0.25 if result == WIDE else 0.0625

    def _passes(self, steps: Steps, linear: frozenset[int]) -> Iterator[Pass]:
        items = list(_fused(steps))
        index = 0
        while index < len(items):
            step = items[index]
            if step.kind is Kind.ADD_SCALED:
                yield from _sum_u85(self, step, linear)
                index += 1
                continue
            if step.kind in _ELEMENTWISE:
                chain = self._chain(items, index, steps)
                index += len(chain)
                item = self._chained(chain, linear)
                turn = items[index] if index < len(items) else None
                if turn is not None and len(chain) == 1 and self._is_turned(chain[0], turn):
                    item = self._turned(item, turn)
                    index += 1
                yield item
                continue
            following = items[index + 1] if index + 1 < len(items) else None
            if step.kind is Kind.CONVOLUTION and following is not None and _turns(step, following):
                yield self._transposed(step, following, linear)
                index += 2
                continue
            yield from _U85_PASSES[step.kind](self, step, linear)
            index += 1

    def _chain(self, items: Sequence[Step], start: int, steps: Steps) -> Sequence[Step]:
        """The steps from ``start`` that run as one pass."""
        end = start + 1
        while end < len(items) and end - start < _CHAIN:
            last, step = items[end - 1], items[end]
            reads = any(value.key == last.output.key for value in step.inputs)
            same = step.output.shape == last.output.shape and math.prod(step.output.shape[:-3]) == 1
            is_function = step.kind in _ELEMENTWISE or (step.kind is Kind.TABLE16)
            if not (is_function and reads and same and steps.readers.get(last.output.key, 0) == 1):
                break
            end += 1
        return items[start:end]

    def _chained(self, chain: Sequence[Step], linear: frozenset[int]) -> Pass:
        first, last = chain[0], chain[-1]
        counted = [step for step in chain if step.kind is not Kind.TABLE16]
        rate = 0.125 * (len(counted) - 1) + self.result_cycles(counted[-1])
        item = self.function(replace(first, output=replace(last.output, shape=first.output.shape)), linear, rate)
        made = {step.output.key for step in chain}
        shape = item.ofm.shape
        others: list[FeatureMap] = []
        for step in chain[1:]:
            for value in step.inputs:
                if value.key not in made and value.elements > 1:
                    size = shape if value.elements == step.output.elements else _block(value.shape)
                    others.append(self.map_of(value, size, linear))
        return replace(item, others=tuple(others))

    def _is_turned(self, step: Step, turn: Step) -> bool:
        """Whether a function of elements writes its results transposed: where bricks are not mostly padding."""
        shape, _ = without_units(turn.inputs[0].shape, turn.perm)
        reads = turn.kind is Kind.TRANSPOSE and turn.inputs[0].key == step.output.key
        reads = reads and [size for size in step.output.shape if size > 1] == list(shape)
        return reads and len(shape) <= _AXES and 3 * round_up(shape[-1], _ROW) <= 4 * shape[-1]

    def _turned(self, item: Pass, turn: Step) -> Pass:
        ((sizes, order),) = _at_once(*without_units(turn.inputs[0].shape, turn.perm))
        shape = (sizes[order[0]], sizes[order[1]], sizes[order[2]])
        target = FeatureMap(*shape, turn.output.width_bytes, self.locate(turn.output))
        return replace(item, ofm=target, output_cycles=0.125)

    def _transposed(self, step: Step, turn: Step, linear: frozenset[int]) -> Pass:
        item = self.convolution(step, linear)
        _, height, width, depth = step.output.shape
        shape = (height, width, depth)
        a, b, c = (shape[axis - 1] for axis in turn.perm[1:])
        target = FeatureMap(a, b, c, turn.output.width_bytes, self.locate(turn.output))
        return replace(item, ofm=target, computed=shape)


def _turns(step: Step, following: Step) -> bool:
    """Whether a step is the transposition of an image that the step before it makes."""
    reads = following.kind is Kind.TRANSPOSE and following.inputs[0].name == step.output.name != ""
    return reads and step.repeats == 1 and step.output.shape[0] == 1 and len(following.perm) == 4


def _fused(steps: Steps) -> Iterator[Step]:
    """Steps without the changes of scale and the casts that the step before them does along with its own work."""
    items = steps.items
    index = 0
    while index < len(items):
        step = items[index]
        while index + 1 < len(items):
            after = items[index + 1]
            is_scaling = after.kind is Kind.RESCALE and not after.is_per_channel
            reads = after.inputs[0].key == step.output.key and steps.readers.get(step.output.key, 0) == 1
            if not (is_scaling and reads and step.kind in _SCALING and len(step.output.shape) <= _SPLIT_RANK):
                break
            step = replace(step, output=after.output)
            index += 1
        yield step
        index += 1


_SCALING = frozenset({Kind.ADD, Kind.UNARY, Kind.TABLE16, Kind.SUM})
_SPLIT_RANK = 4


def _transpose_u85(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    """Up to three axes in one pass, others by exchanging two at a time."""
    x, result = step.inputs[0], step.output
    shape, perm = without_units(x.shape, step.perm)
    moves = list(swaps(shape, perm)) if len(shape) > _AXES else _at_once(shape, perm)
    source = x
    for index, (sizes, order) in enumerate(moves):
        target = result if index == len(moves) - 1 else Value(x.shape, x.width_bytes)
        moved = (sizes[order[0]], sizes[order[1]], sizes[order[2]])
        yield Pass(
            Part.POOLING,
            replace(lowering.map_of(source, sizes, linear), is_brick=source.is_image),
            FeatureMap(*moved, x.width_bytes, lowering.locate(target)),
            output_cycles=0.0625,
            computed=sizes,
        )
        source = target


def _at_once(shape: Shape, perm: Sequence[int]) -> list[tuple[Block, tuple[int, int, int]]]:
    if len(shape) < 2:
        return []
    if len(shape) == 2:
        return [((1, shape[0], shape[1]), (0, 2, 1))]
    a, b, c = perm
    return [((shape[0], shape[1], shape[2]), (a, b, c))]


def _sum_u85(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    """One pass; where an operand is a constant, the other's change of scale is a pass that the sum is chained to, or,
    where the constant is the same for batches, that is followed by a sum a batch."""
    fixed = [value for value in step.inputs if value.is_constant and value.elements > 1]
    if not fixed:
        yield lowering.function(step, linear, lowering.result_cycles(step))
        return
    x = next(value for value in step.inputs if not value.is_constant)
    if math.prod(step.output.shape[:-3]) > 1 and fixed[0].elements < step.output.elements:
        wide = replace(x, width_bytes=WIDE, name="")
        yield lowering.window(Step(Kind.CLAMP, (x,), wide), linear)
        total = Step(Kind.ADD, (wide, fixed[0]), replace(step.output, name=""))
        yield lowering.function(total, linear, lowering.result_cycles(total))
    else:
        item = lowering.window(Step(Kind.CLAMP, (x,), step.output), linear)
        yield replace(item, others=(lowering.map_of(fixed[0], _block(fixed[0].shape), linear),))
    yield lowering.window(Step(Kind.CLAMP, (step.output,), step.output), linear)


def _product_u85(lowering: Lowering, step: Step, linear: frozenset[int]) -> Iterator[Pass]:
    """One pass a batch."""
    a = step.inputs[0]
    batch, rows, depth = a.shape
    columns = step.output.shape[-1]
    yield Pass(
        Part.PRODUCT,
        lowering.map_of(a, (1, rows, depth), linear),
        lowering.map_of(step.output, (1, rows, columns), linear),
        output_cycles=0.0625,
        repeats=batch,
    )


_U85_PASSES: Mapping[Kind, _Lower] = {
    **_ANY,
    Kind.RESCALE: _window_any,
    Kind.TABLE16: _window_any,
    Kind.TRANSPOSE: _transpose_u85,
    Kind.PRODUCT: _product_u85,
}

LOWERINGS: Mapping[type[Npu], type[Lowering]] = {U55: U55Lowering, U85: U85Lowering}
"""Generation of the engine to how steps become its passes."""
