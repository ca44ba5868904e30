"""Memory problems for tests: random ones, and ones whose best plan is known."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from engine.compile.memory import Buffer, MemoryProblem


@st.composite
def problems(draw: st.DrawFn, most: int = 24) -> MemoryProblem:
    """Up to ``most`` buffers over up to 12 steps, of sizes and alignments that fit together badly."""
    buffers: list[Buffer] = []
    for index in range(draw(st.integers(0, most))):
        first = draw(st.integers(0, 11))
        last = first + draw(st.integers(0, 11 - first))
        size_bytes, alignment = draw(st.integers(0, 70)), draw(st.sampled_from([1, 1, 2, 3, 8, 16]))
        buffers.append(Buffer(f"b{index}", first, last, size_bytes, alignment))
    return MemoryProblem(tuple(buffers))


def chain(count: int, seed: int = 0, alignment: int = 64) -> MemoryProblem:
    """A network of ``count`` layers, one of eight with a reader further down."""
    rng = random.Random(seed)
    buffers = [
        Buffer(
            f"layer{step}",
            step,
            step + (rng.randrange(2, 9) if step % 8 == 0 else 1),
            rng.randrange(1, 1 << 18),
            alignment,
        )
        for step in range(count)
    ]
    return MemoryProblem(tuple(buffers))


def brick(seed: int, height: int, width: int, count: int) -> MemoryProblem:
    """A rectangle of ``height`` bytes and ``width`` steps cut into ``count`` buffers: its best plan wastes nothing."""
    rng = random.Random(seed)
    pieces = [(0, width, height)]
    while len(pieces) < count:
        cuttable = [piece for piece in pieces if piece[1] - piece[0] > 1 or piece[2] > 1]
        begin, end, size = piece = rng.choice(cuttable)
        pieces.remove(piece)
        if end - begin > 1 and (size == 1 or rng.random() < 0.5):
            cut = rng.randrange(begin + 1, end)
            pieces += [(begin, cut, size), (cut, end, size)]
        else:
            cut = rng.randrange(1, size)
            pieces += [(begin, end, cut), (begin, end, size - cut)]
    rng.shuffle(pieces)
    buffers = (Buffer(f"b{i}", begin, end - 1, size) for i, (begin, end, size) in enumerate(pieces))
    return MemoryProblem(tuple(buffers), height)
