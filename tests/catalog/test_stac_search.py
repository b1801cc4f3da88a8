"""Items are found, and the clearest overpass chosen, in an API that is a real process."""

from __future__ import annotations

import http.server
import json
import threading

import numpy as np
import pystac
import pytest
import shapely
from pyproj import Transformer
from rasterio.windows import Window

from catalog import (
    Query,
    RequestError,
    SceneRequest,
    SearchError,
    SourceError,
    UnreachableError,
    gdal,
    open_scene,
    parse_bbox,
    search,
)
from catalog.items import read_item
from catalog.overpass import scene_of_items
from tests.catalog.scenes import DAY, bbox_of, pixels_of
from tests.conftest import RGBN
from tests.stac_items import serve, write_item


def test_search_sorts_filters_and_says_what_it_lacks(tmp_path, sample):
    small = sample[:, :20, :20]
    items = [
        write_item(tmp_path, "cloudy", small, clouds=80),
        write_item(tmp_path, "clear", small, clouds=2, datetime="2023-08-10T10:00:31Z"),
        write_item(tmp_path, "clear-later", small, clouds=2, datetime="2023-08-12T10:00:31Z"),
        write_item(tmp_path, "elsewhere", small, left=500000),
        write_item(tmp_path, "last-year", small, datetime="2022-08-12T10:00:31Z"),
    ]
    area = parse_bbox(bbox_of(Window(0, 0, 20, 20)))
    with serve(tmp_path, *items) as api:
        found = search(Query(area, "2023-08", api))
        assert [item.id for item in found] == ["clear-later", "clear", "cloudy"]
        assert [item.id for item in search(Query(area, "2023-08", api, max_cloud=50))] == ["clear-later", "clear"]
        assert [item.id for item in search(Query(area, "2022-01-01/2023-08-10", api))] == ["clear", "last-year"]
        with pytest.raises(SearchError, match="widen the dates"):
            search(Query(area, "2021", api))
        with pytest.raises(SearchError, match="1 found are cloudier than 50 %"):
            search(Query(area, "2023-08-15", api, max_cloud=50))
        with pytest.raises(SearchError, match="nothing found"):
            search(Query(area, "2023-08", api, collection="sentinel-2-l1c"))


@pytest.mark.parametrize("text", ["yesterday", "2023-13-01", "2023-08-31/2023-08-01", "15.08.2023", ""])
def test_dates_are_checked_before_anything_is_asked(text):
    with pytest.raises(RequestError, match="date"):
        search(Query(shapely.box(14, 47, 15, 48), text, "http://127.0.0.1:9"))


def test_an_api_that_does_not_answer():
    with pytest.raises(SearchError, match=r"cannot reach a STAC API at http://127\.0\.0\.1:9"):
        search(Query(shapely.box(14, 47, 15, 48), "2023", "http://127.0.0.1:9"))


def test_the_clearest_overpass_is_taken_and_gaps_are_filled_only_when_asked(tmp_path, sample):
    gappy = sample.copy()
    gappy[:, 100:200, 100:200] = 0
    brighter = (sample + 500).astype(np.uint16)
    items = [
        write_item(tmp_path, "gappy", gappy, clouds=1),
        write_item(tmp_path, "brighter", brighter, clouds=40, datetime="2023-08-10T10:00:31Z"),
    ]
    request = {"area": parse_bbox(bbox_of(Window(0, 0, 300, 300))), "datetime": "2023-08"}
    with serve(tmp_path, *items) as api:
        alone = open_scene(SceneRequest(api=api, **request))
        filled = open_scene(SceneRequest(api=api, fill=True, **request))
    rows, cols = alone.area.toslices()
    pixels, valid = pixels_of(alone)
    assert alone.id == "gappy"
    assert (valid == (gappy[:, rows, cols] != 0)).all()
    assert any("clearest of 2" in note for note in alone.notes)
    pixels, valid = pixels_of(filled)
    assert valid.all()
    assert (pixels == np.where(gappy != 0, gappy, brighter)[:, rows, cols]).all()


def test_clouds_are_filled_from_other_dates(tmp_path, sample):
    cloudy = np.full((150, 150), 4, np.uint8)
    cloudy[50:60, 50:60] = 9
    items = [
        write_item(tmp_path, "cloudy", sample, clouds=1, scl=cloudy),
        write_item(
            tmp_path,
            "clear",
            sample + np.uint16(500),
            clouds=5,
            scl=np.full((150, 150), 4, np.uint8),
            datetime="2023-08-10T10:00:31Z",
        ),
    ]
    request = {"area": parse_bbox(bbox_of(Window(0, 0, 300, 300))), "datetime": "2023-08", "mask_clouds": True}
    with serve(tmp_path, *items) as api:
        scene = open_scene(SceneRequest(api=api, fill=True, **request))
    pixels, valid = pixels_of(scene)
    rows, cols = scene.area.toslices()
    expected = sample.copy()
    expected[:, 100 - 3 : 120 + 3, 100 - 3 : 120 + 3] += 500
    assert valid.all()
    assert (pixels == expected[:, rows, cols]).all()


