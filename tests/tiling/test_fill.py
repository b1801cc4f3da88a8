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
    filled = fill_invalid(np.where(valid, pixels, np.float32(junk)), valid)
    assert (filled[valid] == pixels[valid]).all()
    for band, known, original in zip(filled, valid, pixels, strict=True):
        if known.any():
            assert band.min() >= original[known].min() - 1e-6
            assert band.max() <= original[known].max() + 1e-6
        else:
            assert (band == 0).all()


def test_a_single_hole_is_the_mean_of_its_neighbours():
    pixels = np.arange(25, dtype=np.float32).reshape(1, 5, 5)
    valid = np.ones_like(pixels, bool)
    valid[0, 2, 2] = False
    assert fill_invalid(pixels, valid)[0, 2, 2] == pytest.approx(12)


def test_the_fill_does_not_depend_on_the_window():
    rng = np.random.default_rng(1)
    pixels = rng.uniform(0, 1, (1, 60, 60)).astype(np.float32)
    valid = np.ones_like(pixels, bool)
    valid[0, 20:32, 25:37] = False
    whole = fill_invalid(pixels, valid)
    part = fill_invalid(pixels[:, 5:48, 9:53], valid[:, 5:48, 9:53])
    np.testing.assert_allclose(part, whole[:, 5:48, 9:53], atol=1e-6)
