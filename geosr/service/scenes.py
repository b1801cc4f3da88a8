"""The scenes that the service shows: the bundled sample, uploads, and STAC Items."""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from odc.geo.geobox import GeoBox
from pyproj.exceptions import ProjError
from shapely.errors import ShapelyError

import catalog
from catalog import CatalogError, SceneRequest
from geosr.engine import EngineChoice
from geosr.errors import GeosrError
from geosr.inference.upscaler import ModelSpec
from geosr.run.scene_of_request import open_for_model
from geosr.service.database import Database
from geosr.service.fetch import fetch_item
from geosr.service.geography import bounds_of
from geosr.service.live_scene import LiveScene
from geosr.service.problems import Problem, problem_of
from geosr.service.security.api_keys import Caller
from geosr.service.settings import ServiceSettings
from geosr.service.uploads import RasterDescription, SourceDetails, UploadLimits, keep_upload

_log = logging.getLogger(__name__)

DEMO = "demo"

#: Scenes that are kept open.
_KEPT_OPEN = 16

_NOTHING = SourceDetails()


class Scenes:
    """All scenes, in the database, and the latest open."""

    def __init__(self, database: Database, settings: ServiceSettings) -> None:
        self._database = database
        self._settings = settings
        self.folder = (settings.data / "scenes").resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._open: OrderedDict[str, LiveScene] = OrderedDict()

    def add_demo(self) -> None:
        """Add the bundled sample as a scene of the service."""
        folder = self.folder / DEMO
        folder.mkdir(exist_ok=True)
        sample = folder / "sample.tif"
        if not sample.exists():
            with as_file(files("geosr") / "data" / "sample.tif") as bundled:
                shutil.copyfile(bundled, sample)
        self._database.change(
            "INSERT OR IGNORE INTO scenes (id, kind, title, source, created) VALUES (?, 'demo', ?, ?, ?)",
            (DEMO, "Sample of Sentinel-2 (placed on Null Island)", str(sample), time.time()),
        )

    def list(self, caller: Caller) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """A caller's scenes, the latest first, and those of them that cannot be shown, with the reason."""
        rows = self._database.rows(
            "SELECT id, title, kind FROM scenes WHERE key_id IS ? OR key_id IS NULL ORDER BY created DESC",
            (caller.key_id,),
        )
        found, left_out = [], []
        for row in rows:
            try:
                found.append(self.get(row["id"], caller).describe())
            except (CatalogError, GeosrError, Problem) as error:
                # A server that does not answer now may do so later, and a model that does not fit may be another.
                _log.warning("scene %s cannot be opened: %s", row["id"], error)
                left_out.append({**dict(row), "reason": problem_of(error).detail})
        return found, left_out

    def source_of(self, scene_id: str, caller: Caller) -> str:
        """Path of a scene's pixels. Raises :class:`Problem` where there is none, or it is someone else's."""
        return str(self.row_of(scene_id, caller)["source"])

    def row_of(self, scene_id: str, caller: Caller) -> Any:
        """A scene's row in the database. Raises :class:`Problem` where there is none, or it is someone else's."""
        row = self._database.row(
            "SELECT * FROM scenes WHERE id = ? AND (key_id IS ? OR key_id IS NULL)", (scene_id, caller.key_id)
        )
        if row is None:
            raise Problem(404, f"there is no scene {scene_id[:80]}")
        return row

    def open_already(self, scene_id: str, caller: Caller) -> LiveScene | None:
        """A scene of a caller's that is open; None where it is not, or not theirs."""
        with self._lock:
            live = self._open.get(scene_id)
            if live is None or live.key_id not in (None, caller.key_id):
                return None
            self._open.move_to_end(scene_id)
            return live

    def get(self, scene_id: str, caller: Caller) -> LiveScene:
        """An open scene. Raises :class:`Problem`, or :class:`catalog.CatalogError` when it cannot be opened."""
        row = self.row_of(scene_id, caller)
        already = self.open_already(scene_id, caller)
        if already is not None:
            return already
        return self._keep_open(self._open_scene(row))

    def add_item(self, address: str, caller: Caller, details: SourceDetails = _NOTHING) -> LiveScene:
        """A scene of a STAC Item. Raises :class:`Problem` or :class:`catalog.CatalogError`."""
        return self.add_item_content(fetch_item(address, self._settings.allowed_hosts), caller, details)

    def add_item_content(self, item: dict[str, Any], caller: Caller, details: SourceDetails = _NOTHING) -> LiveScene:
        """Add a scene of an Item that was fetched."""
        title = str(item.get("id", "scene"))[:120]

        def write(folder: Path) -> Path:
            path = folder / "item.json"
            path.write_text(json.dumps(item), encoding="utf-8")
            return path

        return self._add("item", title, caller, write, details)

    def add_upload(
        self,
        upload: Path,
        title: str,
        caller: Caller,
        details: SourceDetails = _NOTHING,
        description: RasterDescription = RasterDescription(),  # noqa: B008 - it is frozen
    ) -> LiveScene:
        """A scene of an uploaded file, which is moved. Raises :class:`Problem` or :class:`catalog.CatalogError`."""
        limits = UploadLimits(self._settings.max_pixels, self._settings.max_upload_bytes)

        def move(folder: Path) -> Path:
            return keep_upload(upload, folder, description, limits)

        return self._add("upload", title[:120] or "upload", caller, move, details)

    def remove(self, scene_id: str, caller: Caller) -> None:
        """Forget a scene and its files. Raises :class:`Problem`, also while jobs that are not finished read it."""
        self.source_of(scene_id, caller)
        if scene_id == DEMO:
            raise Problem(403, "the sample stays")
        if not self._forget(scene_id):
            raise Problem(409, "jobs that are not finished read this scene: wait for them, or dismiss them first")

    def expire(self, before: float) -> None:
        """Forget scenes that were added before a time, unless a job that is not finished reads them."""
        for row in self._database.rows("SELECT id FROM scenes WHERE kind != 'demo' AND created < ?", (before,)):
            self._forget(row["id"])

    def tidy(self) -> None:
        """Remove files that no scene has: an earlier process was killed while it took or removed them."""
        known = {row["id"] for row in self._database.rows("SELECT id FROM scenes")}
        for path in self.folder.iterdir():
            if path.name in known:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _forget(self, scene_id: str) -> bool:
        """Forget a scene and its files; False, and it stays, while a job that is not finished reads it."""
        # In one statement, so that no job is taken in between.
        gone = self._database.change(
            "DELETE FROM scenes WHERE id = ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE "
            "jobs.status IN ('accepted', 'running') AND (scenes.id IN (json_extract(jobs.inputs, '$.scene'), "
            "json_extract(jobs.inputs, '$.before'), json_extract(jobs.inputs, '$.after')) "
            "OR scenes.id IN (SELECT value FROM json_each(jobs.inputs, '$.others'))))",
            (scene_id,),
        )
        if not gone:
            return False
        with self._lock:
            self._open.pop(scene_id, None)
        shutil.rmtree(self.folder / scene_id, ignore_errors=True)
        # What is open stays on the disk.
        catalog.forget(str(self.folder / scene_id))
        return True

    def _add(self, kind: str, title: str, caller: Caller, write: Any, details: SourceDetails) -> LiveScene:
        scene_id = secrets.token_hex(8)
        folder = self.folder / scene_id
        folder.mkdir()
        try:
            row = {
                "id": scene_id,
                "key_id": caller.key_id,
                "kind": kind,
                "title": title,
                "source": str(write(folder)),
                "created": time.time(),
                "nodata": details.nodata,
                "sensor": details.sensor,
            }
            live = self._open_scene(row)
            live.describe()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._database.change(
            f"INSERT INTO scenes ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
        )
        return self._keep_open(live)

    def _keep_open(self, live: LiveScene) -> LiveScene:
        """Keep a scene open, or the same that another request has opened meanwhile; close the longest unused."""
        with self._lock:
            live = self._open.setdefault(live.id, live)
            while len(self._open) > _KEPT_OPEN:
                self._open.popitem(last=False)
        return live

    def _open_scene(self, row: Any) -> LiveScene:
        card = self._settings.model_ref.card
        sensor = None if row["sensor"] is None else catalog.read_sensor(row["sensor"])
        scene = open_for_model(SceneRequest(row["source"], nodata=row["nodata"], sensor=sensor), card)
        _check_place(scene.geobox)
        if scene.geobox.shape.x * scene.geobox.shape.y > self._settings.max_pixels:
            raise Problem(413, f"the scene has more than {self._settings.max_pixels} pixels")
        model = ModelSpec.of(
            self._settings.model_ref, EngineChoice().for_card(card), scene.bands, plain_image=scene.plain_image
        )
        return LiveScene(row["id"], row["title"], row["kind"], scene, model, row["created"], row["key_id"])


def _check_place(geobox: GeoBox) -> None:
    """Refuse grids that are nowhere on Earth. Raises :class:`Problem`."""
    if geobox.crs is None:
        raise Problem(400, "the raster has no CRS, so that it cannot be put on a map")
    try:
        west, south, east, north = bounds_of(geobox)
    except (ProjError, ShapelyError, ValueError) as error:
        raise Problem(400, "the raster's CRS cannot be put on a map, or its place is not within that CRS") from error
    # Longitudes from 0 to 360 are in use. What is not finite is within nothing.
    if not (-180 <= west < east <= 360 and -90 <= south < north <= 90):
        raise Problem(
            400,
            f"the raster lies nowhere on Earth, or covers nothing: longitudes {west:g} to {east:g}, "
            f"latitudes {south:g} to {north:g}",
        )
