"""Resampling beside holes, and the grids that need none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine, from_origin

from catalog.gdal import open_raster
from catalog.resample import read_resampled, sample_cubic
from tests.conftest import write_raster


def sampled(source, valid, row, col):
    return sample_cubic(np.where(valid, source, 0.0), valid, np.array([row]), np.array([col]))[:, 0]


def test_a_hole_beside_a_pixel_does_not_darken_it():
    valid = np.ones((1, 4, 4), bool)
    valid[0, 1, 2] = valid[0, 2, 1] = valid[0, 2, 2] = False
    assert sampled(np.full((1, 4, 4), 1000.0), valid, 1.99, 1.99) == 1000


def test_a_lone_pixel_keeps_its_value_wherever_it_is_nearest():
    valid = np.zeros((1, 4, 4), bool)
    valid[0, 1, 1] = True
    for row, col in ((1.01, 1.99), (1.5, 1.5), (1.99, 1.99)):
        assert sampled(np.full((1, 4, 4), 1000.0), valid, row, col) == pytest.approx(1000)


@given(
    arrays.arrays(np.float64, (2, 4, 4), elements=st.floats(0, 10_000)),
    arrays.arrays(np.bool_, (2, 4, 4)),
    st.floats(1.5, 2.5, exclude_max=True),
    st.floats(1.5, 2.5, exclude_max=True),
)
def test_values_beside_holes_lie_among_those_of_the_valid_pixels(source, valid, row, col):
    value = sampled(source, valid, row, col)
    for band in range(2):
        there = source[band][valid[band]]
        if there.size == 16:
            # Whatever other bands lack, this one is the kernel's, overshoot and all.
            assert value[band] == sampled(source[band : band + 1], np.ones((1, 4, 4), bool), row, col)
        elif there.size:
            assert there.min() <= value[band] <= there.max()
        else:
            assert value[band] == 0


def test_pixels_without_holes_around_are_those_of_the_kernel_alone():
    rng = np.random.default_rng(0)
    source, valid = rng.uniform(0, 10_000, (3, 12, 12)), np.ones((1, 12, 12), bool)
    rows, cols = (part.ravel() for part in np.meshgrid(np.linspace(6, 10, 9), np.linspace(6, 10, 9)))
    whole = sample_cubic(source, valid, rows, cols)
    valid[0, 1, 1] = False
    assert (sample_cubic(np.where(valid, source, 0.0), valid, rows, cols) == whole).all()


@pytest.mark.parametrize("span", [1, 2, 3])
@pytest.mark.parametrize(("row", "col"), [(0, 0), (3, 5), (-7, -2), (40, 0), (11, -30)])
def test_whole_blocks_of_a_grid_are_what_the_nearest_pixel_gives(tmp_path, span, row, col):
    """The short way for pixels that nest, against the long one on a grid that is off by next to nothing."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 1000, (2, 9, 7)).astype(np.uint16)
    pixels[0, 4, 4] = 77
    step = 10.0 * span
    path = write_raster(tmp_path / "a.tif", pixels, names=(), transform=from_origin(500000, 5000000, step, step))
    place = Affine(10, 0, 500000 + 10 * col, 0, -10, 5000000 - 10 * row)
    with open_raster(str(path)) as raster:
        short, long = (
            read_resampled(raster, [1, 2], GeoBox((20, 25), grid, "EPSG:32633"), "nearest", nodata=[77])
            for grid in (place, place * Affine.translation(0.01, 0.01))
        )
    (short_dn, short_valid), (long_dn, long_valid) = short, long
    assert (short_valid == long_valid).all()
    assert (short_dn[short_valid] == long_dn[long_valid]).all()
    assert not (short_dn[short_valid] == 77).any()
