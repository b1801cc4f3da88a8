"""Chunk plans cover their area once, on grids of any kind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from rasterio.windows import Window

from tiling import ChunkPlan, PlanError, crop, grow, refine, whole

sizes = st.integers(1, 90)


def geobox(rows: int, cols: int, affine: Affine | None = None, crs: str | None = "EPSG:32733") -> GeoBox:
    return GeoBox((rows, cols), affine or Affine(10, 0, 359130, 0, -10, 5352340), crs)


@given(rows=sizes, cols=sizes, core=st.integers(1, 100), scale=st.sampled_from([1, 2, 4]))
def test_cores_cover_every_pixel_once(rows, cols, core, scale):
    grid = geobox(rows, cols)
    plan = ChunkPlan(grid, whole(grid), scale, core, halo_px=3)
    low, high = np.zeros((rows, cols), int), np.zeros((rows * scale, cols * scale), int)
    for chunk in plan:
        low[chunk.core.toslices()] += 1
        high[chunk.out.toslices()] += 1
    assert (low == 1).all()
    assert (high == 1).all()
    assert len({chunk.key for chunk in plan}) == len(plan) == len(list(plan))


@given(
    rows=st.integers(20, 60),
    cols=st.integers(20, 60),
    top=st.integers(0, 10),
    left=st.integers(0, 10),
    core=st.integers(1, 30),
)
def test_an_area_is_cut_from_its_extent(rows, cols, top, left, core):
    extent = geobox(rows, cols)
    area = Window(left, top, 9, 8)
    plan = ChunkPlan(extent, area, 4, core, halo_px=2)
    assert plan.geobox == refine(crop(extent, area), 4)
    first = next(iter(plan))
    assert (first.core.col_off, first.core.row_off) == (left, top)
    assert (first.out.col_off, first.out.row_off) == (0, 0)


@given(
    rows=sizes,
    cols=sizes,
    affine=st.sampled_from(
        [
            Affine(10, 0, 359130, 0, -10, 5352340),
            Affine(0.000194467, 0, -111.93, 0, -0.000108767, 57.1),
            Affine(10, 0, 166021.44, 0, -10, 0),
            Affine(10, 0, 500000, 0, 10, 0),
            Affine.translation(5, 7) * Affine.rotation(30) * Affine.scale(10, -10),
        ]
    ),
)
def test_refined_grids_keep_their_bounds_and_quarter_their_pixels(rows, cols, affine):
    grid = geobox(rows, cols, affine)
    fine = refine(grid, 4)
    assert fine.shape == (4 * rows, 4 * cols)
    assert fine.affine == affine * Affine.scale(0.25)
    assert fine.boundingbox == pytest.approx(grid.boundingbox, rel=1e-12)
    assert fine.crs == grid.crs


@given(margin=st.integers(0, 50))
def test_growing_then_shrinking_is_the_identity(margin):
    window = Window(7, -3, 11, 13)
    assert grow(grow(window, margin), -margin) == window


@pytest.mark.parametrize(
    ("area", "core"),
    [(Window(0, 0, 11, 10), 5), (Window(-1, 0, 5, 5), 5), (Window(0, 0, 0, 5), 5), (Window(0, 0, 5, 5), 0)],
)
def test_impossible_plans_are_refused(area, core):
    with pytest.raises(PlanError):
        ChunkPlan(geobox(10, 10), area, 4, core, halo_px=2)
