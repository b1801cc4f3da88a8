"""Scenes from ESA's own products: a ``.SAFE`` folder or its zip, Level-1C or Level-2A.

Offset and quantification come from the product's metadata, never from its date or name.
"""

from __future__ import annotations

import datetime as dt
import lzma
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from catalog import radiometry, sentinel2
from catalog.errors import SourceError
from catalog.gdal import open_raster, parts_of
from catalog.grids import finest, repeat, repeated_window
from catalog.identity import look_up
from catalog.placing import grid_of_raster
from catalog.raster import RasterReader
from catalog.scene import BandSpec, Scene
from catalog.unmeasured import check_given_nodata

_METADATA = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")

#: Sampling distance of the scene classification, metres.
_SCL_M = 20

#: Most files in a zip, and most bytes of a product's metadata: a product has some hundred, and half a MB.
_MOST_MEMBERS = 100_000
_MOST_METADATA_BYTES = 50_000_000

#: Errors of reading a damaged, encrypted or foreign zip.
UNREADABLE_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    NotImplementedError,
)

#: Products that a message names.
_LISTED = 5

#: The numbers by which the metadata call the bands (``band_id``).
_BAND_IDS = {str(number): name for number, name in enumerate(sentinel2.BANDS)}


@dataclass(frozen=True)
class SafeProduct:
    """Contents of the product's metadata."""

    root: str
    """GDAL path of the folder that holds the metadata."""
    name: str
    level: str
    baseline: str
    acquired: dt.datetime
    platform: str
    quantification: float
    offsets_dn: dict[str, float]
    """Added to DN before division, per band; empty before baseline 04.00."""
    images: tuple[str, ...]
    """Image files, relative to ``root``."""

    def image(self, band: str) -> str:
        """GDAL path of a band's image at its own sampling distance.

        Raises :class:`SourceError` when the product has none.
        """
        gsd_m = sentinel2.BANDS[band].gsd_m
        for image in self.images:
            stem = PurePosixPath(image).stem
            if stem.endswith((f"_{band}", f"_{band}_{gsd_m}m")):
                return f"{self.root}/{image}"
        raise SourceError(f"{self.name} has no image of {band} at {gsd_m} m")


def is_safe(source: str) -> bool:
    """Tell whether a path is a ``.SAFE`` folder, its metadata file, or a zip that holds one."""
    path = Path(source)
    if path.name in _METADATA:
        return path.is_file()
    if path.is_dir():
        return any((path / name).is_file() for name in _METADATA)
    return path.suffix.lower() == ".zip" and path.is_file()


@dataclass(frozen=True)
class SafeClasses:
    """The scene classification of a product, on the grid of its bands."""

    path: str
    repeat: int
    """Pixels of the bands' grid per pixel of the classification, along each axis."""

    def read_classes(self, window: Window) -> NDArray[np.uint8]:
        own, inside = repeated_window(window, self.repeat)
        with open_raster(self.path) as raster:
            classes = raster.read(1, window=own)
        part: NDArray[np.uint8] = repeat(classes, self.repeat)[inside].astype(np.uint8)
        return part


def safe_classes(source: str, geobox: GeoBox) -> SafeClasses:
    """The scene classification of a Level-2A product. Raises :class:`SourceError` when it has none."""
    product = read_safe(source)
    span = _SCL_M / abs(geobox.resolution.x)
    if span < 1:
        raise SourceError(f"clouds cannot be masked in bands coarser than the classification's {_SCL_M} m")
    for image in product.images:
        if PurePosixPath(image).stem.endswith(f"_SCL_{_SCL_M}m"):
            return SafeClasses(f"{product.root}/{image}", round(span))
    raise SourceError(f"clouds cannot be masked: {product.name} has no scene classification (Level-2A products have)")


