"""Kinds of input that ``scripts/fuzz.py`` mutates: how each is made, run, and held against what is right."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.warp
import yaml
from affine import Affine
from shapely.geometry import box, mapping

from geosr.progress import QuietReporter
from geosr.run.checkpoint import work_folder
from geosr.run.pipeline import super_resolve
from scripts.fuzz_checks import consistent_product, equal_bytes, nearest_product
from scripts.mutations import mutate_bytes, mutate_json, mutate_value
from tests.conftest import REPOSITORY, RGBN, SAMPLE, write_raster
from tests.safe_product import write_safe, zip_safe
from tests.small_model import write_small_model
from tests.stac_items import write_item
from tests.upscaling import upscale_request

Check = Callable[[Path], str | None]


@dataclass(frozen=True)
class Case:
    """One mutated input, the command that takes it, and the check of what the command leaves."""

    mutation: str
    arguments: list[str]
    check: Check
    """Names what is wrong with the folder after exit code 0; None if all is right."""


class Inputs:
    """Sound inputs, made once, of which each case takes a copy."""

    def __init__(self, folder: Path) -> None:
        with rasterio.open(SAMPLE) as raster:
            self.dn = raster.read()[:, 40:64, 40:64].clip(1)
        self.folder = folder
        self.item = write_item(folder / "item", "one", self.dn)
        other = write_item(folder / "item", "two", self.dn, datetime="2023-08-20T10:00:31Z")
        features = [json.loads(path.read_text()) for path in (self.item, other)]
        self.search = folder / "search.json"
        self.search.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        self.safe = write_safe(folder, self.dn, baseline="05.11")
        self.zip = zip_safe(self.safe)
        (folder / "model").mkdir()
        self.card = write_small_model(folder / "model")
        self.rasters = list(self._rasters())
        self.source = write_raster(folder / "source.tif", self.dn)
        self.product, self.unfinished = self._run(folder / "finished"), self._run(folder / "unfinished", stop=True)

    def _rasters(self) -> Any:
        folder, dn = self.folder, self.dn
        yield write_raster(folder / "plain.tif", dn)
        yield write_raster(folder / "deflate.tif", dn, compress="deflate", predictor=2, nodata=0)
        reflectance = dn.astype(np.float32) / 10000
        yield write_raster(folder / "tiled.tif", reflectance, tiled=True, blockxsize=16, blockysize=16, compress="zstd")
        yield write_raster(folder / "scaled.tif", dn.astype(np.int16), scale=1e-4, offset=0.0, nodata=-9999)
        masked = write_raster(folder / "masked.tif", dn, interleave="pixel")
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(masked, "r+") as raster:
            raster.write_mask(np.triu(np.full(dn.shape[1:], 255, np.uint8)))
        yield masked

    def _run(self, folder: Path, *, stop: bool = False) -> Path:
        """A product of four chunks; with ``stop`` interrupted before it is assembled."""
        folder.mkdir()
        # In a process of its own: those of cases are copies of this one, and copies of threads stand still.
        child = os.fork()
        if child == 0:
            try:
                with contextlib.suppress(KeyboardInterrupt):
                    _make_product(self.source, folder / "out.tif", stop)
                os._exit(0)
            finally:
                os._exit(1)
        if os.waitpid(child, 0)[1] != 0:
            raise RuntimeError("a sound input gives no product")
        return folder


def _make_product(source: Path, output: Path, stop: bool) -> None:
    class Stop(QuietReporter):
        def stage(self, text: str) -> None:
            if stop:
                raise KeyboardInterrupt

    super_resolve(upscale_request(source, output, model="nearest", core_px=12), Stop())


def geotiff(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Bytes of GeoTIFFs of five forms."""
    chosen = chance.choice(inputs.rasters)
    content, told = mutate_bytes(chosen.read_bytes(), chance)
    (folder / "in.tif").write_bytes(content)
    return Case(f"{chosen.name}: {told}", _upscale("in.tif"), nearest_product("in.tif"))


