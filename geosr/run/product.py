"""What a run leaves behind: the product's form, its tags, its STAC Item, and whether it is there already."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError

import catalog
import tiling
from catalog import Scene, SourceError
from geosr.errors import ExistsError, UsageError
from geosr.inference.upscaler import ModelSpec
from geosr.model.card import ModelCard
from geosr.run.item_file import ItemFile, item_path
from geosr.run.manifest import Manifest
from geosr.run.uncertainty_layers import Layer, layer_paths
from geosr.version import VERSION
from tiling import NAME_BYTES, ChunkFile, ChunkPlan, Compression, Location, Occupant, OutputError, Product
from tiling.storage import explained

#: Endings that GDAL adds to a GeoTIFF's name.
_COMPANIONS = (".aux.xml", ".msk", ".ovr", ".msk.ovr", ".ovr.aux.xml")

ESTIMATED = "Detail finer than the source's resolution is estimated, not measured"

NOT_FOR_MEASURING = "detail is sharpened to look like imagery, more of it is false, and it is not for measuring"


@dataclass(frozen=True)
class Published:
    """What a run left."""

    cog: Location
    item: Location
    computed: int
    """Chunks computed by this run; the others were done before."""
    chunks: int
    consistency_dn: Mapping[str, float]
    """Mean absolute difference between the source and the result seen through the sensor, DN, per band."""
    layers: Mapping[str, Location] = field(default_factory=dict)
    """COGs beside it, by what they are."""


def follow_link(output: Location) -> Location:
    """Where a product goes whose path is a symbolic link: to what it points at, which need not be there.

    Raises :class:`UsageError` for links that lead round in a circle.
    """
    if not isinstance(output, Path) or not output.is_symlink():
        return output
    try:
        return output.resolve()
    except (OSError, RuntimeError) as error:
        raise UsageError(f"the output {output} is a link that leads to itself: give another path") from error


def check_output(output: Location, *, layers: bool = False) -> None:
    """Refuse an output that cannot be written, before anything is computed, ``layers`` beside it included.

    Raises :class:`UsageError` or :class:`tiling.OutputError`.
    """
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"the output {output} has to be a GeoTIFF: name it .tif")
    try:
        str(output).encode()
    except UnicodeEncodeError:
        raise UsageError("the name of the output is not UTF-8, and could not be written into its Item") from None
    for path in (output, item_path(output), *(layer_paths(output) if layers else ())):
        length = len(os.fsencode(path.name))
        if isinstance(path, Path) and length > NAME_BYTES:
            raise UsageError(
                f"{path.name[:40]}… would have a name of {length} bytes, and file systems take {NAME_BYTES}: give the "
                "output a shorter name"
            )
    with explained(output):
        if output.is_dir():
            raise UsageError(f"the output {output} is a folder: name a file in it")
        if isinstance(output, Path) and not output.parent.is_dir():
            raise OutputError(f"cannot write {output}: the folder {output.parent} does not exist")
        output.exists()


def occupants_of(output: Location, layers: Sequence[Layer], *, overwrite: bool) -> Mapping[Location, Occupant]:
    """What is at the paths of a run's rasters now, the only files that it may replace; empty to replace any file."""
    if overwrite:
        return {}
    return {path: tiling.occupant(path) for path in (output, *(layer.path for layer in layers))}


def product_of(scene: Scene, compression: Compression) -> Product:
    """The form of the output: type, bands and nodata as in the source."""
    return Product(
        dtype=scene.dtype,
        descriptions=tuple(band.description for band in scene.bands),
        nodata=scene.bands[0].nodata if scene.nodata_declared else None,
        assumed_nodata=scene.bands[0].nodata,
        scales=tuple(band.scale for band in scene.bands) if scene.scaled else (),
        offsets=tuple(band.offset for band in scene.bands) if scene.scaled else (),
        colours=tuple(band.colour.capitalize() for band in scene.bands),
        compression=compression,
    )


