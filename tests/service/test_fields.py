"""Fields that are uploaded: what is refused unopened, and an index of one with the half-width of its mean."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.warp import transform_bounds

from geosr.model.zoo import DEFAULT_MODEL
from geosr.service import fields, vector_uploads
from geosr.service.database import Database
from geosr.service.fields import FieldSets
from geosr.service.problems import Problem
from geosr.service.security.api_keys import Caller
from geosr.service.vector_uploads import fields_of
from tests.conftest import SAMPLE
from tests.service.conftest import served

SQUARE = shapely.box(0.005, -0.012, 0.008, -0.009)


def geojson(*shapes, **more):
    features = [
        {"type": "Feature", "properties": {"name": f"f{i}"}, "geometry": shapely.geometry.mapping(shape)}
        for i, shape in enumerate(shapes)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features, **more}).encode()


def named(name):
    return {"crs": {"type": "name", "properties": {"name": name}}}


def upload(folder, content, id_column=None):
    (folder / "upload").write_bytes(content)
    return fields_of(folder / "upload", id_column)


def geopackage(path, *statements):
    wkb = np.array([shapely.transform(SQUARE, lambda xy: xy * 1e5 + (500_000, 5_000_000)).wkb], object)
    values = {"field_data": [np.array(["north"], object)], "fields": np.array(["name"])}
    pyogrio.raw.write(path, wkb, geometry_type="Polygon", crs="EPSG:32631", driver="GPKG", layer="a", **values)
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    return path.read_bytes()


def test_polygons_come_out_in_degrees_with_their_names(tmp_path):
    (one, other) = upload(tmp_path, geojson(SQUARE, SQUARE.buffer(0.001)), "name")
    assert (one.id, other.id) == ("f0", "f1")
    assert one.polygon.equals(SQUARE)
    metres = shapely.transform(SQUARE, lambda xy: xy * 1e5 + (500_000, 5_000_000))
    (placed,) = upload(tmp_path, geojson(metres, **named("urn:ogc:def:crs:EPSG::32631")))
    (same,) = upload(tmp_path, geopackage(tmp_path / "a.gpkg"), "name")
    assert same.id == "north"
    assert same.polygon.equals_exact(placed.polygon, 1e-9)
    assert 2.9 < placed.polygon.centroid.x < 3.1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG", "neither GeoJSON"),
        (b"[" * 100_000, "neither GeoJSON"),
        (b'{"type": "FeatureCollection", "features": 1}', "neither GeoJSON"),
        (b'{"type": "FeatureCollection"}', "features: Field required"),
        (b"SQLite format 3\x00" + bytes(100), "not a GeoPackage"),
        # GDAL would fetch it.
        (geojson(SQUARE, **named("http://169.254.169.254/crs")), "by its code"),
    ],
)
def test_what_is_no_set_of_fields_is_refused(tmp_path, content, reason):
    with pytest.raises(Problem, match=reason):
        upload(tmp_path, content)
    assert [path.name for path in tmp_path.iterdir()] == ["upload"]


def test_an_address_of_a_crs_is_not_handed_to_gdal(tmp_path):
    link = {"crs": {"type": "link", "properties": {"href": "http://127.0.0.1:1/crs", "type": "proj4"}}}
    with pytest.raises(Problem, match="crs type: Input should be 'name'"):
        upload(tmp_path, geojson(SQUARE, **link))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW b AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT * FROM n",
        "ALTER TABLE a ADD COLUMN c TEXT GENERATED ALWAYS AS (hex(zeroblob(1000000000)))",
        "CREATE VIRTUAL TABLE v USING fts5(name)",
    ],
)
def test_a_geopackage_that_computes_is_refused(tmp_path, statement):
    content = geopackage(tmp_path / "a.gpkg", statement)
    with pytest.raises(Problem, match="computes"):
        upload(tmp_path, content)


def test_a_damaged_geopackage_is_refused(tmp_path):
    content = geopackage(tmp_path / "a.gpkg")
    # SQLite tells the name of what is damaged, which is no text here.
    damaged = content.replace(b"CREATE TABLE gpkg_contents", b"CREATE TABLX gpkg_contents")
    with pytest.raises(Problem, match="not a GeoPackage"):
        upload(tmp_path, damaged.replace(b"gpkg_contents", b"gpkg_cont\xe1nts"))


def test_fields_are_limited_and_have_to_be_polygons(tmp_path, monkeypatch):
    with pytest.raises(Problem, match="expected tags: 'Polygon', 'MultiPolygon'"):
        upload(tmp_path, geojson(shapely.Point(0, 0)))
    monkeypatch.setattr(vector_uploads, "_MOST_FIELDS", 2)
    with pytest.raises(Problem, match="3 fields"):
        upload(tmp_path, geojson(*[SQUARE] * 3))


@pytest.fixture
def sets(tmp_path):
    database = Database(tmp_path)
    yield FieldSets(database, tmp_path / "fields")
    database.close()


def keep(sets, folder, caller, title="farm"):
    (folder / "upload").write_bytes(geojson(SQUARE))
    return sets.add(folder / "upload", title, None, caller)["id"]


def test_fields_are_nobodys_but_their_keys(sets, tmp_path):
    owner, other = Caller("owner"), Caller("other")
    kept = keep(sets, tmp_path, owner)
    assert [one["id"] for one in sets.list(owner)] == [kept]
    for stranger in (other, Caller(None)):
        assert sets.list(stranger) == []
        for ask in (sets.geojson, sets.remove, lambda set_id, caller: sets.field(set_id, 0, caller)):
            with pytest.raises(Problem) as refused:
                ask(kept, stranger)
            assert refused.value.status == 404
    assert sets.field(kept, 0, owner).polygon.equals(SQUARE)


def test_uploads_at_once_keep_no_more_sets_than_one_key_may_have(sets, tmp_path, monkeypatch):
    monkeypatch.setattr(fields, "_MOST_SETS", 1)
    owner, read = Caller("owner"), fields.fields_of

    def read_while_another_is_added(path, id_column):
        monkeypatch.setattr(fields, "fields_of", read)
        keep(sets, tmp_path, owner, "first")
        return read(path, id_column)

    (tmp_path / "second").write_bytes(geojson(SQUARE))
    monkeypatch.setattr(fields, "fields_of", read_while_another_is_added)
    with pytest.raises(Problem, match="1 sets of fields are kept") as refused:
        sets.add(tmp_path / "second", "second", None, owner)
    assert refused.value.status == 409
    (first,) = sets.list(owner)
    assert first["title"] == "first"
    assert [path.stem for path in sets.folder.iterdir()] == [first["id"]]
    keep(sets, tmp_path, Caller("other"))


def test_fields_expire_with_their_files_and_what_a_kill_left_is_removed(sets, tmp_path):
    caller = Caller(None)
    early, late = (keep(sets, tmp_path, caller, title) for title in ("early", "late"))
    sets._database.change("UPDATE fields SET created = 1 WHERE id = ?", (early,))
    sets.expire(before=2)
    (sets.folder / "left.geojson").touch()
    sets.tidy()
    assert [one["title"] for one in sets.list(caller)] == ["late"]
    assert [path.stem for path in sets.folder.iterdir()] == [late]
    # Removed between a request's two looks.
    (sets.folder / f"{late}.geojson").unlink()
    with pytest.raises(Problem, match="no fields"):
        sets.geojson(late, caller)


@pytest.mark.slow
def test_an_index_of_a_field_has_a_half_width_on_each_date(tmp_path):
    with served(tmp_path / "data", "--demo", model=DEFAULT_MODEL, live_core_px=64) as service:
        http = service.http
        everything = shapely.box(0, -0.027, 0.0269, 0)
        content = geojson(SQUARE, shapely.box(1, 1, 1.01, 1.01), everything)
        assert http.post("/fields", content=b"no").status_code == 415
        made = http.post("/fields?title=farm&id=name", content=content).json()
        assert (made["title"], made["fields"]) == ("farm", 3)
        assert http.get("/fields").json() == [made]
        first = http.get(f"/fields/{made['id']}").json()["features"][0]
        assert first["properties"] == {"number": 0, "name": "f0"}
        assert shapely.geometry.shape(first["geometry"]).equals(SQUARE)

        address = f"/scenes/demo/fields/{made['id']}"
        found = http.get(f"{address}/0").json()
        with rasterio.open(SAMPLE) as raster:
            window = raster.window(*transform_bounds("EPSG:4326", raster.crs, *SQUARE.bounds))
            red, near = raster.read([3, 4], window=window.round_offsets().round_lengths()).astype(float)
        assert found["source_mean"] == pytest.approx(((near - red) / (near + red)).mean(), abs=0.01)
        assert found["mean"] == pytest.approx(found["source_mean"], abs=0.02)
        assert 0 < found["half_width"] < 0.05
        assert found["level"] == 0.9
        assert found["area_ha"] == pytest.approx(33.4**2 / 100, rel=0.02)
        assert found["nodata_share"] == 0
        # Its cost is bounded, and what it cannot answer it says.
        for asked, status in (
            ("1", 404),
            ("2", 404),
            ("9", 404),
            ("-1", 404),
            ("0?index=nbr", 404),
            ("0?index=B08**B08", 400),
        ):
            assert http.get(f"{address}/{asked}").status_code == status, asked
        assert http.get("/scenes/demo/fields/none/0").status_code == 404
        assert http.delete(f"/fields/{made['id']}").status_code == 204
        assert http.get(f"{address}/0").status_code == 404
        assert list((service.data / "fields").iterdir()) == []
