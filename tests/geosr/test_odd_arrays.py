"""Arrays with attributes, encodings and coordinates as other libraries leave them: taken, or refused in one line."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray as xr

import geosr
from catalog import CatalogError
from geosr.errors import UsageError
from tests.conftest import RGBN


@pytest.fixture
def array(sample):
    pixels = sample[:, :16, :20].clip(1)
    return xr.DataArray(
        pixels,
        dims=("band", "y", "x"),
        coords={"band": list(RGBN), "y": 5352335.0 - 10 * np.arange(16), "x": 359135.0 + 10 * np.arange(20)},
    )


def made(array):
    return geosr.upscale(array, "nearest").values[:, ::4, ::4]


def test_numbers_may_be_text_or_arrays_of_one(array):
    for attrs in (
        {"scale_factor": np.array([1e-4]), "add_offset": np.array([0.0])},
        {"scale_factor": "0.0001", "add_offset": "0"},
        {"scales": "0.0001"},
        {"missing_value": np.array([0], np.uint16)},
    ):
        assert (made(array.assign_attrs(attrs)) == array.values).all(), attrs
    floats = (array / 10000).astype(np.float32)
    floats.encoding.update(dtype="uint16", scale_factor=np.array([1e-4]), add_offset="0", _FillValue=np.array([0]))
    np.testing.assert_allclose(made(floats), floats.values, atol=1e-6)
    swapped = array.astype(">u2")
    assert (made(swapped) == array.values).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda da: da.assign_attrs(missing_value=[0, 65535]), "missing_value of the array holds 2 values"),
        (lambda da: da.assign_attrs(scale_factor="much"), "scale_factor of the array is 'much', which is no number"),
        (lambda da: da.assign_attrs(add_offset=np.nan), "the array's offset nan does not make reflectance: give scale"),
        (lambda da: da.assign_attrs(scale_factor=0.0), "the array's scale 0 does not make reflectance: give scale and"),
        (lambda da: da.astype(np.int16).assign_attrs(_Unsigned="true"), r"unsigned numbers as int16 \(_Unsigned\)"),
        (lambda da: da.assign_coords(x=[str(x) for x in da.x.values]), "the coordinates of x are <U8 and no numbers"),
        (lambda da: da.assign_coords(y=np.arange(16).astype("datetime64[D]")), "the coordinates of y are datetime64"),
    ],
)
def test_what_means_nothing_is_refused_with_the_names_of_python(array, change, message):
    with pytest.raises((UsageError, CatalogError), match=message) as caught:
        geosr.upscale(change(array), "nearest")
    assert "--" not in str(caught.value)


def test_an_encoding_of_no_type_and_chunks_of_no_size_are_refused(array):
    floats = (array / 10000).astype(np.float32)
    floats.encoding["dtype"] = "nonsense"
    with pytest.raises(UsageError, match="has the type 'nonsense', which is none"):
        geosr.upscale(floats, "nearest")
    lazy = dask.array.from_array(array.values, chunks=(4, 8, 20))
    rows = lazy[:, dask.array.from_array(np.ones(16, bool), chunks=8)]
    with pytest.raises(UsageError, match="sizes of the array's chunks are not known: compute them"):
        geosr.upscale(xr.DataArray(rows, dims=("band", "y", "x"), coords={"band": list(RGBN)}), "nearest")