def aggregate_consistency(plan: ChunkPlan, files: Mapping[str, ChunkFile], scene: Scene) -> dict[str, float]:
    """Mean absolute consistency per band, DN, from what each chunk recorded.

    Raises :class:`catalog.SourceError` when no pixel of any band was measured.
    """
    counts, sums = [0] * len(scene.bands), [0.0] * len(scene.bands)
    for chunk in plan:
        count, absolute = json.loads(files[chunk.key].tags["CONSISTENCY"])
        for b in range(len(scene.bands)):
            counts[b] += count[b]
            sums[b] += absolute[b]
    if not any(counts):
        raise SourceError(f"{scene.id} has no valid pixel here: all are nodata")
    return {band.name: sums[b] / max(1, counts[b]) for b, band in enumerate(scene.bands)}


def notes_of(files: Mapping[str, ChunkFile]) -> list[str]:
    """What chunks have to say of how they were made, each once."""
    return sorted({file.tags["NOTE"] for file in files.values() if "NOTE" in file.tags})


def tags_of(
    scene: Scene, card: ModelCard, model: ModelSpec, manifest: Manifest, consistency_dn: Mapping[str, float]
) -> dict[str, str]:
    """Where the output comes from and how far to trust it. Nothing that changes from run to run."""
    tags = {
        **scene.tags,
        "GEOSR_VERSION": VERSION,
        "GEOSR_MODEL": card.name,
        "GEOSR_WEIGHTS_SHA256": card.weights_sha256 or "none",
        "GEOSR_ENGINE": str(model.engine),
        "GEOSR_SOURCE": scene.id,
        "GEOSR_RADIOMETRY": "; ".join(
            f"{band.name}: reflectance = DN * {band.scale:g} + {band.offset:g}" for band in scene.bands
        )
        + f" ({_reasons(scene)})",
        "GEOSR_CONSISTENCY_DN": ", ".join(f"{name} {value:.4g}" for name, value in consistency_dn.items()),
        "GEOSR_DETAIL": detail_of(card),
        "GEOSR_MANIFEST": manifest.digest,
    }
    if scene.sensor:
        tags["GEOSR_SENSOR"] = scene.sensor
    if card.sharpness and card.visual is not None:
        tags["GEOSR_SHARPNESS"] = f"{card.sharpness:g}"
        tags["GEOSR_VISUAL_WEIGHTS_SHA256"] = card.visual.weights_sha256
    if scene.notes:
        tags["GEOSR_NOTES"] = "; ".join(scene.notes)
    resolution = effective_resolution(scene, card)
    if resolution:
        tags["GEOSR_EFFECTIVE_RESOLUTION"] = resolution
    return tags


def _reasons(scene: Scene) -> str:
    """Why DN become reflectance as they do, for which bands where that differs."""
    bands: dict[str, list[str]] = {}
    for band, reason in zip(scene.bands, scene.radiometry, strict=True):
        bands.setdefault(reason, []).append(band.name)
    if len(bands) == 1:
        return next(iter(bands))
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in bands.items())


def detail_of(card: ModelCard) -> str:
    """What fine detail in a model's output is."""
    if card.sharpness:
        return f"{ESTIMATED}; visual product, sharpness {card.sharpness:g}: {NOT_FOR_MEASURING}"
    if card.learned:
        return ESTIMATED
    return (
        "Sharpened through the sensor's blur; nothing is learned" if card.steps else "Interpolated; no detail is added"
    )


def effective_resolution(scene: Scene, card: ModelCard) -> str | None:
    """Finest detail that is right, in metres where the pixels' size is known."""
    if card.effective_resolution_lr_px is None or scene.picture:
        return None
    gsd_m = catalog.gsd_m_of(scene.geobox)
    if gsd_m is None:
        return f"{card.effective_resolution_lr_px:.2f} source pixels"
    return f"{card.effective_resolution_lr_px * gsd_m:.1f} m"


