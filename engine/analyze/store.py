"""A content-keyed store with a bound on its memory: the oldest used results leave first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Store(Generic[V]):
    """Maps content keys to results, least recently used first to go once ``capacity_bytes`` is passed.

    A result larger than the whole capacity is not kept.
    """

    def __init__(self, capacity_bytes: int, size_of: Callable[[V], int]) -> None:
        self.capacity_bytes = capacity_bytes
        self.size_bytes = 0
        self.hits = 0
        self.misses = 0
        self._size_of = size_of
        self._entries: OrderedDict[bytes, V] = OrderedDict()

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> V | None:
        """The result, now the most recently used; None if it is not here."""
        found = self._entries.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return found

    def put(self, key: bytes, value: V) -> None:
        """Keep a result, dropping old ones to stay within the bound."""
        size = self._size_of(value)
        if size > self.capacity_bytes:
            return
        if key in self._entries:
            self.size_bytes -= self._size_of(self._entries.pop(key))
        self._entries[key] = value
        self.size_bytes += size
        while self.size_bytes > self.capacity_bytes:
            _, dropped = self._entries.popitem(last=False)
            self.size_bytes -= self._size_of(dropped)
