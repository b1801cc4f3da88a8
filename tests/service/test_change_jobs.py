"""Orders of change between two scenes: their results, what is refused, and a job that was killed."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from importlib.resources import files
from typing import get_args

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from geosr.change.indices import INDICES
from geosr.change.situation_map import COLOURS
from geosr.progress import QuietReporter
from geosr.service.jobs.change_inputs import IndexName
from geosr.service.jobs.change_job import run_change
from geosr.service.jobs.spec import DateSource, JobSpec
from tests.conftest import SAMPLE, write_raster
from tests.service.conftest import served
from tests.small_model import write_small_model

SIDE = 48
ASYNC = {"Prefer": "respond-async"}
RASTERS = {"map", "difference", "before", "after"}
BUNDLED = {"change.tif", "change_difference.tif", "change.geojson", "change.csv", "change.json", "change.html"}


def test_indices_of_orders_are_those_that_there_are():
    assert set(get_args(IndexName)) == set(INDICES)


def test_the_page_has_the_words_and_colours_of_the_map():
    page = (files("geosr") / "service" / "page" / "change_result.js").read_text(encoding="utf-8")
    for index in INDICES.values():
        assert f'{index.name}: ["{index.less}", "{index.more}"]' in page
    for colour in COLOURS:
        assert f'"rgb({" ".join(map(str, colour))})"' in page


@pytest.fixture(scope="module")
def dates(tmp_path_factory):
    """Two dates: a part of the later one is harvested; and another place."""
    folder = tmp_path_factory.mktemp("dates")
    with rasterio.open(SAMPLE) as raster:
        pixels = raster.read()[:, 100 : 100 + SIDE, 60 : 60 + SIDE]
    later = pixels.copy()
    later[3, 16:32, 16:32] //= 4
    for name, image, left in (("before", pixels, 500_000), ("after", later, 500_000), ("aside", later, 500_100)):
        write_raster(folder / f"{name}.tif", image, transform=from_origin(left, 5_300_000, 10, 10), scale=1e-4)
    return folder, write_small_model(folder)


@pytest.mark.slow
def test_a_job_that_was_killed_at_its_end_makes_the_same_files(dates, tmp_path):
    folder, model = dates
    sources = tuple(DateSource(str(folder / f"{name}.tif"), name) for name in ("before", "after"))
    inputs = {"before": "1", "after": "2", "index": "ndvi", "model": str(model)}
    spec = JobSpec(inputs, None, "", "", (str(tmp_path),), (), 10**6, process="change", dates=sources)
    run_change(spec, tmp_path, QuietReporter())
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix in (".tif", ".csv", ".geojson")}
    assert {"change.tif", "change.csv", "change.geojson"} < set(made)
    product = (tmp_path / "change_before.tif").stat().st_ino
    # Some files were in their places, and a folder of drafts beside them.
    (tmp_path / "change.csv").unlink()
    (tmp_path / ".change-drafts").mkdir()
    run_change(spec, tmp_path, QuietReporter())
    assert {name: (tmp_path / name).read_bytes() for name in made} == made
    assert (tmp_path / "change_before.tif").stat().st_ino == product
    assert not (tmp_path / ".change-drafts").exists()


@pytest.mark.slow
def test_change_is_ordered_watched_and_taken_home(dates, tmp_path):
    folder, model = dates
    with served(tmp_path / "data", model=model) as service:
        http = service.http

        def upload(name):
            answer = http.post("/scenes/upload", params={"title": name}, content=(folder / f"{name}.tif").read_bytes())
            return answer.json()["id"]

        def order(**inputs):
            return http.post("/processes/change/execution", json={"inputs": inputs}, headers=ASYNC)

        before, after, aside = map(upload, ("before", "after", "aside"))
        assert {one["id"] for one in http.get("/processes").json()["processes"]} == {"upscale", "change"}
        described = http.get("/processes/change").json()
        assert described["inputs"]["before"]["minOccurs"] == 1
        assert set(described["outputs"]) > RASTERS

        # What cannot be compared is refused at once, in one line.
        refused = {
            "one scene": order(before=before, after=before),
            "no scene": order(before=before, after="none"),
            "same ground": order(before=before, after=aside),
            "outside": order(before=before, after=after, bbox=[1, 1, 2, 2]),
            "index": order(before=before, after=after, index="evi"),
        }
        for reason, answer in refused.items():
            assert answer.status_code in (400, 404, 409), answer.text
            assert reason in answer.json()["detail"]
            assert "--" not in answer.json()["detail"]

        wanted = {"before": before, "after": after, "index": "ndvi", "model": str(model)}
        job = order(**wanted).json()["jobID"]
        # A scene that a job reads stays.
        assert http.delete(f"/scenes/{after}").status_code == 409
        status = service.wait(job)
        assert status["status"] == "successful", status
        assert status["processID"] == "change"
        assert status["chunks"]["finished"] == status["chunks"]["all"] == 2
        assert order(**wanted).json()["jobID"] == job
        assert [one["jobID"] for one in http.get("/jobs?processID=change").json()["jobs"]] == [job]
        assert http.get("/jobs?processID=upscale").json()["jobs"] == []

        links = http.get(f"/jobs/{job}/links").json()
        results = http.get(f"/jobs/{job}/results").json()
        assert set(links) == {*results, "bundle"}
        (less,) = (
            one
            for one in csv.DictReader(io.StringIO(http.get(results["table"]["href"]).text))
            if one["change"] == "less vegetation" and one["pixel_m"] == "2.5"
        )
        areas = http.get(results["polygons"]["href"]).json()["features"]
        assert float(less["hectares"]) == pytest.approx(2.56, rel=0.4)  # The model is no good one.
        assert sum(one["properties"]["hectares"] for one in areas) == pytest.approx(float(less["hectares"]), abs=1e-3)
        summary = http.get(results["summary"]["href"]).text
        assert json.loads(summary)["before"].startswith("before, ")
        assert str(service.data) not in summary
        assert "less vegetation" in http.get(results["report"]["href"]).text
        assert http.get(results["report_pdf"]["href"]).content.startswith(b"%PDF")

        with zipfile.ZipFile(io.BytesIO(http.get(links["bundle"]["href"]).content)) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
            assert len(archive.namelist()) == len(names), "a file is in the archive twice"
        more = {"change.pdf", "change_change.json", "change.qml", "change_difference.qml", "change_preview.png"}
        assert names == BUNDLED | more
        preview = http.get(f"/jobs/{job}/files/change_preview.png")
        assert np.asarray(Image.open(io.BytesIO(preview.content)))[90, 90, :3].tolist() == [196, 60, 40]

        # On a map: the changed part in its colour, the rest clear.
        place = http.get(f"/jobs/{job}/map/WebMercatorQuad/tilejson.json").json()
        west, south, east, north = place["bounds"]
        lon, lat = (west + east) / 2, (south + north) / 2
        assert http.get(f"/jobs/{job}/map/point/{lon},{lat}").json()["values"] == [1]

        def drawn_at(longitude):
            col = (longitude + 180) / 360 * 2**15
            row = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) * 2**14
            answer = http.get(f"/jobs/{job}/map/tiles/WebMercatorQuad/15/{int(col)}/{int(row)}.png")
            tile = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
            return tile[int(row % 1 * 256), int(col % 1 * 256)].tolist()

        assert drawn_at(lon) == [196, 60, 40, 255]
        assert drawn_at(west + (east - west) / 8)[3] == 0
        # It is found in the STAC API, with links to its files.
        (item,) = http.get("/search").json()["features"]
        assert (item["id"], item["properties"]["geosr:hectares"]["less vegetation"]) == (job, float(less["hectares"]))
        for asset in item["assets"].values():
            assert http.head(asset["href"]).status_code == 200, asset
        assert http.delete(f"/jobs/{job}").json()["status"] == "dismissed"
        assert not (service.data / "jobs" / job).exists()
