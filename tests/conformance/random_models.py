"""Random models: which inputs, and which operators behind which values."""

from __future__ import annotations

import math
import random

from tests.conformance.operators import OPERATORS
from tests.conformance.sketch import MOST_ELEMENTS, RandomModel, Sketch

_TRIES = 60
_SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 12)


def random_model(seed: int, rng: random.Random | None = None, *, most_nodes: int = 12) -> RandomModel:
    """A model of one or two inputs and up to ``most_nodes`` operators.

    Args:
        seed: What it is called, and where all choices come from without an ``rng``.
        rng: Where all choices come from.
        most_nodes: Operators; some are several nodes.
    """
    rng = rng or random.Random(seed)
    large = rng.random() < 0.04
    sketch = Sketch(rng, open_batch=rng.random() < 0.5, most_elements=20 * MOST_ELEMENTS if large else MOST_ELEMENTS)
    batch = 1 if large or sketch.open_batch else rng.choice((1, 1, 2, 3))
    first = sketch.input(_large_shape(rng) if large else _shape(rng, batch))
    if rng.random() < 0.3:
        sketch.input(first.shape if rng.random() < 0.5 else _shape(rng, batch))
    if not sketch.open_batch and rng.random() < 0.4:
        sketch.grow("Reshape", OPERATORS["Reshape"].add, first)  # so that axis 0 is no batch
    wanted = rng.randint(1, 4 if large else most_nodes)
    for _ in range(_TRIES):
        if wanted == 0:
            break
        row = rng.choices(tuple(OPERATORS.values()), tuple(row.weight for row in OPERATORS.values()))[0]
        x = sketch.pick(row.fits)
        if x is not None and sketch.grow(row.name, row.add, x):
            wanted -= 1
    if not sketch.nodes:
        sketch.grow("Relu", OPERATORS["Relu"].add, first)
    return sketch.model(seed)


def _shape(rng: random.Random, batch: int) -> tuple[int, ...]:
    """Mostly images; sizes of 1 and odd ones among them."""
    while True:
        shape = [batch, *(rng.choice(_SIZES) for _ in range(rng.choice((1, 1, 2, 2, 3, 3, 3, 3, 4))))]
        if math.prod(shape) <= MOST_ELEMENTS // 4:
            return tuple(shape)


def _large_shape(rng: random.Random) -> tuple[int, ...]:
    """Enough elements for several threads."""
    return (1, rng.choice((5, 8)), rng.choice((57, 64)), rng.choice((63, 80)))