@pytest.mark.parametrize("body", ["<html>", "[1, 2]", '{"type": "FeatureCollection", "features": [3]}', "{}"])
def test_servers_that_answer_nonsense(body):
    """A server of ours answers any request with the same body: what foreign servers do cannot be had here."""

    class Nonsense(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Nonsense)
    # Between two looks whether it is to end, in seconds; the default would let each end of a server take half a second.
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with pytest.raises(SearchError, match="cannot reach a STAC API"):
            search(Query(shapely.box(14, 47, 15, 48), "2023", address))
        with pytest.raises(SourceError, match="not a STAC Item"):
            open_scene(SceneRequest(f"{address}/items/x"))
    finally:
        server.shutdown()


def test_of_two_versions_the_newer_baseline_is_read(tmp_path, sample):
    old = write_item(tmp_path, "old", sample[:, :30, :30], properties={"s2:processing_baseline": "02.14"})
    new = write_item(
        tmp_path, "new", sample[:, :30, :30] + np.uint16(1), properties={"s2:processing_baseline": "05.00"}
    )
    with serve(tmp_path, old, new) as api:
        scene = open_scene(SceneRequest(area=parse_bbox(bbox_of(Window(0, 0, 30, 30))), datetime=DAY, api=api))
    assert scene.id == "new"


def test_items_across_the_antimeridian_are_found_from_either_side(tmp_path, sample):
    """An Item whose footprint ends at 180° is found there, and one that crosses it from both sides."""
    item = write_item(tmp_path, "crossing", sample[:, :200, :200], left=833000, top=8200000, epsg=32760)
    content = json.loads(item.read_text())
    west, east = content["bbox"][0], content["bbox"][2]
    assert west < 180
    with serve(tmp_path, item) as api:
        south, north = content["bbox"][1] + 0.002, content["bbox"][3] - 0.002
        found = search(Query(shapely.box(max(west, -180), south, min(east, 180), north), DAY, api))
    assert [one.id for one in found] == ["crossing"]


def test_an_item_whose_server_does_not_answer_is_not_left_out(tmp_path, sample, monkeypatch):
    monkeypatch.setitem(gdal._HTTP, "GDAL_HTTP_MAX_RETRY", 0)
    good = write_item(tmp_path, "good", sample[:, :60, :60])
    silent = json.loads(write_item(tmp_path, "silent", sample[:, :60, :60]).read_text())
    del silent["properties"]["proj:epsg"]
    for asset in silent["assets"].values():
        asset["href"] = "http://127.0.0.1:9/a.tif"
        del asset["proj:shape"], asset["proj:transform"]
    items = [read_item(str(good)), pystac.Item.from_dict(silent)]
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        scene_of_items(items, RGBN)


@pytest.fixture
def across(tmp_path, sample):
    """An Item of which the antimeridian cuts the middle."""
    x, y = Transformer.from_crs(4326, 32760, always_xy=True).transform(180, -16.3)
    return write_item(
        tmp_path, "across", sample, left=round(x / 10) * 10 - 1500, top=round(y / 10) * 10 + 1500, epsg=32760
    )


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_a_crs_that_cuts_the_items_apart_is_refused(across, crs):
    with pytest.raises(RequestError, match=r"antimeridian.*EPSG:32760"):
        open_scene(SceneRequest(str(across), crs=crs))
    assert open_scene(SceneRequest(str(across), crs="EPSG:32701")).geobox.shape.x < 400


@pytest.mark.parametrize("box", ["179.99,-16.305,180,-16.295", "-180,-16.305,-179.99,-16.295"])
def test_areas_beside_the_antimeridian_are_found_in_items_and_rasters_that_cross_it(tmp_path, across, box):
    for source, bands in ((across, None), (tmp_path / "across_B02.tif", ["B02"])):
        scene = open_scene(SceneRequest(str(source), bands=bands, area=parse_bbox(box)))
        assert scene.geobox.shape == (300, 300)
        assert 100 <= scene.area.width <= 115
        assert 105 <= scene.area.height <= 120
        assert not any("cover" in note for note in scene.notes)
