"""The Python interface: super-resolution of xarray's DataArrays and Datasets.

    import geosr
    sharp = geosr.upscale(da)          # or da.geosr.upscale()
    series = geosr.upscale(ds)         # a Dataset with a variable for each band, or ds.geosr.upscale()
    estimate = geosr.upscale(da, uncertainty=True)   # a Dataset: image, half_width, measured

Lazy where the input is: on a dask-backed array nothing is read or computed until the result is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Unpack, overload

import numpy as np
import xarray as xr

from geosr.arrays.array import upscale_array
from geosr.arrays.bands import GivenRadiometry
from geosr.arrays.method import Method
from geosr.arrays.options import UpscaleOptions
from geosr.arrays.variables import upscale_dataset
from geosr.engine import Device, EngineChoice, EngineName, Precision
from geosr.errors import UsageError
from geosr.model.zoo import DEFAULT_MODEL, ModelRef


@overload
def upscale(
    data: xr.Dataset, model: str = DEFAULT_MODEL, *, uncertainty: bool = False, **options: Unpack[UpscaleOptions]
) -> xr.Dataset: ...


@overload
def upscale(
    data: xr.DataArray,
    model: str = DEFAULT_MODEL,
    *,
    uncertainty: Literal[False] = False,
    **options: Unpack[UpscaleOptions],
) -> xr.DataArray: ...


@overload
def upscale(
    data: xr.DataArray, model: str = DEFAULT_MODEL, *, uncertainty: Literal[True], **options: Unpack[UpscaleOptions]
) -> xr.Dataset: ...


@overload
def upscale(
    data: xr.DataArray, model: str = DEFAULT_MODEL, *, uncertainty: bool, **options: Unpack[UpscaleOptions]
) -> xr.DataArray | xr.Dataset: ...


def upscale(
    data: xr.DataArray | xr.Dataset,
    model: str = DEFAULT_MODEL,
    *,
    bands: str | Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    engine: EngineName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    core_px: int = 256,
    uncertainty: bool = False,
    sharpness: float = 0.0,
) -> xr.DataArray | xr.Dataset:
    """Super-resolve a DataArray or a Dataset; leading dimensions such as time are done one by one.

    A DataArray is ``(…, band, y, x)`` or ``(y, x)``. The variables of a Dataset are its bands, each ``(…, y, x)``.
    The result has the same type, attributes and meaning of values on a grid four times finer with the same bounds.
    Its bands are those of ``data`` that the model serves, in their order. Of a Dataset, variables without rows and
    columns are kept, and other images, such as masks, are left out.

    Parameters
    ----------
    data
        DN or reflectance. NaN, infinities and ``nodata`` are not measurements: their pixels are nodata in the result.
    model
        A shipped model's name, or the path of a model card.
    bands
        Names of an array's bands, as a list or as ``"B02,B03"``; by default the ``band`` coordinate's, or
        ``long_name``'s as ``rioxarray`` sets it. Of a Dataset, the variables to take; by default those with the name of
        a band, and all images where none has one.
    scale, offset
        ``reflectance = value * scale + offset``; by default ``scale_factor`` and ``add_offset``, or band by band
        ``scales`` and ``offsets``, or DN / 10000 for integers and the values themselves for floats.
    nodata
        By default what the array declares, as ``_FillValue`` or ``nodata``, or DN 0 for integers and for floats that
        were read from them. What is declared or given is declared of the result.
    engine, device, precision
        As for the command.
    core_px
        Side of a chunk, pixels of ``data``.
    uncertainty
        Return a Dataset: ``image``, which is the result; ``half_width`` of each pixel's calibrated interval, float32 in
        the image's units, NaN where that is nodata; and ``measured``, the percentage of the local detail that is
        measured, without bands, 255 where no band was measured. A Dataset gets ``half_width`` band by band, as
        ``B02_half_width``, beside its variables.
    sharpness
        Share of the model's visual weights, 0 to 1. Above 0 the result looks sharper and is not for measuring, which
        its attributes ``GEOSR_SHARPNESS`` and ``GEOSR_DETAIL`` say; it has no half-widths then.

    Returns
    -------
    xarray.DataArray | xarray.Dataset
        The result on the finer grid; a Dataset with ``uncertainty=True``.

    Raises
    ------
    geosr.errors.UsageError
        The array's dimensions, grid, scales or nodata make no sense, or the model has no calibrated half-widths or
        no such sharpness.
    geosr.errors.ModelError
        The model does not exist or lacks a band.
    catalog.CatalogError
        The values cannot be reflectance.

    """
    radiometry = GivenRadiometry(scale, offset, nodata)
    if not isinstance(data, xr.DataArray | xr.Dataset):
        raise UsageError(_refusal(data))
    method = Method(ModelRef(model, sharpness), EngineChoice(engine, device, precision), core_px, uncertainty)
    if isinstance(data, xr.Dataset):
        return upscale_dataset(data, bands, radiometry, method)
    return upscale_array(data, bands, radiometry, method)


def _refusal(data: Any) -> str:
    """Say how to make an array of something else."""
    if isinstance(data, xr.DataTree):
        return "a DataTree has a grid for each node: give the Dataset of one, geosr.upscale(tree['name'].to_dataset())"
    if isinstance(data, np.ndarray):
        return (
            "a NumPy array does not say which bands it holds and where it lies: wrap it, as in "
            "xarray.DataArray(pixels, dims=('band', 'y', 'x')), and name its bands, bands='B02,B03,B04,B08'"
        )
    if isinstance(data, str | Path):
        return f"{str(data)!r} is a path: open it with rioxarray.open_rasterio, or call the command, geosr upscale"
    return f"a {type(data).__name__} is no DataArray or Dataset of xarray's: give one of these"
