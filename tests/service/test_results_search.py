"""The STAC API of results and the list of jobs: what they are searched by, and what they answer."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from geosr.service.results.period_and_area import Period, parse_period, period_of_item
from tests.service.conftest import BOX

# Services start in processes of their own.
pytestmark = pytest.mark.slow

GEOJSON = "application/geo+json"
SQUARE = [[[0, -0.02], [0.02, -0.02], [0.02, 0], [0, 0], [0, -0.02]]]


class Result:
    """A finished job, whose Item a test can write anew."""

    def __init__(self, service):
        self.service = service
        # Whatever else asks for the same would share its folder.
        self.job = service.submit(scene="demo", bbox=BOX, max_cloud=77)
        assert service.wait(self.job)["status"] == "successful"
        self.path = service.data / "jobs" / self.job / "product.json"
        self.item = json.loads(self.path.read_text())

    def write(self, geometry=None, links=None, **properties):
        item = {**self.item, "properties": {**self.item["properties"], **properties}}
        item["geometry"] = geometry or item["geometry"]
        item["links"] = [*item["links"], *(links or ())]
        self.path.write_text(json.dumps(item))

    def is_found(self, **query):
        answer = self.service.http.get("/search", params={"limit": 1000, **query})
        assert answer.status_code == 200, answer.text
        return self.job in [item["id"] for item in answer.json()["features"]]


@pytest.fixture(scope="module")
def made(service):
    return Result(service)


@pytest.fixture
def result(made):
    yield made
    made.path.write_text(json.dumps(made.item))


@pytest.mark.parametrize(
    "query",
    [
        "bbox=1,2,3",
        "bbox=1,2,3,4,5",
        "bbox=1,2,3,4,5,6,7",
        "bbox=a,b,c,d",
        "bbox=nan,0,1,1",
        "intersects=[1]",
        'intersects={"type":5}',
        'intersects={"type":"Polygon"}',
        'intersects={"type":"Polygon","coordinates":[]}',
        'intersects={"type":"Polygon","coordinates":[[1,2]]}',
        'intersects={"type":"GeometryCollection","geometries":[5]}',
        "intersects=" + "[" * 5000,
        "datetime=yesterday",
        "datetime=..",
        "datetime=2024-13-01",
        "limit=0",
        "offset=1000000000000000000000",
    ],
)
def test_searches_that_make_no_sense_are_problems(service, query):
    paths = ["/search"] if query.startswith("intersects") else ["/search", "/collections/results/items"]
    for path in paths:
        answer = service.http.get(f"{path}?{query}")
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, 3, 4, 5]},
        {"intersects": [1]},
        {"intersects": {}},
        {"intersects": {"type": 5}},
        {"bbox": [0, 0, 1, 1], "intersects": {"type": "Point", "coordinates": [0, 0]}},
        {"datetime": "2024-02-30"},
        {"limit": "2"},
    ],
)
def test_posted_searches_that_make_no_sense_are_problems(service, body):
    answer = service.http.post("/search", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("2024", "2024-01-01T00:00:00", "2024-12-31T23:59:59.999999"),
        ("2024-02", "2024-02-01T00:00:00", "2024-02-29T23:59:59.999999"),
        ("2024-06-01", "2024-06-01T00:00:00", "2024-06-01T23:59:59.999999"),
        ("9999", "9999-01-01T00:00:00", "9999-12-31T23:59:59.999999"),
        ("2024-06-01T10:00:00", "2024-06-01T10:00:00", "2024-06-01T10:00:00"),
        ("2024-06-01t12:00:00+02:00", "2024-06-01T10:00:00", "2024-06-01T10:00:00"),
        ("2024-06-01/2024-06-02", "2024-06-01T00:00:00", "2024-06-02T23:59:59.999999"),
        ("2024-06-01T00:00:00Z/..", "2024-06-01T00:00:00", None),
        ("/2024-06", None, "2024-06-30T23:59:59.999999"),
        ("../..", None, None),
        ("2024-06-02/2024-06-01", "2024-06-01T00:00:00", "2024-06-02T23:59:59.999999"),
    ],
)
def test_periods(text, begin, end):
    expected = [None if one is None else dt.datetime.fromisoformat(one).replace(tzinfo=dt.UTC) for one in (begin, end)]
    assert parse_period(text) == Period(*expected)


def test_items_are_during_what_they_say():
    day = parse_period("2024-06-01")
    assert period_of_item({"datetime": "2024-06-01T12:00:00Z"}).overlaps(day)
    assert not period_of_item({"datetime": "2024-06-02T00:00:00"}).overlaps(day)
    year = {"datetime": None, "start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-12-31T00:00:00Z"}
    assert period_of_item(year).overlaps(day)
    assert not period_of_item(year).overlaps(parse_period("2023"))
    assert period_of_item({"datetime": None, "start_datetime": "2024-01-01T00:00:00Z"}).overlaps(day)
    assert period_of_item({"datetime": None}) is None


def test_results_are_found_by_their_time(result):
    result.write(datetime="2024-06-01T10:00:31Z")
    for asked in ("2024-06-01", "2024-06", "2024-06-01T10:00:31", "2024-06-01T12:00:31+02:00", "../2024-06-02"):
        assert result.is_found(datetime=asked), asked
    for asked in ("2024-05-31", "2024-06-01T11:00:00", "2024-06-02/.."):
        assert not result.is_found(datetime=asked), asked


def test_results_without_a_time_are_found_by_their_period(result):
    result.write(datetime=None, start_datetime="2024-06-01T00:00:00Z", end_datetime="2024-06-30T00:00:00Z")
    for asked in ("2024-06-10", "2024-06-20/2024-07-20", "2024", "../.."):
        assert result.is_found(datetime=asked), asked
    for asked in ("2024-07", "../2024-05-31T23:00:00Z"):
        assert not result.is_found(datetime=asked), asked


@pytest.mark.parametrize(
    ("longitude", "is_there"), [(179, True), (-179, True), (169, False), (-169, False), (0, False)]
)
def test_a_box_across_the_antimeridian_is_both_of_its_sides(result, longitude, is_there):
    result.write(geometry={"type": "Point", "coordinates": [longitude, 5]})
    assert result.is_found(bbox="170,-10,-170,10") == is_there
    assert result.is_found(bbox="170,-10,0,-170,10,100") == is_there
    assert not result.is_found(bbox="170,-10,-170,4")


def test_results_are_found_by_their_place(result):
    assert result.is_found(intersects=json.dumps({"type": "Polygon", "coordinates": SQUARE}))
    assert not result.is_found(intersects=json.dumps({"type": "Point", "coordinates": [5, 5]}))


def test_items_are_geojson_and_keep_where_files_are_to_themselves(service, result):
    source = "https://example.org/items/S2B.json"
    result.write(links=[{"rel": "derived_from", "href": href} for href in (source, "file:///srv/geosr/scenes/a.tif")])
    item = f"/collections/results/items/{result.job}"
    download = f"/jobs/{result.job}/files/product.json"
    for path in (item, "/collections/results/items?limit=1000", "/search?limit=1000", download):
        answer = service.http.get(path)
        assert answer.headers["content-type"] == GEOJSON
        assert "file://" not in answer.text
        assert str(service.data) not in answer.text
    assert service.http.post("/search", json={}).headers["content-type"] == GEOJSON
    for path in (item, download):
        links = service.http.get(path).json()["links"]
        assert [link["href"] for link in links if link["rel"] == "derived_from"] == [source]


def test_jobs_are_listed_by_when_they_were_made(service, result):
    created = service.http.get(f"/jobs/{result.job}").json()["created"]
    moment = dt.datetime.fromisoformat(created)

    def found(asked):
        answer = service.http.get("/jobs", params={"datetime": asked, "limit": 1000})
        assert answer.status_code == 200, answer.text
        return result.job in [one["jobID"] for one in answer.json()["jobs"]]

    minute = dt.timedelta(minutes=1)
    assert found(f"{(moment - minute).isoformat()}/{(moment + minute).isoformat()}")
    assert found(f"{created[:10]}/..")
    assert not found(f"../{(moment - minute).isoformat()}")
    assert not found("2020")
    assert service.http.get("/jobs", params={"datetime": "soon"}).status_code == 400


def test_jobs_are_listed_by_how_long_they_ran(service, result):
    def found(**asked):
        content = service.http.get("/jobs", params={"limit": 1000, **asked}).json()
        assert content["numberMatched"] == len(content["jobs"])
        return result.job in [one["jobID"] for one in content["jobs"]]

    assert found(minDuration=0)
    assert found(maxDuration=3600)
    assert found(minDuration=0, maxDuration=3600, status="successful")
    assert not found(minDuration=3600)
    assert not found(minDuration=0, status="failed")
    assert service.http.get("/jobs", params={"minDuration": "long"}).status_code == 400


def test_pages_of_jobs_keep_to_what_was_asked(service, result):
    service.wait(service.submit(scene="demo", bbox=BOX, max_cloud=78))
    year = result.service.http.get(f"/jobs/{result.job}").json()["created"][:4]
    address, seen = f"{service.address}/jobs?limit=1&datetime={year}&maxDuration=3600&status=successful", []
    while address:
        page = service.http.get(address).json()
        seen += [one["jobID"] for one in page["jobs"]]
        address = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert len(seen) == len(set(seen)) == page["numberMatched"] >= 2
    assert service.http.get("/jobs", params={"offset": 10**21}).status_code == 400


def test_api_definitions_are_of_the_versions_that_their_links_say(service):
    versions = set()
    for link in service.http.get("/").json()["links"]:
        if link["rel"] == "service-desc":
            version = service.http.get(link["href"]).json()["openapi"].rpartition(".")[0]
            assert link["type"].endswith(f";version={version}")
            versions.add(version)
    # Classes of OpenAPI 3.0 are kept to by documents of 3.0 alone.
    claimed = service.http.get("/conformance").json()["conformsTo"]
    assert "3.0" in versions
    assert any(one.endswith("/oas30") for one in claimed)
