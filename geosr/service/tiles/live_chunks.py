"""Super-resolution of what a map shows: chunks of a scene, computed once, while somebody waits, and kept on disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import diskcache  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

import tiling
from geosr.run.uncertainty_layers import store_half_width
from geosr.service import metrics
from geosr.service.cache import keep
from geosr.service.live_scene import LiveScene
from geosr.service.problems import busy
from geosr.version import VERSION

_log = logging.getLogger(__name__)

#: Bytes of chunks that are kept in memory as well.
_RECENT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ChunkKey:
    """One chunk of a scene's grid."""

    scene: str
    row: int
    col: int
    uncertainty: bool
    sharpness: float = 0
    """Share of the model's visual weights."""


@dataclass(frozen=True)
class LiveChunk:
    """Pixels of a chunk."""

    image: NDArray[Any]
    """DN, ``(bands, rows, cols)``, a scale finer than the source."""
    half_width: NDArray[Any] | None
    """As the batch product's layer stores it, likewise."""

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""
        return int(self.image.nbytes) + (0 if self.half_width is None else int(self.half_width.nbytes))


@dataclass(frozen=True)
class Patch:
    """A part of a scene at high resolution."""

    pixels: NDArray[np.float32]
    """DN, ``(bands, rows, cols)``."""
    valid: NDArray[np.bool_]
    geobox: GeoBox


@dataclass
class PendingChunk:
    """A chunk that somebody waits for."""

    scene: LiveScene
    future: Future[LiveChunk]
    waiting: int
    """Number of requests that wait."""