def publish(
    output: Location,
    scene: Scene,
    card: ModelCard,
    plan: ChunkPlan,
    product: Product,
    manifest: Manifest,
    layers: Sequence[Layer] = (),
    *,
    item_file: ItemFile,
    overwrite: bool,
) -> Location:
    """Write the STAC Item beside the COG; returns its path.

    What GDAL kept beside an earlier file of this name, and would read with this one, goes. To ``overwrite`` another
    run's product is to replace its layers as well: those go for which this run has none, and with its half-widths no
    reader takes another scene's for this one's.
    """
    for path in (output, *(layer.path for layer in layers)):
        _remove_older_companions(path, scene)
    if overwrite:
        for path in layer_paths(output) - {layer.path for layer in layers}:
            others = path.exists() and _tags(path).get("GEOSR_MANIFEST", manifest.digest) != manifest.digest
            if others and not _is_source(path, scene):
                with explained(path):
                    path.unlink()
                _remove_companions(path, scene)
    item = catalog.item_of_result(
        scene,
        catalog.Result(
            name=output.name,
            geobox=plan.geobox,
            dtype=product.dtype,
            nodata=product.nodata,
            software={"geosr": VERSION},
            lineage=f"Upscaled ×{card.scale} with model {card.name}. {detail_of(card)}.",
            expression={
                "model": card.name,
                "digest": card.digest,
                "manifest": manifest.digest,
                **({"sharpness": card.sharpness} if card.sharpness else {}),
            },
            layers=[layer.asset for layer in layers],
        ),
    )
    text = catalog.to_json(item.to_dict(include_self_link=False), indent=2)
    tiling.write(item_file.path, [(text + "\n").encode()], expected=item_file.expected)
    return item_file.path


def companions(path: Location) -> list[Location]:
    """Files that GDAL reads together with a GeoTIFF: statistics and georeferencing, its mask and its overviews."""
    names = [path.name + ending for ending in _COMPANIONS]
    # No file system holds longer names.
    return [path.with_name(name) for name in names if len(os.fsencode(name)) <= NAME_BYTES]


def _remove_older_companions(path: Location, scene: Scene) -> None:
    """Remove what was beside a file before it was written: another file's mask would hide pixels of this one."""
    if not path.exists():
        return
    written = _modified(path)
    _remove_companions(path, scene, lambda one: _modified(one) <= written)


def _remove_companions(path: Location, scene: Scene, which: Callable[[Location], bool] = lambda _: True) -> None:
    for one in companions(path):
        if one.exists() and one.is_file() and not _is_source(one, scene) and which(one):
            with explained(one):
                one.unlink()


def _modified(path: Location) -> float:
    if isinstance(path, Path):
        return path.stat().st_mtime
    return float(path.fs.modified(path.path).timestamp())