def open_safe_scene(
    source: str,
    bands: Sequence[str],
    *,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
) -> Scene:
    """A scene of these bands, on the grid of the finest; ``scale`` and ``offset`` override the metadata.

    ``nodata`` is a DN that is no measurement, besides Sentinel-2's 0.

    Raises :class:`SourceError`.
    """
    product = read_safe(source)
    bands = [sentinel2.band_name(band) or band for band in bands]
    unknown = [band for band in bands if band not in sentinel2.BANDS]
    if unknown:
        raise SourceError(f"unknown band {', '.join(unknown)}: Sentinel-2 has {', '.join(sentinel2.BANDS)}")
    images = [product.image(band) for band in bands]
    also = () if nodata is None or nodata == sentinel2.NODATA_DN else (nodata,)
    decided = [
        radiometry.of_product(product.baseline, product.quantification, product.offsets_dn.get(band)) for band in bands
    ]
    if scale is not None or offset is not None:
        decided = [radiometry.override(scale, offset, values) for values in decided]
    specs = tuple(
        BandSpec(
            name=band,
            gsd_m=sentinel2.BANDS[band].gsd_m,
            scale=values.scale,
            offset=values.offset,
            nodata=sentinel2.NODATA_DN,
            also_nodata=also,
            mtf_nyquist=sentinel2.BANDS[band].mtf_nyquist,
            description=band,
        )
        for band, values in zip(bands, decided, strict=True)
    )
    geobox, spans, dtype = _common_grid(images, product.name)
    check_given_nodata(nodata, np.dtype(dtype))
    rasters = look_up(part for image in images for part in parts_of(image))
    return Scene(
        id=product.name,
        sensor="sentinel-2",
        bands=specs,
        geobox=geobox,
        area=Window(0, 0, geobox.shape.x, geobox.shape.y),
        dtype=dtype,
        reader=RasterReader(
            files=tuple((image, 1) for image in images),
            nodata=((float(sentinel2.NODATA_DN), *also),) * len(images),
            spans=spans if max(spans) > 1 else (),
        ),
        radiometry=tuple(values.reason for values in decided),
        identity={"product": product.name, "rasters": list(rasters.values())},
        datetime=product.acquired,
        nodata_declared=True,
        scaled=True,
        sources=(source,),
        rasters=rasters,
        files=tuple(rasters),
        properties={
            "platform": product.platform.lower(),
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "processing:level": f"L{product.level}",
        },
    )


def read_safe(source: str) -> SafeProduct:
    """Read the metadata of a ``.SAFE`` folder, of its metadata file's folder, or of a zip.

    Raises :class:`SourceError` when there is none or it cannot be understood.
    """
    path = Path(source)
    if path.suffix.lower() == ".zip":
        content, root, name = _from_zip(path)
    else:
        folder = path.parent if path.name in _METADATA else path
        metadata = next((folder / name for name in _METADATA if (folder / name).is_file()), None)
        if metadata is None:
            raise SourceError(f"{source} holds no {' or '.join(_METADATA)}: it is not a .SAFE product")
        _check_metadata_size(metadata.stat().st_size, metadata)
        content, root, name = metadata.read_bytes(), str(folder.resolve()), folder.name
    try:
        tree = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise SourceError(f"the metadata of {source} are not XML: {error}") from error
    try:
        return _parse(tree, root, name.removesuffix(".SAFE"), source)
    except (ValueError, LookupError) as error:
        raise SourceError(f"the metadata of {source} are not as ESA writes them: {error!r}") from error