class LiveChunks:
    """Computes chunks in one thread, in the order in which they were asked for: a network has all cores."""

    def __init__(self, cache: diskcache.Cache, core_px: int, waiting: int) -> None:
        self._cache = cache
        self._core = core_px
        self._most = waiting
        self._lock = threading.Condition()
        self._wanted: OrderedDict[ChunkKey, PendingChunk] = OrderedDict()
        """Those that wait, the latest last, and the one that is computed."""
        self._recent: OrderedDict[str, LiveChunk] = OrderedDict()
        """Chunks that were asked for last, the latest last."""
        self._current: ChunkKey | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="live-cache")

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while chunks are computed."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop: what waits is not computed any more."""
        with self._lock:
            self._ended = True
            for pending in self._wanted.values():
                # Not the one that is computed.
                pending.future.cancel()
            self._lock.notify()
        self._thread.join()
        self._writer.shutdown()

    @property
    def core_px(self) -> int:
        """Side of a chunk, source pixels."""
        return self._core

    def keys_of(self, scene: LiveScene, window: Window, *, uncertainty: bool, sharpness: float = 0) -> list[ChunkKey]:
        """The chunks that a window, LR pixels inside the scene's grid, lies in."""
        rows, cols = (range(s.start // self._core, -(-s.stop // self._core)) for s in window.toslices())
        return [ChunkKey(scene.id, row, col, uncertainty, sharpness) for row in rows for col in cols]

    def get(self, scene: LiveScene, key: ChunkKey) -> Future[LiveChunk]:
        """A chunk, computed once however many ask; whoever does not wait any more calls :meth:`release`.

        Raises :class:`geosr.service.problems.Problem` when too many chunks wait.
        """
        kept = self._kept(scene, key)
        if kept is None and not key.uncertainty:
            kept = self._kept(scene, replace(key, uncertainty=True))
        if kept is not None:
            metrics.LIVE_CHUNKS.labels("cached").inc()
            found: Future[LiveChunk] = Future()
            found.set_result(kept)
            return found
        with self._lock:
            pending = self._wanted.get(key)
            if pending is None:
                if len(self._wanted) >= self._most:
                    raise busy("too many tiles wait to be computed")
                pending = self._wanted[key] = PendingChunk(scene, Future(), 0)
                self._lock.notify()
            pending.waiting += 1
            return pending.future

    def _kept(self, scene: LiveScene, key: ChunkKey) -> LiveChunk | None:
        """A chunk that is kept: in memory where it was asked for just now, for reading it takes longer than its use."""
        name = self._name(scene, key)
        with self._lock:
            if name in self._recent:
                self._recent.move_to_end(name)
                return self._recent[name]
        kept = self._cache.get(name)
        if kept is None:
            return None
        chunk = LiveChunk(*kept)
        with self._lock:
            self._remember(name, chunk)
        return chunk

    def _remember(self, name: str, chunk: LiveChunk) -> None:
        self._recent[name] = chunk
        while sum(one.nbytes for one in self._recent.values()) > _RECENT_BYTES and self._recent:
            self._recent.popitem(last=False)

    def release(self, key: ChunkKey, future: Future[LiveChunk]) -> None:
        """One waits less: a chunk that nobody waits for is not computed."""
        with self._lock:
            pending = self._wanted.get(key)
            if pending is None or pending.future is not future:
                return
            pending.waiting -= 1
            if pending.waiting == 0 and key != self._current:
                del self._wanted[key]
                future.cancel()

    def made_by(self, scene: LiveScene, sharpness: float = 0) -> str:
        """Identity of what decides a scene's pixels beside the scene: caches outlive settings, models and versions."""
        return f"{VERSION}/{scene.model_at(sharpness).digest}/{self._core}"

    def _name(self, scene: LiveScene, key: ChunkKey) -> str:
        return f"chunk/{key.scene}/{self.made_by(scene, key.sharpness)}/{key.row}/{key.col}/{int(key.uncertainty)}"

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._wanted and not self._ended:
                    self._lock.wait()
                if self._ended:
                    return
                key = self._current = next(iter(self._wanted))
                scene, future = self._wanted[key].scene, self._wanted[key].future
            # From here on it cannot be cancelled.
            if not future.set_running_or_notify_cancel():
                self._done(key)
                continue
            began = time.perf_counter()
            try:
                chunk = self._compute(scene, key)
                metrics.LIVE_CHUNKS.labels("computed").inc()
                metrics.LIVE_CHUNK_SECONDS.observe(time.perf_counter() - began)
                # In memory before it is no longer waited for, so that nobody computes it again in between; on disk
                # while the next one is computed.
                name = self._name(scene, key)
                with self._lock:
                    self._remember(name, chunk)
                self._writer.submit(keep, self._cache, name, (chunk.image, chunk.half_width), tag=key.scene)
            except Exception as error:
                _log.warning("live chunk of %s failed: %s", key.scene, error)
                self._done(key)
                future.set_exception(error)
                continue
            self._done(key)
            future.set_result(chunk)

    def _done(self, key: ChunkKey) -> None:
        with self._lock:
            self._wanted.pop(key, None)
            self._current = None

    def _compute(self, live: LiveScene, key: ChunkKey) -> LiveChunk:
        core = Window(key.col * self._core, key.row * self._core, self._core, self._core)
        result = live.upscaled(core, key.sharpness, uncertainty=key.uncertainty)
        inside = self._inside(live.scene.geobox, core, live.upscaler.scale)
        if result.uncertainty is None:
            return LiveChunk(result.image[inside], None)
        stored = store_half_width(result.uncertainty.half_width_dn, live.half_width_dtype)
        return LiveChunk(result.image[inside], stored[inside])

    def _inside(self, geobox: GeoBox, core: Window, scale: int) -> tuple[slice, slice, slice]:
        """The part of a chunk that the scene has."""
        rows = min(core.height, geobox.shape.y - core.row_off) * scale
        cols = min(core.width, geobox.shape.x - core.col_off) * scale
        return slice(None), slice(0, rows), slice(0, cols)

    def assemble(
        self, live: LiveScene, window: Window, chunks: dict[ChunkKey, LiveChunk], *, half_width: bool
    ) -> Patch:
        """The DN of a window, LR pixels, of its chunks: those of the image, or of its half-widths."""
        scale = live.upscaler.scale
        nodata = live.half_width_nodata if half_width else live.scene.bands[0].nodata
        shape = (len(live.scene.bands), window.height * scale, window.width * scale)
        out = np.zeros(shape, dtype=np.float32)
        valid = np.zeros(shape, dtype=bool)
        for key, chunk in chunks.items():
            image = chunk.half_width if half_width else chunk.image
            assert image is not None
            top, left = (
                (n * self._core - start) * scale for n, start in ((key.row, window.row_off), (key.col, window.col_off))
            )
            rows = slice(max(0, top), min(shape[1], top + image.shape[1]))
            cols = slice(max(0, left), min(shape[2], left + image.shape[2]))
            part = image[:, rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]
            out[:, rows, cols] = part
            valid[:, rows, cols] = known_pixels(part, nodata)
        return Patch(out, valid, tiling.refine(tiling.crop(live.scene.geobox, window), scale))


def known_pixels(pixels: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Tell which pixels of a chunk were measured."""
    finite = np.isfinite(pixels) if pixels.dtype.kind == "f" else np.ones(pixels.shape, dtype=bool)
    known: NDArray[np.bool_] = finite if nodata is None or np.isnan(nodata) else finite & (pixels != nodata)
    return known
