"""How kernels are compiled, and how many threads they use.

Kernels compile when first called with some types and stay in numba's cache on disk. That cache notices a change of the
kernel's own file only: after editing a function that kernels of other files call (:mod:`.scalar`), touch those too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, TypeVar

import numba  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
import torch  # before any kernel runs: both then share torch's OpenMP threads

F = TypeVar("F", bound=Callable[..., Any])

Array = np.ndarray[Any, Any]
"""An array in a compiled loop; numba infers the element type from the call."""

Integer = Any
"""A number in a compiled loop, of the width that the arithmetic gives it."""

_numba: Any = numba

prange: type[range] = _numba.prange
"""``range`` whose iterations are shared among threads in a kernel that is ``parallel``."""


def compiled(function: F) -> F:
    """Compile a kernel whose ``prange`` loops run in parallel; it releases the interpreter lock."""
    return _numba.njit(cache=True, nogil=True, parallel=True, error_model="numpy")(function)


def inlined(function: F) -> F:
    """Compile a scalar function for use inside kernels."""
    return _numba.njit(nogil=True, inline="always", error_model="numpy")(function)


_PARALLEL_ELEMENTS = 16_384
"""Below, two threads take longer to meet than one takes to finish (and on a busy machine, very much longer)."""


def set_threads(elements: int) -> None:
    """Choose how many threads the calling thread's kernels use: as many as torch, one for few elements."""
    _touch_threads()
    threads = torch.get_num_threads() if elements >= _PARALLEL_ELEMENTS else 1
    threads = min(threads, _numba.config.NUMBA_NUM_THREADS)
    if _last_set.threads != threads:
        _numba.set_num_threads(threads)
        _last_set.threads = threads


class _LastSet(threading.local):
    """What numba was told last in this thread: telling it costs as much as a small kernel."""

    threads = 0


_last_set = _LastSet()


_one_at_a_time = threading.RLock()


def kernel_section() -> AbstractContextManager[object]:
    """Held while kernels run. Numba's own thread pool, used where there is no OpenMP, serves one caller at a time."""
    return _one_at_a_time if _threads_are_numbas() else nullcontext()


@cache
def _threads_are_numbas() -> bool:
    _touch_threads()
    return _numba.threading_layer() == "workqueue"


@cache
def _touch_threads() -> None:
    """Start the thread pool: before that, numba does not say which one it is.

    Where it is OpenMP's, which torch shares, starting it would give torch all threads: torch keeps what it had.
    """
    threads = torch.get_num_threads()
    _numba.np.ufunc.parallel._launch_threads()
    torch.set_num_threads(threads)
