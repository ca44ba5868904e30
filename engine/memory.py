"""What becomes of memory that was freed: given back to the operating system, or kept for what comes next."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's names for its limits, see ``man 3 mallopt``."""

_LARGEST_IN_HEAP_BYTES = 32 << 20
"""The most that glibc takes for the size from which on a block is mapped by itself, and given back when it is freed. By
its own rules it comes to that with the blocks that are freed, and then keeps up to twice as much."""

_KEPT_BYTES = 512 << 20
"""What is freed beyond that at the end of the heap is given back all the same."""


def release_free_memory() -> None:
    """Hand freed memory back where the C library has a call for it (glibc); elsewhere nothing happens.

    glibc keeps what tensors of up to 32 MB leave behind and, with their sizes mixed, reuses little of it: calibrating
    ViT-S held three times what it used. The call costs milliseconds for each hundred megabytes: to be made between
    batches.
    """
    _trim()(0)


@contextmanager
def kept_free_memory() -> Generator[None]:
    """Meanwhile freed memory is kept for what is allocated next, where the C library has a call for that (glibc); then
    it is given back.

    For work that makes and frees the same tens of megabytes over and over: to be given a page by the system takes as
    long as to fill it.
    """
    _limit(_MMAP_THRESHOLD, _LARGEST_IN_HEAP_BYTES)
    _limit(_TRIM_THRESHOLD, _KEPT_BYTES)
    try:
        yield
    finally:
        _limit(_TRIM_THRESHOLD, 2 * _LARGEST_IN_HEAP_BYTES)
        release_free_memory()


def _limit(name: int, size_bytes: int) -> None:
    _mallopt()(name, size_bytes)


@cache
def _mallopt() -> Callable[[int, int], object]:
    """glibc's ``mallopt``, or a function that does nothing."""
    return _of_c_library("mallopt", lambda name, value: None)


@cache
def _trim() -> Callable[[int], object]:
    """glibc's ``malloc_trim``, or a function that does nothing."""
    return _of_c_library("malloc_trim", int)


_Function = TypeVar("_Function", bound=Callable[..., object])


def _of_c_library(name: str, otherwise: _Function) -> _Function:
    if not sys.platform.startswith("linux"):
        return otherwise
    return getattr(ctypes.CDLL(None), name, otherwise)
