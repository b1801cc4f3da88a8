"""Files of photographs, drawings and scans: PNG, JPEG and TIFF, as they are meant to be seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile

import tiling
from catalog.gdal import colours_of, open_raster
from geosr.errors import UsageError

#: Drivers by the endings of files that are written.
DRIVERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "GTiff", ".tiff": "GTiff"}

#: Endings of files that a folder is searched for.
ENDINGS = (*DRIVERS, ".webp", ".bmp", ".gif")

_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"QUALITY": 95},
    "GTiff": {"compress": "deflate", "predictor": 2, "tiled": True, "BIGTIFF": "IF_SAFER"},
}

#: Drivers of files that may hold several frames.
_ANIMATED = ("GIF", "PNG", "WEBP")

_ORIENTATION = "EXIF_Orientation"

#: Rotations and reflections by EXIF's orientation, of arrays (…, rows, cols); those above 4 swap the sides.
_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[..., :, ::-1],
    3: lambda a: a[..., ::-1, ::-1],
    4: lambda a: a[..., ::-1, :],
    5: lambda a: a.swapaxes(-1, -2),
    6: lambda a: a.swapaxes(-1, -2)[..., :, ::-1],
    7: lambda a: a.swapaxes(-1, -2)[..., ::-1, ::-1],
    8: lambda a: a.swapaxes(-1, -2)[..., ::-1, :],
}


@dataclass(frozen=True)
class PlainImage:
    """One image, upright."""

    pixels: NDArray[Any]
    """Grey, or red, green and blue: ``(1 or 3, rows, cols)``, 8 or 16 bits."""
    alpha: NDArray[Any] | None = None
    """Opacity ``(rows, cols)`` of the same type."""
    profile: Mapping[str, str] = field(default_factory=dict)
    """Colour profile (ICC), as GDAL has it; its values are those of ``pixels``, which are not converted."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """EXIF tags, without the orientation."""


def read_image(path: Path) -> PlainImage:
    """Read an image as a viewer shows it: palettes and few bits expanded, turned as EXIF says.

    Raises :class:`UsageError` for what is no single image of 8 or 16 bits, :class:`catalog.SourceError` for no raster
    at all.
    """
    with open_raster(str(path)) as raster:
        if len(raster.subdatasets) > 1 or (raster.driver in _ANIMATED and _is_animated(path)):
            raise UsageError(f"{path} holds several images: save each as a file, or take geosr video for an animation")
        colours = colours_of(raster)
        kept = {str(dtype) for dtype in raster.dtypes}
        if len(kept) > 1 or not kept <= {"uint8", "uint16"}:
            raise UsageError(f"{path} has values of {', '.join(sorted(kept))}: save it with 8 or 16 bits first")
        if ColorInterp.palette in colours:
            pixels, alpha = _expanded(raster)
        else:
            pixels, alpha = _coloured(raster, colours, path)
        tags = {name: value for name, value in raster.tags().items() if name.startswith("EXIF_")}
        profile = _profile(raster)
    turn = _UPRIGHT[_orientation(path, tags)]
    tags.pop(_ORIENTATION, None)
    upright = np.ascontiguousarray(turn(pixels))
    return PlainImage(upright, None if alpha is None else np.ascontiguousarray(turn(alpha)), profile, tags)


def write_image(image: PlainImage, path: Path) -> None:
    """Write an image in the form that its name's ending says; the file is in its place whole, or not at all.

    Raises :class:`UsageError` where that form cannot hold it, :class:`tiling.TilingError` where it cannot be written.
    """
    driver = DRIVERS[path.suffix.lower()]
    if driver == "JPEG" and image.pixels.dtype != np.uint8:
        raise UsageError(f"JPEG holds 8 bits, and the image has 16: write {path.with_suffix('.png').name}")
    if driver == "JPEG" and image.alpha is not None:
        raise UsageError(f"JPEG holds no transparency, and the image has some: write {path.with_suffix('.png').name}")
    layers = image.pixels if image.alpha is None else np.concatenate([image.pixels, image.alpha[None]])
    count, rows, cols = layers.shape
    colours = [ColorInterp.gray] if len(image.pixels) == 1 else [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    shape = {"count": count, "height": rows, "width": cols, "dtype": layers.dtype}
    photometric = {} if driver != "GTiff" else {"photometric": "RGB" if len(image.pixels) == 3 else "MINISBLACK"}
    try:
        with MemoryFile() as memory:
            with memory.open(driver=driver, **shape, **_OPTIONS[driver], **photometric, **image.profile) as raster:
                raster.colorinterp = [*colours, *([ColorInterp.alpha] if image.alpha is not None else [])]
                raster.write(layers)
                raster.update_tags(**image.tags)
            content = bytes(memory.getbuffer())
    except RasterioError as error:
        raise UsageError(f"{path.name} could not be made of {cols} × {rows} pixels: {error}") from error
    tiling.write(path, [content])


def bits_in_use(pixels: NDArray[Any]) -> int:
    """Bits that an image's largest value needs; 8 of 8 bits always."""
    return 8 if pixels.dtype == np.uint8 else max(8, int(pixels.max(initial=0)).bit_length())


