"""From chunk files to one Cloud-Optimized GeoTIFF.

The chunks are joined by a virtual raster, which GDAL's COG driver reads once, in the order in which it writes. Memory
is bounded by a few blocks, whatever the size of the output.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from tiling.atomic import flush
from tiling.errors import DiskFullError, OutputError
from tiling.plan import Chunk, ChunkPlan
from tiling.product import BLOCK_PX, Product

#: Bytes on disk while a COG is assembled, per byte of chunk files: the file, its overviews, and a copy of those.
_ASSEMBLY_FACTOR = 1.7

#: Decoded blocks that are kept while a COG is assembled, MB. GDAL's own limit grows with the machine's memory.
_CACHE_MB = 128

#: The driver keeps this many chunk files open at a time.
_OPEN_FILES = 8


def mosaic(plan: ChunkPlan, files: Mapping[str, Path], product: Product, output: Path, work: Path) -> None:
    """Join the chunk files (by chunk key) into ``output``, which appears complete or not at all.

    ``work`` is a folder on the same file system for what is made on the way; nothing stays there. The chunk files are
    left alone. Averaged overviews ignore nodata. The bytes depend on the pixels and the product only.

    Raises :class:`DiskFullError` when the COG will not fit, :class:`OutputError` when it cannot be written.
    """
    virtual, draft = work / "mosaic.vrt", work / "mosaic.tif"
    options = {
        "COMPRESS": product.compression.upper(),
        "LEVEL": "1",
        "PREDICTOR": "YES",
        "BLOCKSIZE": str(BLOCK_PX),
        "BIGTIFF": "IF_SAFER",
        "OVERVIEW_RESAMPLING": "AVERAGE",
        "NUM_THREADS": "ALL_CPUS",
    }
    try:
        _check_space(files, work)
        _write_vrt(virtual, plan, files, product)
        with rasterio.Env(
            GDAL_MAX_DATASET_POOL_SIZE=_OPEN_FILES, GDAL_CACHEMAX=_CACHE_MB, GDAL_TIFF_INTERNAL_MASK=False
        ):
            rasterio.shutil.copy(virtual, draft, driver="COG", **options)
        _check_whole(draft, output)
        flush(draft)
        draft.replace(output)
    except OutputError:
        raise
    except Exception as error:
        # GDAL reports what the disk refuses in many ways, not all of which are rasterio's or the system's own errors.
        raise OutputError(f"cannot write {output}, perhaps the disk is full: {error}") from error
    finally:
        for leftover in work.glob("mosaic.*"):
            leftover.unlink(missing_ok=True)


def _check_whole(draft: Path, output: Path) -> None:
    if not is_whole(draft):
        raise DiskFullError(f"no space left while writing {output}: blocks of it are missing")


def is_whole(path: Path) -> bool:
    """Whether every block of every level lies inside the file, and the last of each level can be read.

    GDAL may end well although its last blocks met a full disk.
    """
    size = path.stat().st_size
    try:
        with rasterio.Env(), rasterio.open(path) as raster:
            levels = len(raster.overviews(1))
            return all(_level_is_whole(path, raster, level, size) for level in range(-1, levels))
    except RasterioError:
        return False


def _level_is_whole(path: Path, raster: DatasetReader, level: int, size: int) -> bool:
    """``level`` is that of an overview, or -1 for the pixels themselves."""
    with rasterio.open(path, **({} if level < 0 else {"overview_level": level})) as view:
        blocks = list(view.block_windows(1))
        view.read(window=blocks[-1][1])
    options = {"bidx": 1, **({} if level < 0 else {"ovr": level})}
    for (row, col), _ in blocks:
        offset, length = (
            raster.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", **options) for what in ("OFFSET", "SIZE")
        )
        if offset is None or length is None or int(offset) + int(length) > size:
            return False
    return True


def _check_space(files: Mapping[str, Path], work: Path) -> None:
    needed = _ASSEMBLY_FACTOR * sum(path.stat().st_size for path in files.values())
    free = shutil.disk_usage(work).free
    if free < needed:
        raise DiskFullError(
            "no space left to assemble the output: "
            f"it takes about {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free"
        )


def _write_vrt(path: Path, plan: ChunkPlan, files: Mapping[str, Path], product: Product) -> None:
    geobox = plan.geobox
    root = ElementTree.Element("VRTDataset", rasterXSize=str(geobox.shape.x), rasterYSize=str(geobox.shape.y))
    if geobox.crs is not None:
        ElementTree.SubElement(root, "SRS").text = geobox.crs.to_wkt()
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(repr(v) for v in geobox.affine.to_gdal())
    metadata = ElementTree.SubElement(root, "Metadata")
    for key, value in sorted(product.tags.items()):
        ElementTree.SubElement(metadata, "MDI", key=key).text = value
    for index in range(product.bands):
        band = _band_element(root, index, product)
        for chunk in plan:
            _add_source(band, index, chunk, files[chunk.key], product)
    ElementTree.ElementTree(root).write(path, encoding="utf-8")


def _band_element(root: ElementTree.Element, index: int, product: Product) -> ElementTree.Element:
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
    return band


def _nodata_text(nodata: float, dtype: str) -> str:
    """A nodata value as GDAL reads it exactly: of integers of 64 bits it takes no decimal point."""
    whole = np.issubdtype(np.dtype(dtype), np.integer) and float(nodata).is_integer()
    return str(int(nodata)) if whole else repr(nodata)


def _add_source(band: ElementTree.Element, index: int, chunk: Chunk, path: Path, product: Product) -> None:
    source = ElementTree.SubElement(band, "SimpleSource")
    ElementTree.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(path.resolve())
    ElementTree.SubElement(source, "SourceBand").text = str(index + 1)
    width, height = str(chunk.out.width), str(chunk.out.height)
    # With these GDAL need not open every file to learn its size.
    ElementTree.SubElement(
        source,
        "SourceProperties",
        RasterXSize=width,
        RasterYSize=height,
        DataType=_gdal_type(product.dtype),
        BlockXSize=str(BLOCK_PX),
        BlockYSize=str(BLOCK_PX),
    )
    ElementTree.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=width, ySize=height)
    ElementTree.SubElement(
        source, "DstRect", xOff=str(chunk.out.col_off), yOff=str(chunk.out.row_off), xSize=width, ySize=height
    )


def _gdal_type(dtype: str) -> str:
    return {"uint8": "Byte", "bool": "Byte"}.get(dtype, np.dtype(dtype).name.capitalize().replace("Uint", "UInt"))
