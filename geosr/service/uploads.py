"""Uploaded rasters: GeoTIFF, JPEG 2000 and zips of ``.SAFE`` products, which are refused by their headers."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from catalog.safe import UNREADABLE_ZIP, is_safe
from geosr.errors import UsageError
from geosr.service.problems import Problem

#: Bytes of one decoded block of an uploaded raster, of all its bands.
_MOST_BLOCK_BYTES = 256 * 2**20

_MOST_BANDS = 64

#: Files of a ``.SAFE`` product at most, and letters of the path of one.
_MOST_MEMBERS = 2000
_MOST_LETTERS = 400

#: First bytes of the files that are taken, by the ending that they are kept with.
_KINDS = {
    b"II*\x00": ".tif",
    b"MM\x00*": ".tif",
    b"II+\x00": ".tif",
    b"MM\x00+": ".tif",
    b"\x00\x00\x00\x0cjP  ": ".jp2",
    b"\xff\x4f\xff\x51": ".jp2",
    b"PK\x03\x04": ".zip",
}
_DRIVERS = {".tif": "GTiff", ".jp2": "JP2OpenJPEG"}

_COPY_BYTES = 2**20


@dataclass(frozen=True)
class UploadLimits:
    """Limits of an upload."""

    pixels: int
    """Most pixels of one band."""
    bytes: int
    """Most bytes of the upload, and of all files of a product in it."""


@dataclass(frozen=True)
class SourceDetails:
    """Details of a scene that its source does not tell."""

    nodata: float | None = None
    """A DN without measurement."""
    sensor: str | None = None
    """Name of a sensor profile of the package."""


@dataclass(frozen=True)
class RasterDescription:
    """Description of an upload by its sender, written into the copy that the service keeps and reads."""

    bands: tuple[str, ...] = ()
    """Names of its bands in their order, ``-`` for one to leave out; empty to keep the file's."""
    scale: float | None = None
    offset: float | None = None
    """Reflectance is DN × scale + offset; None to keep the file's."""

    def write(self, path: Path) -> None:
        """Write it into a GeoTIFF. Raises :class:`Problem` where it does not fit."""
        if self == RasterDescription():
            return
        try:
            with rasterio.open(path, "r+", driver="GTiff", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
                if self.bands and len(self.bands) != raster.count:
                    raise Problem(409, f"bands: names {len(self.bands)} bands, and the file has {raster.count}")
                if self.bands:
                    raster.descriptions = self.bands
                # One of the two that is not given is the file's, and 1 or 0 where the file has neither.
                raster.scales = [one if self.scale is None else self.scale for one in raster.scales]
                raster.offsets = [one if self.offset is None else self.offset for one in raster.offsets]
        except RasterioError as error:
            raise Problem(415, "the upload is not a GeoTIFF that can be described anew") from error


def keep_upload(upload: Path, folder: Path, description: RasterDescription, limits: UploadLimits) -> Path:
    """Move an upload into a scene's folder, and return what is opened there. Raises :class:`Problem`."""
    with upload.open("rb") as file:
        beginning = file.read(8)
    kind = next((ending for first, ending in _KINDS.items() if beginning.startswith(first)), None)
    if kind is None:
        raise Problem(415, "the upload is neither a GeoTIFF, nor a JPEG 2000, nor a zip of a .SAFE product")
    if kind == ".zip":
        if description != RasterDescription():
            raise Problem(409, "bands, scale and offset of a .SAFE product are its own: leave them out")
        return _extract_safe(upload, folder, limits)
    check_raster(upload, limits.pixels, _DRIVERS[kind])
    path = folder / f"upload{kind}"
    if kind == ".jp2" and description != RasterDescription():
        path = folder / "upload.tif"
        _as_geotiff(upload, path, limits)
    else:
        upload.replace(path)
    description.write(path)
    return path


def _as_geotiff(upload: Path, path: Path, limits: UploadLimits) -> None:
    """Write a JPEG 2000 as a GeoTIFF, which can be described anew. Raises :class:`Problem`."""
    try:
        with rasterio.open(upload, driver="JP2OpenJPEG") as raster:
            item = max(np.dtype(dtype).itemsize for dtype in raster.dtypes)
            if raster.width * raster.height * raster.count * item > 2 * limits.bytes:
                raise Problem(413, "the JPEG 2000 is too large to be described anew: send it as a GeoTIFF")
            rasterio.shutil.copy(raster, path, driver="GTiff", tiled=True, compress="zstd", bigtiff="if_safer")
    # GDAL's own errors are raised as they are by the copy.
    except (RasterioError, CPLE_BaseError) as error:
        raise Problem(415, "the upload is not a JPEG 2000 that can be read") from error


def _extract_safe(upload: Path, folder: Path, limits: UploadLimits) -> Path:
    """Extract metadata and images of a product, and return its folder. Raises :class:`Problem`."""
    try:
        with zipfile.ZipFile(upload) as archive:
            members = [one for one in archive.infolist() if _is_wanted(one)]
            roots = {PurePosixPath(one.filename).parts[0] for one in members}
            if len(roots) != 1:
                raise Problem(415, f"the zip holds {len(roots) or 'no'} .SAFE products: send one")
            if len(members) > _MOST_MEMBERS or sum(one.file_size for one in members) > limits.bytes:
                raise Problem(413, f"the product in the zip is larger than {limits.bytes} bytes")
            for one in members:
                path = folder / one.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                # No more is read of a member than the size that it tells.
                with archive.open(one) as source, path.open("xb") as target:
                    shutil.copyfileobj(source, target, _COPY_BYTES)
                if path.suffix == ".jp2":
                    check_raster(path, limits.pixels, "JP2OpenJPEG")
    except UNREADABLE_ZIP as error:
        raise Problem(415, "the upload is not a zip that can be read") from error
    product = folder / roots.pop()
    if not is_safe(str(product)):
        raise Problem(415, "the zip holds no metadata of a Level-1C or Level-2A product")
    upload.unlink()
    return product


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    """Tell whether a member of a zip is metadata or an image of a product, in a folder of the zip."""
    name = member.filename
    parts = PurePosixPath(name).parts
    if len(name) > _MOST_LETTERS or len(parts) < 2 or ".." in parts or "\\" in name or "\x00" in name:
        return False
    is_image = parts[-1].endswith(".jp2") and "IMG_DATA" in parts
    return parts[0].endswith(".SAFE") and (parts[-1].endswith(".xml") or is_image)


def check_raster(path: Path, max_pixels: int, driver: str = "GTiff") -> None:
    """Refuse what is no raster of a format, or would take more memory than it is worth, by its header alone.

    Raises :class:`Problem`.
    """
    try:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(path, driver=driver) as raster:
            rows, cols = raster.shape
            item = max(np.dtype(dtype).itemsize for dtype in raster.dtypes)
            blocks = [height * width for height, width in raster.block_shapes]
            bands, others = raster.count, [name for name in raster.files if Path(name) != path]
    except (RasterioError, TypeError, ValueError, UsageError) as error:
        kind = "GeoTIFF" if driver == "GTiff" else "JPEG 2000"
        raise Problem(415, f"the upload is not a {kind} that can be read") from error
    if others:
        raise Problem(415, "the upload refers to other files: send one file that has all its pixels")
    if rows * cols > max_pixels or bands > _MOST_BANDS:
        raise Problem(413, f"the raster has {cols}×{rows} pixels in {bands} bands: up to {max_pixels} pixels are taken")
    if max(blocks) * item * bands > _MOST_BLOCK_BYTES:
        raise Problem(413, "the raster's blocks are too large: write it anew with tiles, gdal_translate -co TILED=YES")
