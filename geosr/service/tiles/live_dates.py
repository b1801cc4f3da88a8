"""Several open scenes that make one image of the first, as ``geosr upscale`` makes one of several dates."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

import catalog
from geosr.inference.upscaled_window import UpscaledWindow
from geosr.run.dates import RunDates
from geosr.service.live_scene import LiveScene
from tiling import grow, whole

#: Between the ids of the scenes of several dates.
SEPARATOR = "+"

#: Sets of dates whose registration is kept.
_KEPT = 16


class LiveDates:
    """A reference and further scenes, registered once."""

    def __init__(self, reference: LiveScene, others: Sequence[LiveScene]) -> None:
        self.reference = reference
        self.others = tuple(others)
        self._lock = threading.Lock()
        self._surveyed: RunDates | None = None

    def surveyed(self) -> RunDates:
        """The dates with their shifts and weights; reads tiles all over every scene the first time.

        Raises :class:`geosr.errors.UsageError` or :class:`catalog.CatalogError`.
        """
        # PyTorch is loaded where dates are fused.
        from geosr.run.date_survey import survey_dates_of

        with self._lock:
            if self._surveyed is None:
                # By the names that clients know: uploads' files have all the same.
                scene, *others = (replace(one.scene, id=one.title) for one in (self.reference, *self.others))
                card = self.reference.model.card
                series = catalog.series_of_scenes(scene, others)
                dates = RunDates.of(series, None, card)
                self._surveyed = survey_dates_of(dates, scene, whole(scene.geobox), card)
            return self._surveyed

    def upscaled(self, window: Window) -> UpscaledWindow:
        """The reference's image of a window, corrected by the other dates; without what lies beyond its edges."""
        from geosr.dates.fuse import MARGIN_PX
        from geosr.run.date_survey import fuser_of

        dates, scene, card = self.surveyed(), self.reference.scene, self.reference.model.card
        assert dates.survey is not None
        outer = grow(window, MARGIN_PX)
        result = self.reference.upscaled(outer)
        # Dates have no reflections beyond the scene's edges.
        around = outer.intersection(whole(scene.geobox))
        image = _cut(result.image, outer, around, card.scale)
        others = dates.read(around)
        if others is not None:
            pixels, valid = self.reference.read(around)
            all_pixels = [pixels, *(one for one, _ in others)]
            all_valid = [valid, *(known for _, known in others)]
            corner = (int(around.row_off), int(around.col_off))
            image, _ = fuser_of(card, scene, dates.bands)(image, all_pixels, all_valid, dates.survey, corner)
        return replace(result, image=_cut(image, around, window, card.scale))


def _cut(image: NDArray[Any], own: Window, part: Window, scale: int) -> NDArray[Any]:
    """A part of an image, both given by their windows of the source; less where the image ends."""
    top, left = int(part.row_off - own.row_off), int(part.col_off - own.col_off)
    rows, cols = (
        slice(scale * start, scale * int(start + side)) for start, side in ((top, part.height), (left, part.width))
    )
    return np.ascontiguousarray(image[:, rows, cols])


class DatedScenes:
    """Scenes of several dates that were asked for last, and their registration, one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[LiveScene, Future[RunDates]]] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="dates")

    def get(self, reference: LiveScene, others: Sequence[LiveScene]) -> tuple[LiveScene, Future[RunDates]]:
        """The reference as a scene of several dates, and its registration, which is begun."""
        ordered = sorted(others, key=lambda one: one.id)
        name = SEPARATOR.join(one.id for one in (reference, *ordered))
        with self._lock:
            kept = self._kept.get(name)
            if kept is None or (kept[1].done() and kept[1].exception() is not None):
                # Whatever failed may succeed the next time.
                dates = LiveDates(reference, ordered)
                kept = replace(reference, id=name, dates=dates), self._pool.submit(dates.surveyed)
                self._kept[name] = kept
            self._kept.move_to_end(name)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return kept

    def forget(self, scene_id: str) -> None:
        """Keep nothing of a scene."""
        with self._lock:
            for name in [one for one in self._kept if scene_id in one.split(SEPARATOR)]:
                del self._kept[name]

    def stop(self) -> None:
        """Begin no registration any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
