"""The schedule: the jobs of all kernels in the order in which they are issued, with what each waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.compile.types import Block, Costed, Engine, Integers, Schedule


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
            self.size += block.prefetch
            # The newest kernel that is done when this is issued is the one two in front.
            self.extra.append((self.front[index] + block.weight_gate, chip_done[-1] if chip_done else 0))

    def _body(self, index: int, chip_done: list[int]) -> None:
        kernel, block = self.kernels[index].kernel, self.kernels[index].block
        self.offsets[index] = self.size
        self.size += len(block.engine) - block.prefetch
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

    def _columns(self) -> Schedule:
        """All blocks one behind the other, then moved to their places in the order of issue."""
        blocks = [costed.block for costed in self.kernels]
        jobs = np.array([len(block.engine) for block in blocks], np.int64)
        prefetch = np.array([block.prefetch for block in blocks], np.int64)
        begins = np.cumsum(jobs) - jobs
        inside = np.arange(int(jobs.sum()), dtype=np.int64) - np.repeat(begins, jobs)
        front, body = np.array(self.front, np.int64), np.array(self.offsets, np.int64) - prefetch
        place = inside + np.where(inside < np.repeat(prefetch, jobs), np.repeat(front, jobs), np.repeat(body, jobs))
        dep_ends, deps = self._dependencies(blocks, begins, place)
        return Schedule(
            engine=self._column(np.int8, Engine.HOST, place, [block.engine for block in blocks]),
            kernel=self._column(np.int32, -1, place, [np.repeat(np.arange(len(blocks)), jobs)]),
            tile=self._column(np.int32, 0, place, [block.tile for block in blocks]),
            ticks=self._column(np.int64, self.host_ticks, place, [block.ticks for block in blocks]),
            size_bytes=self._column(np.int64, 0, place, [block.size_bytes for block in blocks]),
            dep_ends=dep_ends,
            deps=deps,
        )

    def _column(
        self, dtype: type[np.signedinteger[Any]], first: int, place: Integers, parts: list[Integers]
    ) -> Integers:
        """A column of the schedule; ``first`` is the host's entry."""
        column = np.empty(self.size, dtype)
        column[0] = first
        if parts:
            column[place] = np.concatenate(parts)
        return column

    def _dependencies(self, blocks: Sequence[Block], begins: Integers, place: Integers) -> tuple[Integers, Integers]:
        """Dependencies within blocks, moved to where these lie, and those between kernels."""
        none = np.zeros(0, np.int64)
        counts = np.concatenate([none, *(block.dep_counts for block in blocks)]).astype(np.int64)
        inside = np.concatenate([none, *(block.deps for block in blocks)]).astype(np.int64)
        inside += np.repeat(begins, [len(block.deps) for block in blocks])
        extra = np.array(self.extra, np.int64).reshape(-1, 2)
        owner = np.concatenate([place[np.repeat(np.arange(len(place)), counts)], extra[:, 0]])
        target = np.concatenate([place[inside], extra[:, 1]])
        order = np.argsort(owner, kind="stable")
        ends = np.cumsum(np.bincount(owner, minlength=self.size))
        return ends.astype(np.int32), target[order].astype(np.int32)
