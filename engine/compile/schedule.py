"""The schedule: the jobs of all kernels in the order in which they are issued, with what each waits for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.compile.types import Block, Costed, Engine, Schedule


def schedule_of(kernels: Sequence[Costed], resident: frozenset[str], host_ticks: int) -> Schedule:
    """The jobs of one frame.

    The host's job comes first. The first weights of each kernel are issued before the jobs of the kernel in front of
    it, and wait until the kernel before that one is done: two kernels' weights have room at a time. A kernel starts
    when the one in front is done.
    """
    return _Assembly(kernels, resident, host_ticks).run()


class _Assembly:
    def __init__(self, kernels: Sequence[Costed], resident: frozenset[str], host_ticks: int) -> None:
        self.kernels = kernels
        self.resident = resident
        self.host_ticks = host_ticks
        self.size = 1
        self.dep_size = 0
        self.pieces: list[tuple[int, Block, int, int]] = []
        self.extra: list[tuple[int, int]] = []
        self.offsets = [0] * len(kernels)
        self.front = [0] * len(kernels)
        self.ready: dict[str, list[int]] = {}

    def run(self) -> Schedule:
        chip_done: list[int] = []
        for index in range(len(self.kernels)):
            if index == 0:
                self._prefetch(0, chip_done)
            if index + 1 < len(self.kernels):
                self._prefetch(index + 1, chip_done)
            self._body(index, chip_done)
        return self._columns()

    def _prefetch(self, index: int, chip_done: Sequence[int]) -> None:
        block = self.kernels[index].block
        self.front[index] = self.size
        if block.prefetch:
            self._append(index, 0, block.prefetch)
            # The newest kernel that is done when this is issued is the one two in front.
            self.extra.append((self.front[index] + block.weight_gate, chip_done[-1] if chip_done else 0))

    def _body(self, index: int, chip_done: list[int]) -> None:
        kernel, block = self.kernels[index].kernel, self.kernels[index].block
        self.offsets[index] = self.size
        self._append(index, block.prefetch, len(block.engine))
        far = [job for root in kernel.reads for job in self.ready.get(root, ())]
        for job in dict.fromkeys(far):
            self.extra.append((self._place(index, block.data_gate), job))
        if not far:
            self.extra.append((self._place(index, block.data_gate), 0))
        done = self._place(index, block.done)
        if not kernel.on_cpu:
            if chip_done and block.start != block.data_gate:
                self.extra.append((self._place(index, block.start), chip_done[-1]))
            chip_done.append(done)
        stored = self._place(index, block.stored) if block.stored >= 0 else done
        for root in kernel.writes:
            self.ready.setdefault(root, []).append(done if root in self.resident else stored)

    def _place(self, index: int, job: int) -> int:
        """Place in the schedule of a job of a kernel's block."""
        block = self.kernels[index].block
        if job < block.prefetch:
            return self.front[index] + job
        return self.offsets[index] + job - block.prefetch

    def _append(self, index: int, begin: int, end: int) -> None:
        self.pieces.append((index, self.kernels[index].block, begin, end))
        self.size += end - begin

    def _columns(self) -> Schedule:
        host = np.array([Engine.HOST], np.int8)
        slices = [(block, slice(begin, end)) for _, block, begin, end in self.pieces]
        engine = np.concatenate([host, *(block.engine[part] for block, part in slices)])
        kernel = np.repeat(
            np.array([-1, *(index for index, _, _, _ in self.pieces)], np.int32),
            np.array([1, *(end - begin for _, _, begin, end in self.pieces)], np.int64),
        )
        zero, none = np.zeros(1, np.int64), np.zeros(1, np.int32)
        tile = np.concatenate([none, *(block.tile[part] for block, part in slices)])
        ticks = np.concatenate([np.array([self.host_ticks], np.int64), *(block.ticks[part] for block, part in slices)])
        size_bytes = np.concatenate([zero, *(block.size_bytes[part] for block, part in slices)])
        dep_ends, deps = self._dependencies()
        return Schedule(engine, kernel, tile, ticks, size_bytes, dep_ends, deps)

    def _dependencies(self) -> tuple[np.ndarray, np.ndarray]:
        """Dependencies within blocks, moved to where these lie, and those between kernels."""
        sources: list[np.ndarray] = []
        counts: list[np.ndarray] = [np.zeros(1, np.int64)]
        for index, block, begin, end in self.pieces:
            first = int(block.dep_ends[begin - 1]) if begin else 0
            inner = block.deps[first : int(block.dep_ends[end - 1])]
            place = np.where(inner < block.prefetch, self.front[index], self.offsets[index] - block.prefetch)
            sources.append(inner + place.astype(np.int32))
            counts.append(np.diff(block.dep_ends[begin:end], prepend=first))
        count = np.concatenate(counts)
        inner_deps = np.concatenate(sources) if sources else np.zeros(0, np.int32)
        owner = np.concatenate([np.repeat(np.arange(self.size), count), [job for job, _ in self.extra]])
        target = np.concatenate([inner_deps, [dep for _, dep in self.extra]])
        order = np.argsort(owner, kind="stable")
        ends = np.cumsum(np.bincount(owner.astype(np.int64), minlength=self.size))
        return ends.astype(np.int32), target[order].astype(np.int32)