def finished_earlier(
    output: Location,
    scene: Scene,
    card: ModelCard,
    plan: ChunkPlan,
    product: Product,
    manifest: Manifest,
    layers: Sequence[Layer] = (),
    *,
    item_file: ItemFile,
    overwrite: bool,
) -> Published | None:
    """The same run's output, when all of it is there already, with its Item written if a kill prevented that.

    Raises :class:`ExistsError` when something else is in its place and must not be overwritten, or when the output is
    its own source.
    """
    item = item_file.path
    for path in (output, item, *(layer.path for layer in layers)):
        if _is_occupied(path) and not path.is_file():
            raise OutputError(f"cannot write {path}: it is not a file")
        if path.exists() and _is_source(path, scene):
            raise ExistsError(f"writing {path} would replace the source itself: write to another file")
    for layer in layers:
        # A kill may have left this run's own, before the product was in its place.
        if layer.path.exists() and not overwrite and not _is_of(_tags(layer.path), manifest):
            raise ExistsError(f"{layer.path} exists and is not this run's: --overwrite replaces it")
    for path in (output, *(layer.path for layer in layers)):
        for one in companions(path) if not path.exists() else ():
            if one.exists() and not overwrite:
                raise ExistsError(f"{one} exists and would be read with {path}: --overwrite removes it")
    if not output.exists():
        if item.exists() and not overwrite:
            raise ExistsError(f"{item}, where the STAC Item goes, exists: --overwrite replaces it")
        return None
    tags = _tags(output)
    if _is_of(tags, manifest):
        if item.exists() and not overwrite and not _is_item_of(item, manifest):
            raise ExistsError(f"{item} is not the STAC Item of {output}: --overwrite replaces it")
        layers = [_found(layer, manifest) for layer in layers]
        if not tiling.is_whole(output) or not all(_is_there(layer, manifest) for layer in layers):
            # This run's own output, damaged or incomplete since: made anew and put in its place.
            return None
        publish(output, scene, card, plan, product, manifest, layers, item_file=item_file, overwrite=overwrite)
        return Published(output, item, 0, len(plan), _consistency_in(tags, scene.names), paths_of(layers))
    if not overwrite:
        raise ExistsError(f"{output} exists and is not this run's: --overwrite replaces it")
    return None


def layers_beside(output: Location) -> list[Location]:
    """Paths of the layers beside a product that are of the same run."""
    run = _tags(output).get("GEOSR_MANIFEST")
    there = sorted((path for path in layer_paths(output) if path.exists()), key=str)
    return [path for path in there if run is not None and _tags(path).get("GEOSR_MANIFEST") == run]


def paths_of(layers: Sequence[Layer]) -> dict[str, Location]:
    """Where each layer goes, by what it is."""
    return {layer.name: layer.path for layer in layers}


def _is_source(path: Location, scene: Scene) -> bool:
    if isinstance(path, Path):
        return any(Path(file).exists() and path.samefile(file) for file in scene.files)
    return any(source in (str(path), tiling.gdal_path(path)) for source in scene.sources)


def _is_occupied(path: Location) -> bool:
    """Whether something is at a path, be it a link to nothing."""
    return os.path.lexists(path) if isinstance(path, Path) else path.exists()


def _found(layer: Layer, manifest: Manifest) -> Layer:
    """The layer where an earlier version put this run's, unless it is in its own place."""
    earlier = layer.earlier_path
    if earlier is None or layer.path.exists() or not earlier.exists() or not _is_of(_tags(earlier), manifest):
        return layer
    return layer.placed(earlier)


def _is_there(layer: Layer, manifest: Manifest) -> bool:
    return layer.path.exists() and _is_of(_tags(layer.path), manifest) and tiling.is_whole(layer.path)


def _is_of(tags: Mapping[str, str], manifest: Manifest) -> bool:
    return tags.get("GEOSR_MANIFEST") in manifest.digests


def _tags(path: Location) -> dict[str, str]:
    try:
        with rasterio.Env(), rasterio.open(tiling.gdal_path(path)) as raster:
            return dict(raster.tags())
    except RasterioError:
        return {}


def _is_item_of(path: Location, manifest: Manifest) -> bool:
    try:
        properties = json.loads(path.read_text(encoding="utf-8"))["properties"]
        return bool(properties["processing:expression"]["expression"]["manifest"] in manifest.digests)
    except (ValueError, LookupError, TypeError):
        return False


def _consistency_in(tags: Mapping[str, str], names: Sequence[str]) -> dict[str, float]:
    """What :func:`tags_of` wrote. The names are known, and needed: they may hold commas and numbers themselves."""
    form = ", ".join(rf"{re.escape(name)} (\S+)" for name in names)
    found = re.fullmatch(form, tags.get("GEOSR_CONSISTENCY_DN", ""))
    return {} if found is None else dict(zip(names, map(float, found.groups()), strict=True))
