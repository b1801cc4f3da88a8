"""Fields that users have uploaded, as polygons in degrees."""

from __future__ import annotations

import json
import secrets
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import shapely

from catalog.features import Feature
from geosr.service.database import Database
from geosr.service.problems import Problem
from geosr.service.security.api_keys import Caller
from geosr.service.vector_uploads import fields_of

#: Sets of fields of one key, or of everybody where there are no keys.
_MOST_SETS = 100

#: Digits of degrees: a centimetre.
_DIGITS = 7


def offered() -> bool:
    """True where the statistics of fields can be computed: the extra ``fields`` is installed."""
    return find_spec("exactextract") is not None


class FieldSets:
    """Sets of fields: rows in the database, and GeoJSON in a folder."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, upload: Path, title: str, id_column: str | None, caller: Caller) -> dict[str, Any]:
        """Keep the polygons of an uploaded file. Raises :class:`Problem` or :class:`catalog.AreaError`."""
        # Before the file is read; and once more below, for others may have been added meanwhile.
        self._check_room(caller)
        fields = fields_of(upload, id_column)
        set_id, created = secrets.token_hex(8), time.time()
        content = {"type": "FeatureCollection", "features": [_feature(i, one) for i, one in enumerate(fields)]}
        values = (set_id, caller.key_id, title or "fields", len(fields), created)
        try:
            self._path(set_id).write_text(json.dumps(content), encoding="utf-8")
            with self._database.transaction():
                self._check_room(caller)
                self._database.change(
                    "INSERT INTO fields (id, key_id, title, count, created) VALUES (?, ?, ?, ?, ?)", values
                )
        except BaseException:
            self._path(set_id).unlink(missing_ok=True)
            raise
        return self._described(self._row(set_id, caller))

    def list(self, caller: Caller) -> list[dict[str, Any]]:
        """A caller's sets, the latest first."""
        rows = self._database.rows("SELECT * FROM fields WHERE key_id IS ? ORDER BY created DESC", (caller.key_id,))
        return [self._described(row) for row in rows]

    def geojson(self, set_id: str, caller: Caller) -> dict[str, Any]:
        """All fields of a set. Raises :class:`Problem` where there is none."""
        self._row(set_id, caller)
        try:
            content: dict[str, Any] = json.loads(self._path(set_id).read_text(encoding="utf-8"))
        except FileNotFoundError:
            # It was removed after its row was read.
            raise _unknown(set_id) from None
        return content

    def field(self, set_id: str, number: int, caller: Caller) -> Feature:
        """One field by its place in its set. Raises :class:`Problem` where there is none."""
        features = self.geojson(set_id, caller)["features"]
        if not 0 <= number < len(features):
            raise Problem(404, f"there is no field {number}: the set has {len(features)}")
        found = features[number]
        return Feature(found["properties"]["name"], shapely.geometry.shape(found["geometry"]))

    def remove(self, set_id: str, caller: Caller) -> None:
        """Forget a set. Raises :class:`Problem` where there is none."""
        self._row(set_id, caller)
        self._forget(set_id)

    def expire(self, before: float) -> None:
        """Forget sets that were uploaded before a time."""
        for row in self._database.rows("SELECT id FROM fields WHERE created < ?", (before,)):
            self._forget(row["id"])

    def tidy(self) -> None:
        """Remove files that no set has: an earlier process was killed while it took or removed them."""
        known = {f"{row['id']}.geojson" for row in self._database.rows("SELECT id FROM fields")}
        for path in self.folder.iterdir():
            if path.name not in known:
                path.unlink(missing_ok=True)

    def _check_room(self, caller: Caller) -> None:
        counted = self._database.row("SELECT count(*) AS n FROM fields WHERE key_id IS ?", (caller.key_id,))
        if counted is not None and counted["n"] >= _MOST_SETS:
            raise Problem(409, f"{_MOST_SETS} sets of fields are kept: delete one of them first")

    def _forget(self, set_id: str) -> None:
        self._database.change("DELETE FROM fields WHERE id = ?", (set_id,))
        self._path(set_id).unlink(missing_ok=True)

    def _row(self, set_id: str, caller: Caller) -> Any:
        row = self._database.row("SELECT * FROM fields WHERE id = ? AND key_id IS ?", (set_id, caller.key_id))
        if row is None:
            raise _unknown(set_id)
        return row

    def _path(self, set_id: str) -> Path:
        return self.folder / f"{set_id}.geojson"

    def _described(self, row: Any) -> dict[str, Any]:
        return {"id": row["id"], "title": row["title"], "fields": row["count"]}


def _unknown(set_id: str) -> Problem:
    return Problem(404, f"there are no fields {set_id[:80]}")


def _feature(number: int, field: Feature) -> dict[str, Any]:
    geometry = shapely.set_precision(field.polygon, 10**-_DIGITS, mode="pointwise")
    properties = {"number": number, "name": field.id}
    return {"type": "Feature", "properties": properties, "geometry": shapely.geometry.mapping(geometry)}