def _profile(raster: DatasetReader) -> dict[str, str]:
    """The colour profile, unless GDAL has converted what it describes."""
    if raster.tags(ns="IMAGE_STRUCTURE").get("SOURCE_COLOR_SPACE") in ("CMYK", "YCbCrK"):
        return {}
    told = raster.tags(ns="COLOR_PROFILE").get("SOURCE_ICC_PROFILE")
    return {} if told is None else {"SOURCE_ICC_PROFILE": told}


def _coloured(
    raster: DatasetReader, colours: tuple[ColorInterp, ...], path: Path
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    alpha = colours.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in colours else None
    shown = [number for number in raster.indexes if number != alpha]
    if len(shown) not in (1, 3):
        raise UsageError(
            f"{path} has {len(shown)} bands: a plain image has 1 (grey) or 3 (red, green, blue), and alpha"
        )
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if len(shown) == 3 and set(wanted) <= set(colours):
        shown = [colours.index(one) + 1 for one in wanted]
    pixels = _whole_range(raster, raster.read(shown))
    if alpha is not None:
        return pixels, raster.read(alpha)
    flags = raster.mask_flag_enums[0]
    # A PNG may name one colour as clear. Other kinds' nodata values are no transparency.
    if MaskFlags.per_dataset in flags or (raster.driver == "PNG" and MaskFlags.nodata in flags):
        clear = raster.read_masks(shown[0]) == 0
        return pixels, np.where(clear, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype) if clear.any() else None
    return pixels, None


def _whole_range(raster: DatasetReader, pixels: NDArray[Any]) -> NDArray[Any]:
    """Values of 1 to 7 bits spread over 8, and those that count from white turned round."""
    structure = raster.tags(ns="IMAGE_STRUCTURE")
    bits = int(raster.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", structure.get("NBITS", pixels.dtype.itemsize * 8)))
    if structure.get("MINISWHITE") == "YES":
        pixels = 2**bits - 1 - pixels
    return pixels if bits >= 8 else np.rint(pixels * (255 / (2**bits - 1))).astype(np.uint8)


def _is_animated(path: Path) -> bool:
    with Image.open(path) as image:
        return bool(getattr(image, "is_animated", False))


def _expanded(raster: DatasetReader) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Colours of a palette's numbers."""
    table = np.zeros((256, 4), np.uint8)
    for number, colour in raster.colormap(1).items():
        if number < len(table):
            table[number] = colour
    layers = np.moveaxis(table[raster.read(1).astype(np.uint8)], -1, 0)
    # A GIF or PNG may name one number as clear.
    if raster.nodata is not None:
        layers[3] = np.where(raster.read_masks(1) == 0, 0, layers[3])
    return layers[:3], None if (layers[3] == 255).all() else layers[3]


def _orientation(path: Path, tags: Mapping[str, str]) -> int:
    """EXIF's orientation; GDAL reads it of JPEG, Pillow of everything else."""
    told: Any = tags.get(_ORIENTATION)
    if told is None:
        try:
            with Image.open(path) as image:
                told = image.getexif().get(ExifTags.Base.Orientation, 1)
        except (OSError, SyntaxError, ValueError):
            # Pillow knows fewer forms of files than GDAL, and those that it does not know have no EXIF.
            told = 1
    return int(told) if str(told) in map(str, _UPRIGHT) else 1
