"""A search of the catalogue that matches nothing is an answer, and no failure; what fails names no private address."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geosr.dates.sampling import ShiftedSensor
from geosr.model.kernels import mtf_to_sigma
from tests.geosr.test_dates import ground
from tests.service.conftest import served
from tests.stac_items import serve, write_item
from tests.web_files import web_files

# Services start in processes of their own.
pytestmark = pytest.mark.slow

PERIOD = {"bbox": [14, 47, 15, 48], "datetime": "2023-08-15"}


@pytest.fixture(scope="module")
def searching(tmp_path_factory):
    """A service over a catalogue on this machine."""
    folder = tmp_path_factory.mktemp("catalogue")
    item = write_item(folder, "one", np.full((4, 9, 9), 1000, np.uint16))
    with web_files(folder) as files:
        dates = [on_web(path, files) for path in two_dates(folder)]
        with serve(folder, item, *dates) as api:
            hosts = json.dumps([api.removeprefix("http://"), files.address.removeprefix("http://")])
            with served(folder / "data", api=api, private_hosts=hosts) as running:
                yield running


def two_dates(folder):
    """Items of one place on two dates, the second a fraction of a pixel beside the first."""
    truth = ground()
    found = []
    for day, shift in (("2023-07-03", (0.0, 0.0)), ("2023-07-08", (0.4, -0.3))):
        seen = ShiftedSensor([mtf_to_sigma(one, 4) for one in (0.26, 0.24)], 4, shift).observe(truth)
        dn = np.rint(seen * 10_000).astype(np.uint16)[[0, 1, 1, 0]]
        when = f"{day}T10:00:31Z"
        found.append(write_item(folder, f"S2_{day}", dn, left=400000, top=5000000, datetime=when, platform=day))
    return found


def on_web(path, files):
    path.write_text(path.read_text().replace(path.parent.as_uri(), files.address))
    return path


def test_a_search_that_matches_nothing_is_an_empty_collection(searching):
    answer = searching.http.post("/catalogue/search", json=PERIOD)
    assert answer.status_code == 200
    assert answer.json() == {"type": "FeatureCollection", "features": [], "numberMatched": 0}


def test_periods_and_corners_are_taken_in_either_order(searching):
    turned = {"bbox": [13.736, 45.1455, 13.729, 45.141], "datetime": "2023-08/2023-07"}
    found = searching.http.post("/catalogue/search", json=turned).json()["features"]
    assert {one["id"] for one in found} == {"S2_2023-07-03", "S2_2023-07-08"}
    first = {**turned, "datetime": "/2023-07-04T00:00:00Z"}
    assert [one["id"] for one in searching.http.post("/catalogue/search", json=first).json()["features"]] == [
        "S2_2023-07-03"
    ]
    job = searching.submit(**turned)
    assert searching.wait(job)["status"] == "successful"


def test_a_job_that_finds_nothing_failed_by_what_was_asked(searching):
    job = searching.submit(**PERIOD)
    status = searching.wait(job)
    assert status["status"] == "failed"
    assert status["message"].startswith("nothing found at a server of the service's network")
    answer = searching.http.get(f"/jobs/{job}/results")
    assert answer.status_code == 404
    assert "127.0.0.1" not in answer.text


def test_several_dates_of_a_search_make_one_image(searching):
    inputs = {"bbox": [13.729, 45.141, 13.736, 45.1455], "datetime": "2023-07"}
    job = searching.submit(**inputs, dates=2, reference="2023-07-08")
    status = searching.wait(job)
    assert status["status"] == "successful", status
    item = searching.http.get(f"/jobs/{job}/results").json()["item"]
    item = item.get("value") or searching.http.get(item["href"]).json()
    dates = item["properties"]["processing:expression"]["expression"]["dates"]
    assert [(one["id"], one["role"]) for one in dates] == [("S2_2023-07-08", "reference"), ("S2_2023-07-03", "used")]
    assert searching.submit(**inputs) != job


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({**PERIOD, "dates": 1}, "dates"),
        ({**PERIOD, "dates": 17}, "dates"),
        ({**PERIOD, "reference": "2023-08-15"}, "say how many with dates"),
        ({**PERIOD, "dates": 2, "fill": True}, "fill would have no effect"),
        ({"item": "http://127.0.0.1/one.json", "dates": 2}, "dates are several of a search"),
    ],
)
def test_dates_that_cannot_be_are_refused(searching, inputs, message):
    answer = searching.http.post("/processes/upscale/execution", json={"inputs": inputs})
    assert answer.status_code == 400
    assert message in answer.text
