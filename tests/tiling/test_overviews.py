"""Overviews are means of what is there."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo import shape_

from tiling import nodata_as
from tiling.overviews import halve, level_shapes


def mean_of(quad: np.ndarray, nodata: float | None) -> float | None:
    there = [float(v) for v in quad.ravel() if nodata is None or not (v == nodata or (v != v and nodata != nodata))]
    return sum(there) / len(there) if there else None


@given(
    pixels=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.int32]),
        st.tuples(st.just(2), st.integers(1, 9), st.integers(1, 9)),
        elements=st.integers(0, 100),
    ),
    nodata=st.sampled_from([None, 0, 50]),
)
def test_each_pixel_is_the_rounded_mean_of_its_quad(pixels, nodata):
    half = halve(pixels, nodata)
    assert half.dtype == pixels.dtype
    assert half.shape == (2, -(-pixels.shape[1] // 2), -(-pixels.shape[2] // 2))
    for band, row, col in np.ndindex(*half.shape):
        mean = mean_of(pixels[band, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2], nodata)
        if mean is None:
            assert half[band, row, col] == nodata
            continue
        expected = math.floor(mean + 0.5)
        assert half[band, row, col] == (expected + 1 if expected == nodata else expected)


def test_floats_are_not_rounded_and_nan_plays_no_part():
    pixels = np.array([[[1.0, 2.0, np.nan, np.nan], [4.0, np.nan, np.nan, np.nan]]], dtype=np.float32)
    assert halve(pixels, math.nan)[0] == pytest.approx(np.array([[7 / 3, np.nan]]), nan_ok=True)


def test_large_and_small_strips_agree():
    pixels = np.random.default_rng(0).integers(0, 4, (3, 301, 200)).astype(np.uint16)
    parts = [halve(pixels[:, top : top + 2], 0) for top in range(0, 301, 2)]
    assert (halve(pixels, 0) == np.concatenate(parts, axis=1)).all()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 1), [(1, 1)]), ((512, 512), [(512, 512)]), ((513, 3), [(513, 3), (257, 2)])],
)
def test_levels_end_where_one_block_holds_the_image(shape, expected):
    assert [level.yx for level in level_shapes(shape_(shape))] == expected


@pytest.mark.parametrize("nodata", [-9999.0, 70000.0, 0.5, float("nan"), float("inf"), 2.0**63, 1e20])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64"])
def test_nodata_that_is_no_number_of_the_type_is_nowhere(nodata, dtype):
    pixels = np.arange(16, dtype=dtype).reshape(1, 4, 4)
    assert (halve(pixels, nodata) == halve(pixels, None)).all()


def test_the_largest_number_may_be_nodata():
    pixels = np.asarray([[[65535, 1], [2, 4]]], np.uint16)
    assert halve(pixels, 65535.0).tolist() == [[[2]]]


@pytest.mark.parametrize(
    ("nodata", "dtype", "expected"),
    [
        (None, "uint16", None),
        (65535.0, "uint16", 65535),
        (65536.0, "uint16", None),
        (-1.0, "uint8", None),
        (0.5, "int16", None),
        (float("inf"), "int64", None),
        (2.0**63, "int64", None),
        (0.5, "float32", 0.5),
    ],
)
def test_nodata_is_a_number_of_the_type_or_none(nodata, dtype, expected):
    made = nodata_as(nodata, np.dtype(dtype))
    assert made == expected
    assert isinstance(made, int) or made is None or dtype == "float32"
