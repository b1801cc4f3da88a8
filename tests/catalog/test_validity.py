"""Measured pixels, by any declared nodata value."""

from __future__ import annotations

import numpy as np
import pytest

from catalog.arrays import validity

PIXELS = np.arange(12, dtype=np.int16).reshape(2, 2, 3)


@pytest.mark.parametrize("nodata", [-40000.0, 70000.0, 0.5, float("nan"), float("inf"), 1e20, None])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_what_no_integer_of_the_type_can_be_is_nowhere(nodata, dtype):
    assert validity(PIXELS.astype(dtype), [nodata, nodata]).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32"])
def test_each_band_has_its_own(dtype):
    valid = validity(PIXELS.astype(dtype), [4.0, 11.0])
    assert np.argwhere(~valid).tolist() == [[0, 1, 1], [1, 1, 2]]


def test_floats_that_are_none_were_not_measured():
    pixels = np.asarray([[[1.5, np.nan, np.inf, -3.4e38, 0.25]]], np.float32)
    assert validity(pixels, [0.25]).tolist() == [[[True, False, False, False, False]]]
