"""The scene of a request, with the bands and the area that a model can upscale."""

from __future__ import annotations

from dataclasses import replace

from rasterio.windows import Window

import catalog
from catalog import DateChoice, DateSeries, Scene, SceneRequest
from geosr.model.bands import coarse_bands, map_bands
from geosr.model.card import ModelCard
from geosr.model.purpose import notes_for


def open_for_model(request: SceneRequest, card: ModelCard) -> Scene:
    """Open the scene of a request with the bands that a model serves.

    Raises :class:`geosr.errors.ModelError` or :class:`catalog.CatalogError`.
    """
    return _served(catalog.open_scene(_with_defaults(request, card)), request, card)


def open_dates_for_model(request: SceneRequest, choice: DateChoice, card: ModelCard) -> DateSeries:
    """Open the dates of a request with the bands that a model serves.

    Raises as :func:`open_for_model`.
    """
    series = catalog.open_dates(_with_defaults(request, card), choice)
    reference = _served(series.reference, request, card)
    return replace(series.select(reference.names), reference=reference)


def _with_defaults(request: SceneRequest, card: ModelCard) -> SceneRequest:
    return replace(request, default_bands=card.bands or request.default_bands, default_sensor=card.sensor)


def _served(scene: Scene, request: SceneRequest, card: ModelCard) -> Scene:
    """The scene with the bands and the area that the model upscales."""
    roles = [band.role for band in scene.bands]
    mapping = map_bands(scene.names, card, plain_image=scene.plain_image, roles=roles, asked=request.bands)
    restricted = _restrict(scene, mapping.keep, mapping.note)
    if card.stack is not None:
        restricted = _in_whole_blocks(restricted, card)
    # Pixels of a plain image have no size, and its camera is unknown.
    finest = min((band.gsd_m for band in restricted.bands if band.gsd_m is not None), default=None)
    known = (None, None) if scene.plain_image else (scene.sensor, finest)
    return restricted.with_warnings(*notes_for(card, *known))


def _in_whole_blocks(scene: Scene, card: ModelCard) -> Scene:
    """The scene with an area that begins and ends where its coarse bands' pixels do."""
    span, area = card.span, scene.area
    rows, cols = (
        (start // span * span, min(-(-(start + length) // span) * span, side))
        for start, length, side in (
            (area.row_off, area.height, scene.geobox.shape.y),
            (area.col_off, area.width, scene.geobox.shape.x),
        )
    )
    whole = Window(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0])
    coarse = [band for band in scene.bands if band.name in coarse_bands(card)]
    scene = replace(scene, area=whole)
    finest = min((band.gsd_m for band in scene.bands if band.gsd_m is not None), default=None)
    if all(band.gsd_m is not None and finest is not None and band.gsd_m >= span * finest for band in coarse):
        return scene
    return scene.with_warnings(
        f"{', '.join(band.name for band in coarse)}: the source has them on its finest bands' grid; blocks of "
        f"{span} × {span} of its pixels are taken for one of theirs"
    )


def _restrict(scene: Scene, keep: tuple[str, ...], note: str | None) -> Scene:
    """The scene with the bands that the model serves, saying which are left out."""
    left_out = [name for name in scene.names if name not in keep]
    scene = scene.select(keep)
    if left_out:
        scene = scene.with_warnings(f"bands left out, for the model does not know them: {', '.join(left_out)}")
    return scene.with_warnings(note) if note else scene