def raster_tags(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Type, scale, offset, nodata, fills, grid, CRS and names of rasters."""
    dtype = chance.choice(("uint16", "int16", "int32", "uint32", "float32", "float64", "uint8"))
    dn = inputs.dn.astype(np.float64)
    unit = chance.choice((1, 1, 1e-4, 1e-2, 100, 0.025))
    fill = chance.choice((None, None, -9999, -32768, 65535, 0, -3.4e38, 1e20, 9999, -1, 255, np.nan))
    scale, offset = chance.choice((None, 1e-4, 1.0, 1e4, 1e-2, -1e-4)), chance.choice((None, None, 0, -0.1, -1000, 0.1))
    side = chance.choice((10.0, 10.0, 10.0, 1e-4, 30.0, 0.0, 1e300, float("nan"), 1e-320))
    skew = chance.choice((0.0, 0.0, 0.0, 1e-15, 1e-9, 3.0))
    corner = chance.choice(((4e5, 5.3e6), (4e5, 5.3e6), (13.0, 47.0), (0.0, 0.0), (float("inf"), 0.0)))
    crs = chance.choice(("EPSG:32633", "EPSG:32633", "EPSG:4326", "EPSG:3857", "EPSG:3413", "EPSG:5041", None))
    names = chance.choice((RGBN, RGBN, ("blue", "green", "red", "nir"), (), ("SR_B2", "SR_B3", "SR_B4", "SR_B5")))
    share, nodata = chance.choice((0.002, 0.05, 0.3, 0.9)), chance.choice((None, None, 0, -9999, fill))
    options = f"{dtype} ×{unit} fill {fill} ({share}) nodata {nodata} scale {scale} offset {offset} {side} {skew} {crs}"
    values = dn * unit
    if fill is not None:
        values[:, np.random.default_rng(chance.randrange(2**32)).random(dn.shape[1:]) < share] = fill
    limits = None if dtype.startswith("float") else np.iinfo(dtype)
    if limits is not None:
        values = np.nan_to_num(values).clip(limits.min, limits.max)
        nodata = nodata if nodata is None or limits.min <= nodata <= limits.max else None
    with np.errstate(over="ignore"):
        pixels = values.astype(dtype)
    transform = Affine(side, skew, corner[0], skew, -side, corner[1])
    write_raster(
        folder / "in.tif",
        pixels,
        names=names,
        crs=crs,
        transform=transform,
        nodata=nodata,
        scale=scale,
        offset=offset,
    )
    return Case(options, _upscale("in.tif"), nearest_product("in.tif"))


def safe(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Bytes of JPEG 2000 images and metadata of .SAFE products."""
    product = Path(shutil.copytree(inputs.safe, folder / inputs.safe.name))
    files = sorted(path for path in product.rglob("*") if path.is_file() and "_20m" not in path.name)
    chosen = chance.choice([chance.choice(files), next(path for path in files if path.suffix == ".xml")])
    content, told = mutate_bytes(chosen.read_bytes(), chance)
    chosen.write_bytes(content)
    images = sorted(str(path.relative_to(folder)) for path in product.rglob("*_10m.jp2"))
    return Case(f"{chosen.name}: {told}", _upscale(product.name), nearest_product(*images))


def zip_archive(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Bytes of zips of products."""
    content, told = mutate_bytes(inputs.zip.read_bytes(), chance)
    if chance.random() < 0.3:
        # The directory of a zip is at its end.
        tail, told = mutate_bytes(content[-2000:], chance)
        content = content[:-2000] + tail
    (folder / "in.zip").write_bytes(content)
    images = sorted(str(path) for path in inputs.safe.rglob("*_10m.jp2"))
    return Case(told, _upscale("in.zip"), nearest_product(*images, damaged=True))


def item(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Fields and bytes of STAC Items."""
    content, told = mutate_json(inputs.item.read_text(), chance)
    (folder / "in.json").write_bytes(content)
    images = [str(inputs.item.with_name(f"one_{band}.tif")) for band in RGBN]
    return Case(told, _upscale("in.json"), nearest_product(*images, area=True))


def search(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Fields and bytes of search results."""
    content, told = mutate_json(inputs.search.read_text(), chance)
    (folder / "in.json").write_bytes(content)
    images = [str(inputs.item.with_name(f"{name}_{band}.tif")) for name in ("one", "two") for band in RGBN]
    return Case(told, _upscale("in.json", *chance.choice(([], ["--fill"]))), nearest_product(*images, area=True))


def weights(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Bytes of safetensors, with a card that names them as they are, or as they were."""
    shutil.copytree(inputs.card.parent, folder / "model")
    path = folder / "model" / "own.safetensors"
    content, told = mutate_bytes(path.read_bytes(), chance)
    path.write_bytes(content)
    if chance.random() < 0.8:
        card = json.loads((folder / "model" / "mine.json").read_text())
        card["weights_sha256"] = hashlib.sha256(content).hexdigest()
        (folder / "model" / "mine.json").write_text(json.dumps(card))
        told += ", card follows"
    return Case(told, _upscale(str(inputs.source), model="model/mine.json"), consistent_product(inputs.source))


def card(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Fields and bytes of model cards."""
    shutil.copytree(inputs.card.parent, folder / "model")
    path = folder / "model" / "mine.json"
    content, told = mutate_json(path.read_text(), chance)
    path.write_bytes(content)
    return Case(told, _upscale(str(inputs.source), model="model/mine.json"), consistent_product(inputs.source))


def config(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Fields and bytes of configurations for training, pairs and sensors."""
    configs = REPOSITORY / "configs"
    chosen = chance.choice(
        [
            *sorted(configs.glob("rgbn*.yaml")),
            *sorted(configs.glob("pairs*.yaml")),
            *sorted(configs.glob("s2*.yaml")),
            REPOSITORY / "catalog" / "profiles" / "landsat-oli.yaml",
        ]
    )
    text, told = chosen.read_text(encoding="utf-8"), ""
    if chance.random() < 0.3:
        content, told = mutate_bytes(text.encode(), chance)
    else:
        value, told = mutate_value(yaml.safe_load(text), chance)
        content = yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")
    (folder / "in.yaml").write_bytes(content)
    (folder / "data").mkdir()
    commands = {
        "pairs": ["pairs", "build", "in.yaml", "--data", "data", "-o", "set"],
        "landsat-oli": _upscale(str(inputs.source), "--sensor", "in.yaml", "--bands", "B02,B03,B04,B05"),
    }
    command = commands.get(chosen.stem.partition("_")[0], ["train", "in.yaml", "--data", "data", "-o", "run"])
    return Case(f"{chosen.name}: {told}", command, nearest_product(str(inputs.source)))


def area(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Fields and bytes of GeoJSON areas."""
    with rasterio.open(inputs.item.with_name("one_B02.tif")) as raster:
        west, south, east, north = rasterio.warp.transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
    part = box(west + (east - west) / 4, south + (north - south) / 4, (west + east) / 2, (south + north) / 2)
    content, told = mutate_json(json.dumps({"type": "Feature", "properties": {}, "geometry": mapping(part)}), chance)
    (folder / "in.geojson").write_bytes(content)
    images = [str(inputs.item.with_name(f"one_{band}.tif")) for band in RGBN]
    return Case(told, _upscale(str(inputs.item), "--aoi", "in.geojson"), nearest_product(*images, area=True))


def manifest(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Bytes of manifests of unfinished runs."""
    return _resumed(inputs, folder, chance, "manifest.json")


def chunks(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Bytes of chunks of unfinished runs."""
    return _resumed(inputs, folder, chance, "r*.tif")


def product(inputs: Inputs, folder: Path, chance: random.Random) -> Case:
    """Bytes of finished products and their Items."""
    for path in inputs.product.iterdir():
        shutil.copy2(path, folder)
    chosen = folder / chance.choice(("out.tif", "out.tif", "out.json"))
    mutate = mutate_bytes if chosen.suffix == ".tif" else lambda content, some: mutate_json(content.decode(), some)
    content, told = mutate(chosen.read_bytes(), chance)
    chosen.write_bytes(content)
    command = _upscale(str(inputs.source), "--core", "12")
    return Case(f"{chosen.name}: {told}", command, equal_bytes(inputs.product / "out.tif"))


def _resumed(inputs: Inputs, folder: Path, chance: random.Random, pattern: str) -> Case:
    own = work_folder(folder / "out.tif")
    shutil.copytree(work_folder(inputs.unfinished / "out.tif"), own)
    chosen = chance.choice(sorted(own.glob(pattern)))
    content, told = mutate_bytes(chosen.read_bytes(), chance)
    chosen.write_bytes(content)
    command = _upscale(str(inputs.source), "--core", "12")
    return Case(f"{chosen.name}: {told}", command, equal_bytes(inputs.product / "out.tif"))


def _upscale(source: str, *more: str, model: str = "nearest") -> list[str]:
    return ["upscale", source, "-o", "out.tif", "--model", model, "--precision", "float32", "-q", *more]


#: By name.
KINDS: dict[str, Callable[[Inputs, Path, random.Random], Case]] = {
    "GeoTIFF": geotiff,
    "raster tags": raster_tags,
    ".SAFE": safe,
    "zip": zip_archive,
    "STAC Item": item,
    "search": search,
    "weights": weights,
    "model card": card,
    "configuration": config,
    "area": area,
    "manifest": manifest,
    "chunks": chunks,
    "product": product,
}
