"""Layout of a cube by the CF conventions: one date as a Dataset, which is read in pieces."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import dask.array
import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.windows import Window

from catalog import BandSpec
from geosr.cube.dates import CubeDate, CubeForm
from geosr.errors import UsageError
from geosr.run.uncertainty_layers import HALF_WIDTH, half_width_name, layer_path
from geosr.version import VERSION

#: Side of the pieces that are read at once, pixels: a field's series needs one to four of each date.
PIECE_PX = 256

#: Side of the squares that are written at once, pixels.
SQUARE_PX = 2048

DIMENSIONS = ("time", "y", "x")

#: Name of the variable of the CRS, and of the attributes that say which products a cube holds, and their form.
CRS_NAME, PRODUCTS, FORM = "spatial_ref", "geosr_products", "geosr_form"

_TIME_UNITS = "seconds since 1970-01-01 00:00:00"
_CONVENTIONS = "CF-1.11"

#: Type of half-widths of integer products, and the number among them that stands for nodata.
_INTEGER_WIDTHS, _WIDTH_NODATA = "uint16", 65535


def square_of(form: CubeForm) -> tuple[int, int]:
    """Rows and columns that are written at once, multiples of a piece."""
    rows, cols = (min(SQUARE_PX, math.ceil(length / PIECE_PX) * PIECE_PX) for length in form.geobox.shape)
    return rows, cols


def records_of(attributes: Mapping[str, Any]) -> list[dict[str, str]]:
    """Products that a cube holds, in the order of its times, from its attributes."""
    found: list[dict[str, str]] = json.loads(attributes[PRODUCTS])
    return found


def dataset_of(date: CubeDate, records: Sequence[Mapping[str, str]]) -> xr.Dataset:
    """One date by CF, with the attributes of a cube that holds ``records``; its pixels are read when it is written."""
    form = date.form
    y, x = (np.asarray(form.geobox.coordinates[name].values) for name in form.geobox.dimensions)
    variables: dict[str, Any] = {}
    for band in form.bands:
        attributes = {
            "long_name": f"reflectance, {band.name}",
            **_scaling(band.scale, band.offset, band.nodata, form.dtype),
        }
        if form.half_widths:
            attributes["ancillary_variables"] = width_name(band.name)
            stored = _width_dtype(form)
            nodata = _WIDTH_NODATA if stored == _INTEGER_WIDTHS else math.nan
            variables[width_name(band.name)] = (
                DIMENSIONS,
                _pixels(date, band, widths=True),
                {
                    "long_name": f"half-width of the 90 % interval, {band.name}",
                    **_scaling(abs(band.scale), 0.0, nodata, stored),
                },
            )
        variables[band.name] = (DIMENSIONS, _pixels(date, band, widths=False), attributes)
    time = {"standard_name": "time", "axis": "T", "units": _TIME_UNITS, "calendar": "standard"}
    coordinates = {
        "time": ("time", np.array([round(date.image.time.timestamp())], np.int64), time),
        **_axes(form, y, x),
        CRS_NAME: ((), np.int32(0), _crs_attributes(form)),
    }
    made = xr.Dataset(dict(sorted(variables.items())), coordinates, attributes_of(form, records))
    for name in ("time", "y", "x"):
        made[name].encoding["_FillValue"] = None
    return made


def attributes_of(form: CubeForm, records: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Attributes of a cube."""
    return {
        "Conventions": _CONVENTIONS,
        "title": "Super-resolved reflectance over time",
        "source": f"geosr {VERSION}; detail finer than the sources' resolution is estimated",
        PRODUCTS: json.dumps(list(records)),
        FORM: form.digest(),
    }


def width_name(band: str) -> str:
    """Name of the variable of a band's half-widths."""
    return f"{band}_half_width"


def _scaling(scale: float, offset: float, nodata: float | None, dtype: str) -> dict[str, Any]:
    """Attributes by which readers turn stored numbers into reflectance."""
    fill = {} if nodata is None else {"_FillValue": np.dtype(dtype).type(nodata)}
    return {"units": "1", "grid_mapping": CRS_NAME, "scale_factor": scale, "add_offset": offset, **fill}


def _width_dtype(form: CubeForm) -> str:
    """Type of the stored half-widths, as in their layer."""
    return form.dtype if np.issubdtype(np.dtype(form.dtype), np.floating) else _INTEGER_WIDTHS


def _axes(form: CubeForm, y: NDArray[np.float64], x: NDArray[np.float64]) -> dict[str, Any]:
    crs = form.geobox.crs
    geographic = crs is not None and crs.geographic
    names = ("latitude", "longitude") if geographic else ("projection_y_coordinate", "projection_x_coordinate")
    units = ("degrees_north", "degrees_east") if geographic else ("m", "m")
    return {
        dim: (dim, values, {"standard_name": name, "units": unit, "axis": dim.upper()})
        for dim, values, name, unit in zip(("y", "x"), (y, x), names, units, strict=True)
    }


def _crs_attributes(form: CubeForm) -> dict[str, Any]:
    assert form.geobox.crs is not None  # images without a CRS are refused
    affine = form.geobox.affine
    return {
        **CRS.from_wkt(form.geobox.crs.to_wkt()).to_cf(),
        "GeoTransform": " ".join(f"{one:.17g}" for one in (affine.c, affine.a, affine.b, affine.f, affine.d, affine.e)),
    }


def _pixels(date: CubeDate, band: BandSpec, *, widths: bool) -> Any:
    """Stored numbers of a band or of its half-widths, ``(1, rows, cols)``, read square by square."""
    rows, cols = date.form.geobox.shape
    high, wide = square_of(date.form)
    stored = _width_dtype(date.form) if widths else date.form.dtype

    def read(block_info: Any) -> NDArray[Any]:
        (_, top_bottom, left_right) = block_info[None]["array-location"]
        window = Window(left_right[0], top_bottom[0], left_right[1] - left_right[0], top_bottom[1] - top_bottom[0])
        return (_read_widths if widths else _read_band)(date, band, window, stored)[None]

    return dask.array.map_blocks(  # type: ignore[no-untyped-call]
        read,
        chunks=((1,), _split(rows, high), _split(cols, wide)),
        dtype=stored,
        meta=np.empty((0, 0, 0), stored),
    )


def _split(length: int, side: int) -> tuple[int, ...]:
    return tuple(min(side, length - start) for start in range(0, length, side))


def _read_band(date: CubeDate, band: BandSpec, window: Window, dtype: str) -> NDArray[Any]:
    scene = date.image.scene
    pixels, valid = scene.reader.select((scene.names.index(band.name),)).read(window)
    if not valid.all():
        if band.nodata is None:
            raise UsageError(f"{date.image.source} has pixels without data and no nodata value: give it one")
        pixels = np.where(valid, pixels, band.nodata)
    stored: NDArray[Any] = pixels[0].astype(dtype)
    return stored


def _read_widths(date: CubeDate, band: BandSpec, window: Window, dtype: str) -> NDArray[Any]:
    assert date.image.product is not None  # only products have half-widths
    with rasterio.open(layer_path(date.image.product, HALF_WIDTH)) as raster:
        index = list(raster.descriptions).index(half_width_name(band.description)) + 1
        stored: NDArray[Any] = raster.read(index, window=window).astype(dtype)
    return stored
