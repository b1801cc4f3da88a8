"""Layout of polyphase channels in memory, as ``geosr/codegen/README.md`` draws it."""

from __future__ import annotations

import numpy as np
import pytest

from geosr import hardware
from geosr.engine.buffers import BufferPool

if not hardware.has_winograd():
    pytest.skip("needs llvmlite, OpenVINO and a processor with AVX2", allow_module_level=True)

from geosr.codegen.winograd.library import compiled
from geosr.engine.winograd.layout import PolyphaseLayout, Region


def test_the_layout_is_as_drawn():
    """In ``geosr/codegen/README.md``."""
    layout = PolyphaseLayout(5, 14, compiled().step)
    image = np.arange(1, 3 * 5 * 14 + 1, dtype=np.float32).reshape(3, 5, 14)
    channels = np.zeros(layout.shape(3), np.float32)
    layout.put(image, channels)
    channel, row, col = np.indices(image.shape)
    places = channel * layout.channel_stride + (4 + row) * layout.row_stride
    places += col % 4 * layout.phase_stride + 16 + col // 4
    assert (channels.reshape(-1)[places] == image).all()
    assert np.count_nonzero(channels) == image.size
    assert (layout.phase_stride % 32, layout.row_stride) == (16, 4 * layout.phase_stride)
    start = (layout.address(channels, layout.whole) - channels.ctypes.data) // channels.itemsize
    assert start == places[0, 0, 0]


@pytest.mark.parametrize("margin", [0, 4, 20, 64, 68])
def test_maps_are_aligned_for_a_region(margin):
    """There a vector of tiles is one line of the cache, and all that belongs to the channels is in their memory."""
    layout, memory = PolyphaseLayout(150, 170, compiled().step), BufferPool()
    region = layout.whole.inside(margin)
    scratch = memory.scratch("maps", layout.scratch_shape(3))
    maps = layout.aligned(scratch, region)
    assert maps.shape == layout.shape(2)
    assert layout.address(maps, region) % 64 == 0
    assert layout.address(maps[1:], region) % 64 == 0
    start, end = np.lib.array_utils.byte_bounds(maps)
    assert scratch.ctypes.data <= start
    assert end + layout.channel_stride * scratch.itemsize <= scratch.ctypes.data + scratch.nbytes


def test_regions_keep_tiles_whole():
    whole = Region(0, 100, 90)
    assert whole.inside(7) == Region(4, 92, 82)
    assert whole.inside(8).inside(9) == whole.inside(8)
