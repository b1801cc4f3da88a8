"""Difference of two scenes on a web map's grid, at the source's resolution: nothing is super-resolved for it.

It is a difference as it is, without registration and without a judgement; ``geosr change`` has those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool

from geosr.service.live_scene import LiveScene
from geosr.service.tiles import render
from geosr.service.tiles.live_tiles import Tiles, TileView, limits_for, pixels_per, source_patch, window_under
from geosr.service.tiles.render import TileGrid

#: Differences are shown in these ranges by default: of indices, and of reflectance.
INDEX_RANGE = (-0.5, 0.5)
REFLECTANCE_RANGE = (-0.1, 0.1)


@dataclass(frozen=True)
class ChangeView:
    """Two scenes, and what is compared of them."""

    before: LiveScene
    after: LiveScene
    view: TileView

    def name(self, tiles: Tiles, grid: TileGrid) -> str:
        """Identity of a tile."""
        return f"{tiles.name(self.after, self.view, grid)}/since/{self.before.id}"

    async def tile(self, tiles: Tiles, grid: TileGrid) -> bytes:
        """A PNG of the later scene minus the earlier one: an index, or the mean reflectance of the bands shown."""
        return await tiles.kept(self.after, self.name(tiles, grid), lambda: run_in_threadpool(self._make, grid))

    def _make(self, grid: TileGrid) -> bytes:
        sides = [_shown(live, self.view.bands, grid) for live in (self.before, self.after)]
        colours, limits = change_colours(self.view.bands)
        if sides[0] is None or sides[1] is None:
            return render.empty_tile(grid.side_px)
        (before, known), (after, known_too) = sides[0], sides[1]
        there = known & known_too
        return render.encode_tile(after - before, there, limits_for(self.view, (limits,)), colormap=colours)


def change_colours(bands: str) -> tuple[str, tuple[float, float]]:
    """Colormap and range by which a combination's difference is shown."""
    combination = render.COMBINATIONS.get(bands)
    if combination is not None and combination.index:
        return combination.change_colormap, INDEX_RANGE
    return "rdbu_r", REFLECTANCE_RANGE


def _shown(live: LiveScene, bands: str, grid: TileGrid) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
    """Numbers of a scene that are compared, ``(1, rows, cols)``, and where they are known; None outside the scene."""
    combination = render.combination_of(bands, live.scene.names)
    window = window_under(live, grid)
    if window is None:
        return None
    patch = source_patch(live, window)
    indexes = [live.scene.names.index(band) for band in combination.bands]
    reflectance = live.reflectance(patch.pixels)[indexes]
    warped, there = render.warp(reflectance, patch.valid[indexes], patch.geobox, grid, pixels_per(live, grid, 1))
    if combination.index:
        return render.normalised_difference(warped), there
    return warped.mean(axis=0, keepdims=True), there


def combinations_of(available: Sequence[str]) -> list[dict[str, Any]]:
    """The named combinations that a scene has the bands for, with the legends of them and of their change."""
    found = []
    for name, one in render.COMBINATIONS.items():
        if not set(one.bands) <= set(available):
            continue
        entry = {"name": name, "title": one.title, "bands": list(one.bands), "index": one.index}
        legend = render.legend(one.colormap) if one.colormap else None
        found.append({**entry, "legend": legend, "change": change_legend(name)})
    return found


def change_legend(bands: str) -> dict[str, Any]:
    """Colours of a combination's difference, and its range."""
    colours, limits = change_colours(bands)
    return {"legend": render.legend(colours), "range": list(limits)}
