"""Bands of several sampling distances on one grid: every DN as it was measured, at its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from rasterio.windows import Window

from catalog import SceneRequest, SourceError, open_scene
from catalog.grids import finest, repeat, repeated_window
from tests.conftest import RGBN
from tests.safe_product import write_safe
from tests.stac_items import write_item

MIXED = ("B05", *RGBN, "B11")
COARSE = {
    "B05": np.arange(1, 1 + 20 * 16, dtype=np.uint16).reshape(20, 16),
    "B11": 5000 + np.arange(20 * 16, dtype=np.uint16).reshape(20, 16),
}


def grid(gsd: float, rows: int, cols: int, left: float = 300000) -> GeoBox:
    return GeoBox((rows, cols), from_origin(left, 5400000, gsd, gsd), "EPSG:32633")


def opened(kind: str, tmp_path, sample):
    fine = sample[:, :40, :32]
    if kind == "safe":
        source = write_safe(tmp_path, fine, baseline="05.09", coarse=COARSE)
    else:
        source = write_item(tmp_path, "mixed", fine, coarse=COARSE)
    return open_scene(SceneRequest(str(source), bands=list(MIXED))), fine


@pytest.mark.parametrize("kind", ["safe", "item"])
def test_coarse_pixels_are_repeated_on_the_finest_grid(tmp_path, sample, kind):
    scene, fine = opened(kind, tmp_path, sample)
    assert scene.names == MIXED
    assert scene.geobox.shape.yx == (40, 32)
    assert [band.gsd_m for band in scene.bands] == [20, 10, 10, 10, 10, 20]
    # From an odd place, of odd size.
    window = Window(3, 5, 11, 7)
    pixels, valid = scene.reader.read(window)
    rows, cols = window.toslices()
    np.testing.assert_array_equal(pixels[0], COARSE["B05"].repeat(2, 0).repeat(2, 1)[rows, cols])
    np.testing.assert_array_equal(pixels[5], COARSE["B11"].repeat(2, 0).repeat(2, 1)[rows, cols])
    np.testing.assert_array_equal(pixels[1:5], fine[:, rows, cols])
    assert valid.all()


@pytest.mark.parametrize("kind", ["safe", "item"])
def test_a_selection_keeps_each_bands_own_pixels(tmp_path, sample, kind):
    scene, fine = opened(kind, tmp_path, sample)
    chosen = scene.select(("B04", "B11"))
    pixels, _ = chosen.reader.read(Window(0, 0, 6, 4))
    np.testing.assert_array_equal(pixels[0], fine[2, :4, :6])
    np.testing.assert_array_equal(pixels[1], COARSE["B11"].repeat(2, 0).repeat(2, 1)[:4, :6])


def test_items_whose_grids_would_be_resampled_are_refused_with_mixed_bands(tmp_path, sample):
    source = write_item(tmp_path, "mixed", sample[:, :40, :32], coarse=COARSE)
    with pytest.raises(SourceError, match="several sampling distances"):
        open_scene(SceneRequest(str(source), bands=list(MIXED), crs="EPSG:32632"))


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 12), st.integers(1, 12), st.integers(1, 4))
def test_repeating_a_window_is_cropping_what_was_repeated(row, col, rows, cols, span):
    coarse = np.arange(900).reshape(30, 30)
    own, inside = repeated_window(Window(col, row, cols, rows), span)
    part = coarse[own.toslices()]
    np.testing.assert_array_equal(repeat(part, span)[inside], repeat(coarse, span)[row : row + rows, col : col + cols])


def test_the_finest_grid_is_found_and_what_does_not_fit_is_told():
    fine, coarse = grid(10, 40, 32), grid(20, 20, 16)
    assert finest([coarse, fine, coarse]) == (fine, (2, 1, 2))
    for other in (grid(20, 20, 17), grid(20, 20, 16, left=300010), grid(15, 20, 16)):
        with pytest.raises(ValueError, match="different grids"):
            finest([fine, other])
