"""Buffers: memory that is taken again, and memory that comes back when nobody has it."""

from __future__ import annotations

import gc

import numpy as np

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
