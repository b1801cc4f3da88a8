"""Chunks that were asked for just now are not read from the disk again."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from geosr.service.tiles import live_chunks
from geosr.service.tiles.live_chunks import ChunkKey, LiveChunks

SCENE = SimpleNamespace(model_at=lambda sharpness: SimpleNamespace(digest="d"))
KEYS = [ChunkKey("a", 0, col, uncertainty=False) for col in range(3)]


class Disk(dict):
    """A cache that counts what is read."""

    reads = 0

    def get(self, name):
        self.reads += name in self
        return super().get(name)


def test_the_latest_chunks_are_kept_in_memory_within_a_limit(monkeypatch):
    disk = Disk()
    chunks = LiveChunks(disk, 128, 4)
    for value, key in enumerate(KEYS):
        disk[chunks._name(SCENE, key)] = (np.full((1, 10, 10), value, np.uint8), None)
    # Two of them.
    monkeypatch.setattr(live_chunks, "_RECENT_BYTES", 250)

    def read(*wanted):
        before = disk.reads
        for number in wanted:
            assert chunks.get(SCENE, KEYS[number]).result().image.max() == number
        return disk.reads - before

    assert read(0, 0, 1, 1, 0) == 2
    # The one that was asked for longest ago makes room.
    assert read(2) == 1
    assert read(0) == 0
    assert read(1) == 1
