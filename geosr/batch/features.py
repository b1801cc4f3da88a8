"""A product for each feature of a vector file, of each scene that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pystac

import catalog
from catalog import AreaError, CatalogError, SceneRequest
from catalog.area import covered_share
from catalog.features import Feature
from catalog.items import ground_of
from geosr.batch.scenes import BatchScene, distinct, file_name
from geosr.errors import UsageError


def scenes_of_features(
    scenes: Sequence[BatchScene], features: Sequence[Feature], template: SceneRequest, items: Sequence[pystac.Item] = ()
) -> tuple[list[BatchScene], list[str]]:
    """List a scene for each feature that a scene shows, with the name ``SCENE_FEATURE``.

    Parameters
    ----------
    scenes
        Scenes of the batch.
    features
        Polygons with their names.
    template
        Options that scenes are opened with.
    items
        Items of the scenes where a search has found them: these are not opened.

    Returns
    -------
    tuple
        Scenes, and notes on features that none of them shows. A scene that cannot be opened has its ``fault``.

    Raises
    ------
    UsageError
        No scene shows a feature, or two would have one name.
    """
    found: list[BatchScene] = []
    seen: set[str | int] = set()
    by_source = {item.get_self_href(): item for item in items}
    for scene in scenes:
        try:
            shown = _shown(scene, [by_source.get(one) for one in scene.sources], features, template)
        except CatalogError as error:
            # Opened once more it might answer, and would be a product of the whole area.
            found.append(replace(scene, fault=str(error)))
            continue
        seen.update(one.id for one in shown)
        found += [replace(scene, name=file_name(f"{scene.name}_{one.id}"), area=one.polygon) for one in shown]
    if not found:
        raise UsageError("no scene shows a feature of --aoi: see the scenes' places with geosr info")
    missing = [str(one.id) for one in features if one.id not in seen]
    notes = [f"no scene shows {len(missing)} of {len(features)} features, as {missing[0]}"] if missing else []
    return distinct(found), notes


def _shown(
    scene: BatchScene, items: Sequence[pystac.Item | None], features: Sequence[Feature], template: SceneRequest
) -> list[Feature]:
    """Features that lie on a scene, by its Items or its own grid. Raises :class:`catalog.CatalogError`."""
    grounds = [ground_of(item) for item in items if item is not None]
    if len(grounds) == len(items):
        return [one for one in features if any(ground.intersects(one.polygon) for ground in grounds)]
    whole = replace(template, source=scene.source, more_sources=scene.joined, area=None)
    geobox = catalog.open_scene(whole).geobox
    if geobox.crs is None:
        raise AreaError(f"{scene.source} has no CRS, so features cannot be found in it")
    return [one for one in features if covered_share(one.polygon, geobox) > 0]
