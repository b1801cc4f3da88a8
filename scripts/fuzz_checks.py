"""Checks of products that ``scripts/fuzz.py`` makes of mutated inputs: pixels, place, radiometry and JSON.

They read sources with rasterio alone, and share no code with the product.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

Check = Callable[[Path], str | None]


def nearest_product(*sources: str, area: bool = False, damaged: bool = False) -> Check:
    """Check of a product of the model ``nearest``.

    Every pixel has to be that of one of ``sources``, in the same place; with ``area`` a part of them may be asked for,
    and ``damaged`` sources were taken from an archive whose bytes were changed: their decoded pixels are unknown.
    """

    def check(folder: Path) -> str | None:
        fault = _sound(folder)
        if fault is not None or damaged:
            return fault
        with rasterio.open(folder / "out.tif") as product:
            images = [image for source in sources for image in _bands(folder / source)]
            if not images:
                return "rasterio alone cannot read the source"
            for band in range(1, product.count + 1):
                faults = [_unlike(product, band, *image, area=area) for image in images]
                if all(faults):
                    return f"band {band} is none of the source's: {faults[0]}"
        return None

    return check


def consistent_product(source: Path) -> Check:
    """Check of a product of a model with back-projection: averaged, it is near its source."""

    def check(folder: Path) -> str | None:
        fault = _sound(folder)
        if fault is not None:
            return fault
        with rasterio.open(folder / "out.tif") as product, rasterio.open(source) as raster:
            made, given = product.read().astype(float), raster.read().astype(float)
        bands, rows, cols = given.shape
        if made.shape[0] != bands or made.shape[1] % rows or made.shape[2] % cols:
            return f"the product is {made.shape} of {given.shape}"
        scale = made.shape[1] // rows
        seen = made.reshape(bands, rows, scale, cols, scale).mean(axis=(2, 4))
        off = float(np.abs(seen - given).mean() / given.mean())
        return f"seen at the source's resolution it is {100 * off:.0f} % off" if not off < 0.25 else None

    return check


def equal_bytes(undisturbed: Path) -> Check:
    """Check of a product that was finished or made anew: the bytes of an undisturbed run."""

    def check(folder: Path) -> str | None:
        if not (folder / "out.tif").exists():
            return "there is no product"
        return None if (folder / "out.tif").read_bytes() == undisturbed.read_bytes() else "other bytes than undisturbed"

    return check


def _sound(folder: Path) -> str | None:
    """Fault of a product by itself: an Item that is strict JSON, and reflectance that can be."""
    names = [name for name in ("out.json", "out.tif.json") if (folder / name).exists()]
    if not (folder / "out.tif").exists() or not names:
        return "there is no product, or no Item"
    try:
        item = json.loads((folder / names[-1]).read_text(encoding="utf-8"), parse_constant=_refuse)
    except ValueError as error:
        return f"the Item is not JSON: {error}"
    asset = item["assets"]["data"]
    with rasterio.open(folder / "out.tif") as product:
        dn, valid = product.read().astype(np.float64), product.read_masks() > 0
    if "reflectance" not in asset["roles"]:
        return None
    for number, (band, pixels, there) in enumerate(zip(asset["bands"], dn, valid, strict=True), start=1):
        reflectance = pixels[there] * band["raster:scale"] + band["raster:offset"]
        if reflectance.size and not (np.mean(reflectance < -0.2002) < 0.02 and np.mean(reflectance > 3.001) < 0.2):
            return f"band {number} has reflectance from {reflectance.min():g} to {reflectance.max():g}"
        if reflectance.size and np.abs(reflectance).max() > 1e4:
            return f"band {number} has a reflectance of {np.abs(reflectance).max():g}"
    return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


Band = tuple[NDArray[np.float64], NDArray[np.bool_], Any, Any]


def _bands(path: Path) -> list[Band]:
    """Pixels of each band of a raster, where its masks say that they are valid, transform and CRS."""
    try:
        with rasterio.open(path) as raster:
            pixels = raster.read().astype(np.float64)
            masks = raster.read_masks() > 0
            return [(one, mask, raster.transform, raster.crs) for one, mask in zip(pixels, masks, strict=True)]
    except (RasterioError, UnicodeDecodeError):
        return []


def _unlike(
    product: Any, band: int, source: NDArray[np.float64], valid: NDArray[np.bool_], transform: Any, crs: Any, area: bool
) -> str | None:
    """Difference of a band of a product from one of a source; None if it is that band."""
    made, there = product.read(band).astype(np.float64), product.read_masks(band) > 0
    if product.crs != crs:
        return f"CRS {product.crs} of {crs}"
    top, left = 0, 0
    if area:
        left, top = (round(value) for value in ~transform @ (product.transform.c, product.transform.f))
    rows, cols = made.shape[0] // 4, made.shape[1] // 4
    if not area and (rows, cols) != source.shape:
        return f"{made.shape} of {source.shape}"
    if top < 0 or left < 0 or top + rows > source.shape[0] or left + cols > source.shape[1]:
        return f"a part from {top}, {left} of {source.shape}"
    expected = transform @ transform.translation(left, top) @ transform.scale(0.25)
    if not np.allclose(tuple(product.transform)[:6], tuple(expected)[:6], rtol=1e-9, atol=1e-6 * abs(transform.a)):
        return f"another place, {tuple(product.transform)[:6]} for {tuple(expected)[:6]}"
    part = np.s_[top : top + rows, left : left + cols]
    given, measured = (np.kron(one[part], np.ones((4, 4))) for one in (source, valid.astype(np.uint8)))
    measured = measured.astype(bool) & np.isfinite(given)
    close = np.abs(made - given) <= 1.001 + 1e-4 * np.abs(given)
    if not np.issubdtype(product.dtypes[0], np.integer):
        close = np.abs(made - given) <= 1e-6 + 1e-4 * np.abs(given)
    if (there & ~measured).any():
        return "pixels where nothing was measured"
    if (there & ~close).any():
        return f"{int((there & ~close).sum())} pixels of other values"
    lost = measured & ~there & (given != 0)
    # The source may hold DN that are none by a tag that masks do not know.
    return f"{int(lost.sum())} measured pixels are nodata" if lost.mean() > 0.97 else None
