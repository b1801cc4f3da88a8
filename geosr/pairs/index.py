"""The set as it is kept: patches in shards, and an index of Items that says what each is and where it came from.

``index.json`` is a STAC ItemCollection in form; where no date is known, an Item's ``datetime`` is null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from safetensors.numpy import load_file, save

import tiling
from catalog.strict_json import to_json
from geosr.pairs.block_work import DN_OFFSET, DN_PER_REFLECTANCE, Unit
from geosr.pairs.config import PairsConfig
from geosr.pairs.plan import Block
from geosr.pairs.sources import Match, PairView
from geosr.registration.shift_surface import ShiftSurface
from geosr.version import VERSION

INDEX = "index.json"
SHARDS = "shards"


def write_shards(output: Path, kept: Sequence[Unit], per_shard: int) -> list[tuple[str, int]]:
    """Put the patches of finished units together; returns each one's shard, relative to ``output``, and place in it."""
    folder = output / SHARDS
    folder.mkdir(exist_ok=True)
    places: list[tuple[str, int]] = []
    for number, first in enumerate(range(0, len(kept), per_shard)):
        patches = [load_file(unit.tensors) for unit in kept[first : first + per_shard]]
        name = f"{SHARDS}/{number:05d}.safetensors"
        joined = {key: np.stack([patch[key] for patch in patches]) for key in sorted(patches[0])}
        tiling.write(output / name, [save(joined)])
        places += [(name, place) for place in range(len(patches))]
    return places


def write_index(
    output: Path,
    config: PairsConfig,
    identity: str,
    matches: Sequence[Match],
    surfaces: Sequence[ShiftSurface | None],
    found: Sequence[tuple[Block, dict[str, Any], dict[str, Any]]],
    places: Sequence[tuple[str, int]],
) -> None:
    """Write ``index.json``, whose presence says that the set is whole.

    ``found`` are the kept blocks with what was measured before and after; ``places`` those of their patches.
    """
    features = [
        _item(config, matches[block.match], block, before, after, place)
        for (block, before, after), place in zip(found, places, strict=True)
    ]
    content = {
        "type": "FeatureCollection",
        "geosr:pair_set": {
            "name": config.name,
            "geosr_version": VERSION,
            "identity_sha256": identity,
            "bands": list(config.bands),
            "scale": config.scale,
            "patch_lr_px": config.patch_lr_px,
            "mtf_nyquist": list(config.transfers),
            "dn": {"scale": 1 / DN_PER_REFLECTANCE, "offset": -DN_OFFSET / DN_PER_REFLECTANCE},
            "tensors": {
                "lr": "uint16 (patches, bands, rows, cols)",
                "hr": "uint16 (patches, bands, scale rows, scale cols), in LR's radiometry",
                "valid": "uint8 (patches, rows, cols), 1 where both sensors measured",
            },
            "matches": [_match(*one) for one in zip(matches, surfaces, strict=True)],
            "configuration": config.model_dump(mode="json"),
        },
        "features": features,
    }
    tiling.write(output / INDEX, [(to_json(content, indent=1) + "\n").encode()])


def read_identity(output: Path) -> str | None:
    """The identity of the set that is complete in a folder; None where there is none."""
    path = output / INDEX
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return str(content["geosr:pair_set"]["identity_sha256"])
    except (ValueError, KeyError, TypeError):
        return ""


def _match(match: Match, surface: ShiftSurface | None) -> dict[str, Any]:
    return {
        "lr": _source(match.lr),
        "hr": _source(match.hr),
        "days": None if match.days is None else round(match.days, 3),
        "shift": None
        if surface is None
        else {
            "order": surface.order,
            "rows": [round(value, 5) for value in surface.down],
            "cols": [round(value, 5) for value in surface.across],
            "bounds": list(surface.bounds),
            "patches": surface.patches,
            "outliers": surface.outliers,
            "spread_px": round(surface.spread_px, 5),
        },
    }


def _source(view: PairView) -> dict[str, Any]:
    scene = view.scene
    return {
        "id": scene.id,
        "datetime": None if scene.datetime is None else scene.datetime.isoformat(),
        "sources": list(scene.sources),
        "radiometry": [scene.radiometry[i] for i in view.order],
        "notes": list(scene.notes),
    }


def _item(
    config: PairsConfig,
    match: Match,
    block: Block,
    before: dict[str, Any],
    after: dict[str, Any],
    place: tuple[str, int],
) -> dict[str, Any]:
    grid: GeoBox = match.lr.scene.geobox[block.window.toslices()]
    ground = grid.footprint("EPSG:4326", npoints=2)
    when = match.lr.scene.datetime
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": block.key,
        "geometry": ground.json,
        "bbox": [round(value, 8) for value in ground.boundingbox.bbox],
        "properties": {
            "datetime": None if when is None else when.isoformat(),
            **dict(_projection(grid)),
            "geosr:lr": match.lr.scene.id,
            "geosr:hr": match.hr.scene.id,
            "geosr:shift_px": before["shift"][:2],
            "geosr:residual_px": after["residual"][:2],
            "geosr:residual_error_px": after["residual"][2],
            "geosr:correlation_before": before["correlations"],
            "geosr:correlation": after["correlations"],
            "geosr:gain": after["gains"],
            "geosr:offset": after["offsets"],
            "geosr:valid": after["valid"],
            "geosr:changed": after["changed"],
            "geosr:patch": place[1],
        },
        "links": [],
        "assets": {"patch": {"href": place[0], "roles": ["data"], "type": "application/octet-stream"}},
    }


def _projection(grid: GeoBox) -> Iterator[tuple[str, Any]]:
    """The LR patch's grid, in the fields of the projection extension."""
    if grid.crs is not None and grid.crs.epsg is not None:
        yield "proj:code", f"EPSG:{grid.crs.epsg}"
    elif grid.crs is not None:
        yield "proj:wkt2", grid.crs.to_wkt()
    yield "proj:shape", list(grid.shape.yx)
    yield "proj:transform", list(grid.affine)[:6]