def _from_zip(path: Path) -> tuple[bytes, str, str]:
    """The metadata of the one product in a zip, at whatever depth, the GDAL path of its folder, and its name."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise SourceError(
                    f"{path} holds {len(members)} files, and a .SAFE product some hundred: extract it first"
                )
            # Of a file that a zip holds twice the last counts.
            found = {one.filename: one for one in members if PurePosixPath(one.filename).name in _METADATA}
            member = _only_product(list(found.values()), members, path)
            _check_metadata_size(member.file_size, path)
            content = archive.read(member)
    except UNREADABLE_ZIP as error:
        raise SourceError(f"{path} is not a zip file that can be read: {error}") from error
    folder = PurePosixPath(member.filename).parent
    inner = "" if folder == PurePosixPath(".") else f"/{folder}"
    return content, f"/vsizip/{path.resolve()}{inner}", folder.name or path.stem


def _check_metadata_size(size: int, path: Path) -> None:
    if size > _MOST_METADATA_BYTES:
        raise SourceError(f"{path} holds metadata of {size} bytes: those of a .SAFE product take less than a million")


def _only_product(found: Sequence[zipfile.ZipInfo], members: Sequence[zipfile.ZipInfo], path: Path) -> zipfile.ZipInfo:
    """The metadata file of the one product in a zip. Raises :class:`SourceError` where there are several, or none."""
    if len(found) == 1:
        return found[0]
    if found:
        products = [str(PurePosixPath(one.filename).parent) for one in found]
        raise SourceError(
            f"{path} holds {len(products)} products, {_listed(products)}: extract it, and name one of them"
        )
    zips = [one.filename for one in members if one.filename.lower().endswith(".zip")]
    inside = f", but zip files, {_listed(zips)}: extract it, and name one of them" if zips else ""
    raise SourceError(
        f"{path} holds no {' or '.join(_METADATA)}" + (inside or ": it is not the zip of a .SAFE product")
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _parse(tree: ElementTree.Element, root: str, name: str, source: str) -> SafeProduct:
    def text(*tags: str) -> str | None:
        for tag in tags:
            found = next((e for e in tree.iter() if _local(e.tag) == tag and e.text), None)
            if found is not None:
                return str(found.text).strip()
        return None

    baseline = text("PROCESSING_BASELINE")
    quantification = text("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
    acquired = text("DATATAKE_SENSING_START", "PRODUCT_START_TIME")
    if baseline is None or quantification is None or acquired is None:
        raise SourceError(
            f"the metadata of {source} lack PROCESSING_BASELINE, a quantification value or a sensing time"
        )
    images = tuple(
        f"{e.text.strip()}.jp2" for e in tree.iter() if _local(e.tag) in ("IMAGE_FILE", "IMAGE_FILE_2A") and e.text
    )
    granules = {PurePosixPath(image).parts[1] for image in images}
    if len(granules) != 1:
        raise SourceError(
            f"{source} holds {len(granules)} granules: products of one tile, as of 2016 and later, are read"
        )
    return SafeProduct(
        root=root,
        name=name,
        level="2A" if "2A" in (text("PROCESSING_LEVEL") or "") else "1C",
        baseline=baseline,
        acquired=dt.datetime.fromisoformat(acquired.replace("Z", "+00:00")),
        platform=text("SPACECRAFT_NAME") or "sentinel-2",
        quantification=_positive(quantification),
        offsets_dn={
            _BAND_IDS[e.attrib["band_id"]]: float(e.text)
            for e in tree.iter()
            if _local(e.tag) in ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET") and e.text
        },
        images=images,
    )


def _common_grid(images: Sequence[str], name: str) -> tuple[GeoBox, tuple[int, ...], str]:
    """The finest grid, how many of its pixels each image's span, and the images' type."""
    grids, dtypes = [], set()
    for image in images:
        with open_raster(image) as raster:
            grids.append(grid_of_raster(raster))
            dtypes.add(str(raster.dtypes[0]))
    if len(dtypes) != 1:
        raise SourceError(f"the bands asked of {name} are of different types, {', '.join(sorted(dtypes))}")
    try:
        geobox, spans = finest(grids)
    except ValueError as error:
        raise SourceError(f"the bands asked of {name} are on {error}: ask for others") from error
    if geobox.crs is None:
        raise SourceError(f"the images of {name} have no CRS")
    return geobox, spans, dtypes.pop()


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise ValueError(f"quantification value {text}")
    return value


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
