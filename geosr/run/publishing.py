"""Publishing: checks on what is at an output's paths, the STAC Item, and runs that are finished already."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

import catalog
import tiling
from catalog import Scene
from catalog.strict_json import json_text
from geosr.errors import ExistsError, UsageError
from geosr.run.item_file import ItemFile, item_path
from geosr.run.manifest import Manifest
from geosr.run.product import REFERENCE_MANIFEST, consistency_in, detail_of
from geosr.run.uncertainty_layers import OutputLayer, layer_paths
from geosr.run.upscale_run import Run
from geosr.version import VERSION
from tiling import NAME_BYTES, Location, Occupant, OutputError
from tiling.storage import explained

#: Endings that GDAL adds to a GeoTIFF's name.
_COMPANIONS = (".aux.xml", ".msk", ".ovr", ".msk.ovr", ".ovr.aux.xml")


@dataclass(frozen=True)
class Published:
    """Files that a run left."""

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
    """Resolve a symbolic link: the product goes to its target, which need not be there.

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


def occupants_of(run: Run) -> Mapping[Location, Occupant]:
    """Files at the paths of a run's rasters now, the only ones that it may replace; empty to replace any."""
    return {} if run.overwrite else {path: tiling.occupant(path) for path in run.rasters}


def publish(run: Run, layers: Sequence[OutputLayer], item_file: ItemFile) -> Location:
    """Write the STAC Item beside the COG and its layers; returns its path.

    What GDAL kept beside an earlier file of this name, and would read with this one, goes. To ``overwrite`` another
    run's product is to replace its layers as well: those go for which this run has none, and with its half-widths no
    reader takes another scene's for this one's.
    """
    scene, card, output, manifest = run.scene, run.card, run.output, run.manifest
    for path in (output, *(layer.path for layer in layers)):
        _remove_older_companions(path, scene)
    if run.overwrite:
        for path in layer_paths(output) - {layer.path for layer in layers}:
            others = path.exists() and _tags(path).get("GEOSR_MANIFEST", manifest.digest) != manifest.digest
            if others and not _is_source(path, scene):
                with explained(path):
                    path.unlink()
                _remove_companions(path, scene)
    item = catalog.item_of_result(
        run.described,
        catalog.Result(
            name=output.name,
            geobox=run.plan.geobox,
            dtype=run.product.dtype,
            nodata=run.product.nodata,
            software={"geosr": VERSION},
            lineage=f"Upscaled ×{card.scale} with model {card.name}. {detail_of(card)}.",
            expression={
                "model": card.name,
                "digest": card.digest,
                "manifest": manifest.digest,
                **({"sharpness": card.sharpness} if card.sharpness else {}),
                **({} if run.dates is None else {"dates": list(run.dates.report)}),
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


def finished_earlier(run: Run, item_file: ItemFile) -> Published | None:
    """Find the same run's output, all of it, and write its Item if a kill prevented that; None where it is not there.

    An Item that is there stays as it is, with assets and links that were added to it, unless it names the layers as an
    earlier version did.

    Raises :class:`ExistsError` when something else is in its place and must not be overwritten, or when the output is
    its own source.
    """
    item = item_file.path
    _check_places(run, item)
    if not run.output.exists():
        if item.exists() and not run.overwrite:
            raise ExistsError(f"{item}, where the STAC Item goes, exists: --overwrite replaces it")
        return None
    tags = _tags(run.output)
    if _is_of(tags, run.manifest):
        content = _content(item) if item.exists() else {}
        owned = _is_item_of(content, run.manifest)
        if item.exists() and not run.overwrite and not owned:
            raise ExistsError(f"{item} is not the STAC Item of {run.output}: --overwrite replaces it")
        layers = [_found(layer, run.manifest) for layer in run.layers]
        if not tiling.is_whole(run.output) or not all(_is_there(layer, run.manifest) for layer in layers):
            # This run's own output, damaged or incomplete since: made anew and put in its place.
            return None
        if not owned or not _assets_of(content) >= paths_of(layers).keys():
            run = run if run.dates is None else replace(run, dates=run.dates.reported(tags))
            publish(run, layers, item_file)
        consistency = consistency_in(tags, run.scene.names)
        return Published(run.output, item, 0, len(run.plan), consistency, paths_of(layers))
    if _is_kept(run, tags):
        return Published(run.output, item, 0, len(run.plan), consistency_in(tags, run.scene.names))
    if not run.overwrite:
        raise ExistsError(f"{run.output} exists and is not this run's: --overwrite replaces it")
    return None


def _is_kept(run: Run, tags: Mapping[str, str]) -> bool:
    """Tell whether an output is a product of the same reference with other dates, which is to be kept."""
    same = tags.get(REFERENCE_MANIFEST) == run.manifest.of_reference
    return run.keep_dates and same and not run.overwrite and tiling.is_whole(run.output)


def _check_places(run: Run, item: Location) -> None:
    """Refuse to write where something is that is no file, the source, or another run's. Raises as its caller."""
    for path in (*run.rasters, item):
        if _is_occupied(path) and not path.is_file():
            raise OutputError(f"cannot write {path}: it is not a file")
        if path.exists() and _is_source(path, run.scene):
            raise ExistsError(f"writing {path} would replace the source itself: write to another file")
    for layer in run.layers:
        # A kill may have left this run's own, before the product was in its place.
        if layer.path.exists() and not run.overwrite and not _is_of(_tags(layer.path), run.manifest):
            raise ExistsError(f"{layer.path} exists and is not this run's: --overwrite replaces it")
    for path in run.rasters:
        for one in companions(path) if not path.exists() else ():
            if one.exists() and not run.overwrite:
                raise ExistsError(f"{one} exists and would be read with {path}: --overwrite removes it")


def layers_beside(output: Location) -> list[Location]:
    """Paths of the layers beside a product that are of the same run."""
    run = _tags(output).get("GEOSR_MANIFEST")
    there = sorted((path for path in layer_paths(output) if path.exists()), key=str)
    return [path for path in there if run is not None and _tags(path).get("GEOSR_MANIFEST") == run]


def paths_of(layers: Sequence[OutputLayer]) -> dict[str, Location]:
    """Paths of layers, by their names."""
    return {layer.name: layer.path for layer in layers}


def _is_source(path: Location, scene: Scene) -> bool:
    if isinstance(path, Path):
        return any(Path(file).exists() and path.samefile(file) for file in scene.files)
    return any(source in (str(path), tiling.gdal_path(path)) for source in scene.sources)


def _is_occupied(path: Location) -> bool:
    """Tell whether something is at a path, be it a link to nothing."""
    return os.path.lexists(path) if isinstance(path, Path) else path.exists()


def _found(layer: OutputLayer, manifest: Manifest) -> OutputLayer:
    """The layer where an earlier version put this run's, unless it is in its own place."""
    earlier = layer.earlier_path
    if earlier is None or layer.path.exists() or not earlier.exists() or not _is_of(_tags(earlier), manifest):
        return layer
    return layer.placed(earlier)


def _is_there(layer: OutputLayer, manifest: Manifest) -> bool:
    return layer.path.exists() and _is_of(_tags(layer.path), manifest) and tiling.is_whole(layer.path)


def _is_of(tags: Mapping[str, str], manifest: Manifest) -> bool:
    return tags.get("GEOSR_MANIFEST") in manifest.digests


def _tags(path: Location) -> dict[str, str]:
    try:
        with rasterio.Env(), rasterio.open(tiling.gdal_path(path)) as raster:
            return dict(raster.tags())
    except RasterioError:
        return {}


def _content(item: Location) -> dict[str, Any]:
    """Content of a JSON file; empty where that is no object."""
    try:
        content = json.loads(json_text(item.read_bytes()))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _assets_of(content: Mapping[str, Any]) -> set[str]:
    assets = content.get("assets")
    return set(assets) if isinstance(assets, dict) else set()


def _is_item_of(content: Mapping[str, Any], manifest: Manifest) -> bool:
    try:
        return bool(content["properties"]["processing:expression"]["expression"]["manifest"] in manifest.digests)
    except (LookupError, TypeError):
        return False
