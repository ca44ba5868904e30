"""How many threads torch computes with."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(count: int) -> Generator[None]:
    """So many threads for every operator, in this thread and in those that are started meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def one_thread() -> Generator[None]:
    """Sums, and so what is chosen by them, are the same whatever the machine has. Many small products are also faster
    than threads can meet."""
    with torch_threads(1):
        yield
