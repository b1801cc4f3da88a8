"""Buffers: memory that is taken again, and memory that comes back when nobody has it."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from geosr import hardware
from geosr.engine.buffers import BufferPool


def test_memory_is_taken_again():
    memory = BufferPool()
    first = memory.scratch("maps", (3, 100))
    first[...] = 7
    smaller = memory.scratch("maps", (2, 50))
    assert np.shares_memory(first, smaller)
    assert (smaller == 7).all()
    larger = memory.scratch("maps", (30, 100))
    assert larger.shape == (30, 100)
    assert larger.ctypes.data % 64 == 0


def test_lent_memory_comes_back_when_nobody_has_it():
    memory = BufferPool()
    borrowed = memory.borrow("one", (10, 20))
    place, part = borrowed.ctypes.data, borrowed[2:4].reshape(-1)
    part[...] = 5
    del borrowed
    gc.collect()
    other = memory.borrow("one", (10, 20))
    assert not np.shares_memory(part, other)
    assert (part == 5).all()
    del part
    assert memory.borrow("one", (5, 8)).ctypes.data == place


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_was_freed_goes_back_to_the_system():
    def resident_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    # Too small to be mapped on their own; the last one keeps the heap from shrinking.
    arrays = [np.ones(100_000, np.uint8) for _ in range(1000)]
    last = arrays.pop()
    del arrays
    before = resident_mb()
    hardware.release_free_memory()
    assert resident_mb() < before - 60
    assert last.all()
