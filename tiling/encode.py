"""Pixels to encoded blocks, and what a product's file says of itself, neither as a whole file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
import zstandard
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile

from tiling.accelerators import Accelerator
from tiling.product import BLOCK_PX, Product
from tiling.tiff import Field, read_images

#: TIFF's predictor of integers: each pixel less the one before it in its row.
_DIFFERENCES = 2

#: The fastest level. What differences of pixels repeat is found as well in a table that stays near the core.
_ZSTD = zstandard.ZstdCompressionParameters.from_level(1, hash_log=10)


def encode(pixels: NDArray[Any], product: Product, accelerator: Accelerator | None = None) -> NDArray[np.object_]:
    """The blocks of a row of blocks, ``(bands, rows, cols)``, as they are in a file: ``bytes``, ``(block columns)``.

    Blocks at the right and lower edge are filled up. A block's bytes depend on its pixels and the product only.
    """
    if product.compression == "zstd" and product.predictor == _DIFFERENCES:
        return _compressed(pixels, product, accelerator)
    bands, rows, cols = pixels.shape
    with rasterio.Env(), MemoryFile() as memory:
        with memory.open(
            driver="GTiff", dtype=product.dtype, count=bands, height=rows, width=cols, **product.creation_options()
        ) as raster:
            raster.write(pixels)
        return _blocks_in(memory.getbuffer())


def fields_of(product: Product, geobox: GeoBox, tags: Mapping[str, str]) -> Mapping[int, Field]:
    """All that the directory of a product's file on ``geobox`` says, but for where blocks lie."""
    # Copied from a virtual raster without pixels, a file is as large as its directory, however large its image.
    with rasterio.Env(), MemoryFile() as memory:
        rasterio.shutil.copy(
            _empty_raster(product, geobox, tags),
            memory.name,
            driver="GTiff",
            **{name: str(value) for name, value in product.creation_options().items()},
            SPARSE_OK="TRUE",
        )
        content = bytes(memory.getbuffer())
    return read_images(lambda start, stop: content[start:stop])[0].fields


def _compressed(pixels: NDArray[Any], product: Product, accelerator: Accelerator | None) -> NDArray[np.object_]:
    """Compress integers as GDAL does, without a file in memory, which would take as long as the compression."""
    bands, rows, cols = pixels.shape
    compressor = zstandard.ZstdCompressor(compression_params=_ZSTD)
    columns = range(0, cols, BLOCK_PX)
    blocks = np.empty(len(columns), dtype=object)
    # Where a block is filled up, nothing differs.
    block = np.zeros((BLOCK_PX, BLOCK_PX, bands), np.dtype(product.dtype).newbyteorder("<"))
    for number, left in enumerate(columns):
        part = pixels[:, :, left : left + BLOCK_PX]
        block[:rows, part.shape[2] :] = 0
        filled = block[:rows, : part.shape[2]]
        if accelerator is None or not accelerator.differences(part, filled):
            for band, out in zip(part, np.moveaxis(filled, 2, 0), strict=True):
                out[:, 0] = band[:, 0]
                np.subtract(band[:, 1:], band[:, :-1], out=out[:, 1:])
        blocks[number] = compressor.compress(block.data)
    return blocks


def _blocks_in(content: memoryview) -> NDArray[np.object_]:
    """The blocks of a file of one row of them."""
    image = read_images(lambda start, stop: bytes(content[start:stop]))[0]
    blocks = np.empty(image.sizes.shape[1], dtype=object)
    for col, (start, size) in enumerate(zip(image.offsets[0].tolist(), image.sizes[0].tolist(), strict=True)):
        blocks[col] = bytes(content[start : start + size])
    return blocks


def _empty_raster(product: Product, geobox: GeoBox, tags: Mapping[str, str]) -> str:
    """A virtual raster of the product's form without pixels, as XML."""
    root = ElementTree.Element("VRTDataset", rasterXSize=str(geobox.shape.x), rasterYSize=str(geobox.shape.y))
    if geobox.crs is not None:
        ElementTree.SubElement(root, "SRS").text = geobox.crs.to_wkt()
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(repr(v) for v in geobox.affine.to_gdal())
    metadata = ElementTree.SubElement(root, "Metadata")
    for key, value in sorted(tags.items()):
        ElementTree.SubElement(metadata, "MDI", key=key).text = value
    for index in range(product.bands):
        _add_band(root, index, product)
    return ElementTree.tostring(root, encoding="unicode")


def _add_band(root: ElementTree.Element, index: int, product: Product) -> None:
    band = ElementTree.SubElement(root, "VRTRasterBand", dataType=_gdal_type(product.dtype), band=str(index + 1))
    values = {
        "Description": product.descriptions[index] or None,
        "NoDataValue": None if product.nodata is None else _nodata_text(product.nodata, product.dtype),
        "ColorInterp": product.colours[index] if product.colours else None,
        "Scale": repr(product.scales[index]) if product.scales else None,
        "Offset": repr(product.offsets[index]) if product.offsets else None,
    }
    for name, value in values.items():
        if value is not None:
            ElementTree.SubElement(band, name).text = value


def _nodata_text(nodata: float, dtype: str) -> str:
    """A nodata value as GDAL reads it exactly: of integers of 64 bits it takes no decimal point."""
    whole = np.issubdtype(np.dtype(dtype), np.integer) and float(nodata).is_integer()
    return str(int(nodata)) if whole else repr(nodata)


def _gdal_type(dtype: str) -> str:
    return {"uint8": "Byte", "bool": "Byte"}.get(dtype, np.dtype(dtype).name.capitalize().replace("Uint", "UInt"))
