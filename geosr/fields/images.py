"""Images that fields are measured in: products with their layers, and the sources that these were made of."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

import catalog
from catalog import CatalogError, Scene, SceneRequest
from catalog.items import is_item
from catalog.publish import PRODUCT
from catalog.raster import open_raster_scene
from catalog.safe import is_safe
from geosr.batch.scenes import scenes_of
from geosr.change.dates import ProductReader, SceneReader
from geosr.errors import UsageError
from geosr.run.item_file import describes, item_path
from geosr.run.uncertainty_layers import EARLIER_NAMES, HALF_WIDTH, MEASURED, layer_path, layer_paths
from tiling import Location

#: Value of the measured layer where nothing was measured.
_NOTHING_MEASURED = 255

#: A product and its source are of one date if their times differ by less.
_ONE_DATE = dt.timedelta(hours=24)


@dataclass(frozen=True)
class FieldImage:
    """One date: a product, or a source by itself."""

    name: str
    source: str
    """Path or address of what was named."""
    scene: Scene
    """The image's own pixels."""
    time: dt.datetime
    product: Path | None = None
    """COG of a product; None for a source."""
    model: str = ""
    """Model of a product."""
    weights: str = ""
    """Digest of its weights."""
    manifest: str = ""
    """Digest of all that determines a product."""
    derived_from: tuple[str, ...] = ()
    """Sources of a product."""

    @property
    def gsd_m(self) -> float | None:
        """Side of its pixels, metres."""
        return catalog.gsd_m_of(self.scene.geobox)

    @property
    def identity(self) -> str:
        """Text that another image, or a change of this one, does not have."""
        if self.product is None:
            return json.dumps(dict(self.scene.identity), sort_keys=True, default=str)
        # A product that is made anew, or moved, in the same way is the same.
        layers = sorted(path.name for path in layer_paths(self.product) if path.exists())
        return json.dumps([self.name, self.manifest, layers])

    def read(self, bands: Sequence[str], window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Reflectance ``(bands, rows, cols)`` and the pixels where all of them are measured."""
        return SceneReader(self.scene, tuple(bands)).read(window)

    def half_widths(self, bands: Sequence[str]) -> ProductReader | None:
        """Reader of the half-widths of pixels; None without the layer."""
        if self.product is None or not (path := layer_path(self.product, HALF_WIDTH)).exists():
            return None
        return ProductReader(path, tuple(self._band(name) for name in bands), widths=True)

    def measured_fraction(self, window: Window) -> NDArray[np.float32] | None:
        """Measured share of the local detail, 0 to 1, NaN where nothing is; None without the layer."""
        if self.product is None:
            return None
        names = (MEASURED, EARLIER_NAMES[MEASURED])
        path = next((one for name in names if (one := layer_path(self.product, name)).exists()), None)
        if path is None:
            return None
        with rasterio.open(path) as raster:
            percent = raster.read(1, window=window)
        share: NDArray[np.float32] = np.where(percent == _NOTHING_MEASURED, np.nan, percent / 100).astype(np.float32)
        return share

    def _band(self, name: str) -> catalog.BandSpec:
        return self.scene.bands[self.scene.names.index(name)]


def images_of(sources: Sequence[str], bands: Sequence[str]) -> list[FieldImage]:
    """Open products, folders of them, and sources, in the order of their times.

    Raises :class:`UsageError` and :class:`catalog.CatalogError`, also for an image without a needed band or a time.
    """
    named = [scene.source for scene in scenes_of(sources)]
    paths = [Path(one) for one in named if "://" not in one]
    layers: set[Location] = set().union(*(layer_paths(path) for path in paths))
    images = [_image_of(one, bands) for one in named if Path(one) not in layers]
    images.sort(key=lambda image: (image.time, image.name))
    for one, other in pairwise(images):
        if (one.name, one.time) == (other.name, other.time):
            raise UsageError(f"{one.source} and {other.source} have one name and one time: name one of them")
    return images


def open_source(image: FieldImage, bands: Sequence[str], *, remote: bool) -> FieldImage | str:
    """Open what a product was made of, in the radiometry of the product; or say why that cannot be."""
    sources = image.derived_from
    if not sources:
        return "its Item names no source"
    if not remote and any("://" in one for one in sources):
        return "its source is on a server (--remote-sources reads it)"
    try:
        scene = catalog.open_scene(SceneRequest(sources[0], sources[1:], bands=_asked(sources[0], bands)))
    except CatalogError as error:
        return str(error)
    time = _date_of(scene.datetime, scene.period)
    if time is not None and abs(time - image.time) > _ONE_DATE:
        return f"{scene.id} is of another date, {time:%Y-%m-%d}"
    missing = [band for band in bands if band not in scene.names]
    if missing:
        return f"{scene.id} has no {', '.join(missing)}"
    own = image.scene
    specs = tuple(
        replace(
            one, scale=own.bands[own.names.index(one.name)].scale, offset=own.bands[own.names.index(one.name)].offset
        )
        if one.name in own.names
        else one
        for one in scene.bands
    )
    return replace(image, scene=replace(scene, bands=specs), source=sources[0], product=None)


def cloud_masked(image: FieldImage, bands: Sequence[str]) -> Scene | None:
    """A source without the pixels under clouds; None where it has no classification."""
    first, *more = image.derived_from or (image.source,)
    if not (is_item(first) or is_safe(first)):
        return None
    try:
        return catalog.open_scene(SceneRequest(first, tuple(more), bands=tuple(bands), mask_clouds=True))
    except CatalogError:
        return None


def _asked(source: str, bands: Sequence[str]) -> Sequence[str] | None:
    """Bands to ask a source for: a raster has all of its own."""
    return tuple(bands) if is_item(source) or is_safe(source) else None


def _image_of(source: str, bands: Sequence[str]) -> FieldImage:
    item = _product_item(source)
    if item is not None:
        image = _product(source, *item)
    else:
        scene = catalog.open_scene(SceneRequest(source, bands=_asked(source, bands)))
        time = _date_of(scene.datetime, scene.period)
        if time is None:
            raise UsageError(
                f"{source} does not tell when it was acquired, and a table of dates needs it: set its time with "
                "gdal_edit.py -mo ACQUISITIONDATETIME=2024-06-01T10:00:00Z, or name its STAC Item"
            )
        image = FieldImage(scene.id, source, scene, time)
    missing = [band for band in bands if band not in image.scene.names]
    if missing:
        raise UsageError(f"{source} has no {' and no '.join(missing)}, which the measures need: leave it or them out")
    affine = image.scene.geobox.affine
    if image.scene.geobox.crs is None or affine.b or affine.d:
        raise UsageError(f"{source} has no CRS or is rotated: fields cannot be laid over it")
    return image


def _product_item(source: str) -> tuple[Path, dict[str, Any]] | None:
    """COG and Item of a product that is named by either; None for a source."""
    path = Path(source)
    if "://" in source or not path.is_file():
        return None
    cog = None
    if path.suffix.lower() != ".json":
        cog, path = path, Path(str(item_path(path)))
        if not (path.exists() and describes(path, cog)):
            return None
    content = _content(path)
    try:
        cog = cog or path.parent / content["assets"]["data"]["href"]
        own = content["properties"]["processing:expression"]["format"] == PRODUCT
    except (LookupError, TypeError):
        return None
    return (cog, content) if own and cog.is_file() else None


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _product(source: str, cog: Path, item: dict[str, Any]) -> FieldImage:
    """A product: its pixels are the COG's, scale, offset and time the Item's."""
    instant, *period = (
        None if told is None else _time(told)
        for told in map(item["properties"].get, ("datetime", "start_datetime", "end_datetime"))
    )
    time = _date_of(instant, (period[0], period[1]) if period[0] and period[1] else None)
    if time is None:
        raise UsageError(
            f"the Item of {cog} does not tell when it was acquired, and a table of dates needs it: make the product "
            "anew with --acquired"
        )
    described = item["assets"]["data"].get("bands", [])
    # Its DN are the source's, which were judged when it was made.
    scene = open_raster_scene(str(cog.resolve()), scale=1.0, offset=0.0)
    specs = [
        replace(band, scale=float(one["raster:scale"]), offset=float(one["raster:offset"]), name=str(one["name"]))
        for band, one in zip(scene.bands, described, strict=False)
    ]
    if len(specs) != len(scene.bands):
        raise UsageError(f"the Item of {cog} describes other bands than it has: make the product anew")
    with rasterio.open(cog) as raster:
        tags = raster.tags()
    links = [str(link["href"]) for link in item.get("links", []) if link.get("rel") == "derived_from"]
    return FieldImage(
        str(item["id"]),
        source,
        replace(scene, bands=tuple(specs)),
        time,
        cog,
        tags.get("GEOSR_MODEL", ""),
        tags.get("GEOSR_WEIGHTS_SHA256", ""),
        tags.get("GEOSR_MANIFEST", ""),
        tuple(_path_of(link) for link in links),
    )


def _time(told: str) -> dt.datetime:
    time = dt.datetime.fromisoformat(told)
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _date_of(instant: dt.datetime | None, period: tuple[dt.datetime, dt.datetime] | None) -> dt.datetime | None:
    """Time of an image: its instant, or the beginning of the day that it was acquired on; None for longer periods."""
    if instant is not None or period is None:
        return instant
    return period[0] if period[1] - period[0] < dt.timedelta(days=1) else None


def _path_of(address: str) -> str:
    parts = urlsplit(address)
    return unquote(parts.path) if parts.scheme == "file" else address
