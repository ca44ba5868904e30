"""The schedule: the jobs of all kernels in the order in which they are issued, with what each waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.compile.types import Block, Costed, Engine, Integers, Schedule


def schedule_of(
    kernels: Sequence[Costed], resident: frozenset[str], host_ticks: int, weights_bytes: int
) -> Schedule:
    """The jobs of one frame.

    The host's job comes first. Weights are fetched as far ahead as ``weights_bytes`` of them have room: those of a
    kernel wait until the kernels are done whose weights have to go for them, and are issued as soon as they wait for
    no kernel that is still to be issued. In front of a kernel that itself loads or stores activations only its own and
    the next one's are issued, so that it does not queue behind what is needed later. A kernel starts when the one in
    front is done.
    """
    return _Assembly(kernels, resident, host_ticks, weights_bytes).run()


def _room_from(kernels: Sequence[Costed], weights_bytes: int) -> list[int]:
    """For each kernel the first one whose weights have room together with its own: those before have to be done.

    The weights of a kernel that come in chunks take the room of two of these once it has started.
    """
    found: list[int] = []
    first, held_bytes = 0, 0
    for index, costed in enumerate(kernels):
        own_bytes = costed.block.first_weights_bytes
        while first < index and held_bytes + own_bytes > weights_bytes:
            held_bytes -= _held_bytes(kernels[first])
            first += 1
        held_bytes += _held_bytes(costed)
        found.append(first)
    return found


def _held_bytes(costed: Costed) -> int:
    return costed.block.first_weights_bytes * (2 if costed.tiles.weight_chunks > 1 else 1)


class _Assembly:
    def __init__(
        self, kernels: Sequence[Costed], resident: frozenset[str], host_ticks: int, weights_bytes: int
    ) -> None:
        self.kernels = kernels
        self.resident = resident
        self.host_ticks = host_ticks
        self.room_from = _room_from(kernels, weights_bytes)
        self.done: list[int] = []
        self.size = 1
        self.extra: list[tuple[int, int]] = []
        self.offsets = [0] * len(kernels)
        self.front = [0] * len(kernels)
        self.ready: dict[str, list[int]] = {}

    def run(self) -> Schedule:
        chip_done: list[int] = []
        fetched, count = 0, len(self.kernels)
        for index, costed in enumerate(self.kernels):
            reach = min(index + 2, count) if costed.block.crosses_later else count
            while fetched < reach and (fetched <= index or self.room_from[fetched] <= index):
                self._prefetch(fetched)
                fetched += 1
            self._body(index, chip_done)
        return self._columns()

    def _prefetch(self, index: int) -> None:
        block = self.kernels[index].block
        self.front[index] = self.size
        if block.prefetch:
            self.size += block.prefetch
            first = self.room_from[index]
            self.extra.append((self.front[index] + block.weight_gate, self.done[first - 1] if first else 0))

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
        self.done.append(done)
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
