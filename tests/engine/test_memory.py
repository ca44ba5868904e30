"""Freed memory goes back to the system."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from engine.memory import kept_free_memory, release_free_memory

BLOCK_BYTES = 100_000
"""Small enough for the heap: larger blocks are mapped each by itself."""


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has a call for it")
def test_what_was_freed_between_living_blocks_is_returned() -> None:
    blocks = [np.ones(BLOCK_BYTES, np.uint8) for _ in range(2000)]
    kept = blocks[::50]
    blocks.clear()
    before = resident_bytes()
    release_free_memory()
    assert before - resident_bytes() > 1000 * BLOCK_BYTES
    assert all(block.all() for block in kept)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has a call for it")
def test_freed_memory_is_kept_meanwhile_and_then_returned() -> None:
    with kept_free_memory():
        blocks = [np.ones(BLOCK_BYTES, np.uint8) for _ in range(1000)]
        before = resident_bytes()
        blocks.clear()
        assert before - resident_bytes() < 100 * BLOCK_BYTES
    assert before - resident_bytes() > 500 * BLOCK_BYTES
