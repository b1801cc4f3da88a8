"""Invalid pixels take their value from the nearest valid ones, whatever they held."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tiling import fill_invalid


@given(valid=hnp.arrays(bool, (2, 9, 11)), junk=st.sampled_from([np.nan, np.inf, -9999.0, 1e30]))
def test_valid_pixels_stay_and_junk_never_shows(valid, junk):
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0.1, 0.4, valid.shape).astype(np.float32)
    filled = fill_invalid(np.where(valid, pixels, np.float32(junk)), valid, reach_px=16)
    assert (filled[valid] == pixels[valid]).all()
    for band, known, original in zip(filled, valid, pixels, strict=True):
        if known.any():
            assert band.min() >= original[known].min() - 1e-6
            assert band.max() <= original[known].max() + 1e-6
        else:
            assert np.isin(band, [0, *pixels[valid]]).all()


def test_a_single_hole_is_the_mean_of_its_neighbours():
    pixels = np.arange(25, dtype=np.float32).reshape(1, 5, 5)
    valid = np.ones_like(pixels, bool)
    valid[0, 2, 2] = False
    assert fill_invalid(pixels, valid, reach_px=16)[0, 2, 2] == pytest.approx(12)


def test_the_fill_does_not_depend_on_the_window():
    rng = np.random.default_rng(1)
    pixels = rng.uniform(0, 1, (1, 60, 60)).astype(np.float32)
    valid = np.ones_like(pixels, bool)
    valid[0, 20:32, 25:37] = False
    whole = fill_invalid(pixels, valid, reach_px=16)
    part = fill_invalid(pixels[:, 5:48, 9:53], valid[:, 5:48, 9:53], reach_px=16)
    np.testing.assert_allclose(part, whole[:, 5:48, 9:53], atol=1e-6)


@pytest.mark.parametrize("reach", [5, 8, 12])
def test_gaps_wider_than_the_reach_do_not_depend_on_the_window_either(reach):
    """One band is missing over half of the image, where the others are measured, and all are in a corner."""
    rng = np.random.default_rng(2)
    pixels = rng.uniform(0, 1, (3, 80, 90)).astype(np.float32)
    valid = np.ones_like(pixels, bool)
    valid[2, :, :50] = False
    valid[:, 40:, :30] = False
    whole = fill_invalid(pixels, valid, reach_px=reach)
    for top, left in ((0, 0), (20, 10), (33, 25)):
        window = (slice(None), slice(top, top + 45), slice(left, left + 60))
        inside = (slice(None), slice(reach, -reach), slice(reach, -reach))
        part = fill_invalid(pixels[window], valid[window], reach_px=reach)
        np.testing.assert_allclose(part[inside], whole[window][inside], atol=1e-6)


def test_what_is_beyond_the_reach_takes_the_mean_of_the_bands_measured_there():
    pixels = np.stack([np.full((30, 40), value, np.float32) for value in (1, 3, 100)])
    valid = np.ones_like(pixels, bool)
    valid[2, :, :35] = False
    valid[:, 20:, :10] = False
    filled = fill_invalid(pixels, valid, reach_px=6)
    assert (filled[2, :20, : 35 - 6] == 2).all()
    assert (filled[2, :20, 35 - 6 :] == 100).all()
    assert (filled[:, 26:, :4] == 0).all()
    assert (fill_invalid(pixels, valid, reach_px=0)[2, 0, :35] == 2).all()
