"""The store: its bound holds, and what was used last stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.analyze.store import Store


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=60))
def test_the_bound_holds_and_sizes_add_up(steps: list[tuple[int, int]]) -> None:
    store: Store[bytes] = Store(100, len)
    kept: dict[bytes, bytes] = {}
    for key, size in steps:
        name = bytes([key])
        store.put(name, bytes(size))
        kept[name] = bytes(size)
        assert store.size_bytes <= 100
        assert store.get(name) == bytes(size)
    present = [value for name, value in kept.items() if name in store]
    assert store.size_bytes == sum(map(len, present))
    assert len(store) == len(present)


def test_the_least_recently_used_leaves_first() -> None:
    store: Store[bytes] = Store(3, len)
    for name in (b"a", b"b", b"c"):
        store.put(name, b"1")
    store.get(b"a")
    store.put(b"d", b"1")
    assert [name in store for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    assert (store.hits, store.misses) == (1, 0)
    assert store.get(b"b") is None
    assert store.misses == 1


def test_what_is_larger_than_the_store_is_not_kept() -> None:
    store: Store[bytes] = Store(3, len)
    store.put(b"a", b"12")
    store.put(b"b", b"1234")
    assert b"b" not in store
    assert b"a" in store
