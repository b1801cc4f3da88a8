"""OGC API – Processes 1.0 (OGC 18-062r2): its requirements by name, on a running service."""

from __future__ import annotations

import re

import jsonschema
import pytest
from rio_cogeo import cog_validate

from tests.service.conftest import BOX

# Services start in processes of their own.
pytestmark = pytest.mark.slow

NOT_READY = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/result-not-ready"
NO_SUCH_JOB = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-job"
NO_SUCH_PROCESS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-process"

LINK = {
    "type": "object",
    "required": ["href"],
    "properties": {name: {"type": "string"} for name in ("href", "rel", "type", "hreflang", "title")},
}
LINKS = {"type": "array", "items": LINK}
CONFORMANCE = {
    "type": "object",
    "required": ["conformsTo"],
    "properties": {"conformsTo": {"type": "array", "items": {"type": "string"}}},
}
SUMMARY = {
    "type": "object",
    "required": ["id", "version"],
    "properties": {
        "id": {"type": "string"},
        "version": {"type": "string"},
        "title": {"type": "string"},
        "description": {"type": "string"},
        "jobControlOptions": {
            "type": "array",
            "items": {"type": "string", "enum": ["sync-execute", "async-execute", "dismiss"]},
        },
        "outputTransmission": {"type": "array", "items": {"type": "string", "enum": ["value", "reference"]}},
        "links": LINKS,
    },
}
DESCRIPTION = {
    "allOf": [SUMMARY],
    "properties": {
        "inputs": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["schema"],
                "properties": {"minOccurs": {"type": "integer"}, "maxOccurs": {"type": ["integer", "string"]}},
            },
        },
        "outputs": {"type": "object", "additionalProperties": {"type": "object", "required": ["schema"]}},
    },
}
STATUS = {
    "type": "object",
    "required": ["jobID", "status", "type"],
    "properties": {
        "processID": {"type": "string"},
        "type": {"enum": ["process"]},
        "jobID": {"type": "string"},
        "status": {"enum": ["accepted", "running", "successful", "failed", "dismissed"]},
        "message": {"type": "string"},
        **{name: {"type": "string", "format": "date-time"} for name in ("created", "started", "finished", "updated")},
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "links": LINKS,
    },
}
EXCEPTION = {
    "type": "object",
    "required": ["type"],
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "detail", "instance")},
        "status": {"type": "integer"},
    },
}


def assert_problem(answer, status, kind=None):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    jsonschema.validate(content, EXCEPTION)
    assert content["status"] == status
    assert kind is None or content["type"] == kind


def execute(service, prefer=None, process="upscale", **content):
    headers = {"Prefer": prefer} if prefer else {}
    return service.http.post(f"/processes/{process}/execution", json=content, headers=headers)


@pytest.fixture(scope="module")
def finished(service):
    job = service.submit(scene="demo", bbox=BOX)
    assert service.wait(job)["status"] == "successful"
    return job


def test_landingpage_op_and_success(service):
    answer = service.http.get("/")
    assert answer.status_code == 200
    links = {link["rel"] for link in answer.json()["links"]}
    ogc = "http://www.opengis.net/def/rel/ogc/1.0/"
    assert {"service-desc", f"{ogc}conformance", f"{ogc}processes", f"{ogc}job-list"} <= links
    jsonschema.validate(answer.json()["links"], LINKS)


def test_every_link_of_the_landing_page_leads_somewhere(service):
    for link in service.http.get("/").json()["links"]:
        if link.get("method", "GET") == "GET":
            assert service.http.get(link["href"]).status_code == 200, link


def test_conformance_op_and_success(service):
    answer = service.http.get("/conformance")
    assert answer.status_code == 200
    jsonschema.validate(answer.json(), CONFORMANCE)
    start = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"
    classes = {one.removeprefix(start) for one in answer.json()["conformsTo"] if one.startswith(start)}
    assert {"core", "ogc-process-description", "json", "oas30", "job-list", "callback", "dismiss"} == classes


def test_api_definition_op_and_success(service):
    content = service.http.get("/api").json()
    assert content["openapi"].startswith("3.")
    for path in ("/processes", "/processes/upscale/execution", "/processes/change/execution", "/jobs/{job_id}/results"):
        assert path in content["paths"]


def test_process_list_and_success(service):
    answer = service.http.get("/processes")
    assert answer.status_code == 200
    assert [one["id"] for one in answer.json()["processes"]] == ["upscale", "change"]
    for one in answer.json()["processes"]:
        jsonschema.validate(one, SUMMARY)


def test_process_and_process_success(service):
    answer = service.http.get("/processes/upscale")
    assert answer.status_code == 200
    content = answer.json()
    jsonschema.validate(content, DESCRIPTION)
    assert {"scene", "item", "bbox", "aoi", "datetime", "model", "uncertainty"} <= set(content["inputs"])
    for one in (*content["inputs"].values(), *content["outputs"].values()):
        jsonschema.Draft202012Validator.check_schema(one["schema"])


def test_process_exception_no_such_process(service):
    assert_problem(service.http.get("/processes/none"), 404, NO_SUCH_PROCESS)
    assert_problem(execute(service, process="none", inputs={}), 404, NO_SUCH_PROCESS)


def test_process_execute_sync_document(service):
    answer = execute(service, inputs={"scene": "demo", "bbox": BOX}, response="document")
    assert answer.status_code == 200
    assert set(answer.json()) == {"product", "item"}
    assert answer.json()["product"]["href"].startswith(service.address)


def test_process_execute_sync_raw_value_one(service, tmp_path):
    wanted = {"product": {"transmissionMode": "value"}}
    answer = execute(service, inputs={"scene": "demo", "bbox": BOX}, response="raw", outputs=wanted)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("image/tiff")
    path = tmp_path / "product.tif"
    path.write_bytes(answer.content)
    assert cog_validate(path, strict=True)[0]


def test_process_execute_sync_raw_ref(service):
    wanted = {"product": {"transmissionMode": "reference"}}
    answer = execute(service, inputs={"scene": "demo", "bbox": BOX}, response="raw", outputs=wanted)
    assert answer.status_code == 204
    href = re.match(r"<([^>]+)>", answer.headers["link"]).group(1)
    assert service.http.get(href).status_code == 200


def test_process_execute_default_execution_mode_is_sync(service):
    assert execute(service, inputs={"scene": "demo", "bbox": BOX}).status_code == 200


def test_process_execute_async_and_success(service):
    answer = execute(service, "respond-async", inputs={"scene": "demo", "bbox": BOX})
    assert answer.status_code == 201
    assert answer.headers["preference-applied"] == "respond-async"
    jsonschema.validate(answer.json(), STATUS)
    there = service.http.get(answer.headers["location"])
    assert there.status_code == 200
    assert there.json()["jobID"] == answer.json()["jobID"]


@pytest.mark.parametrize(
    "content",
    [
        {"inputs": {}},
        {"inputs": {"scene": "demo", "item": "https://example.org/item.json"}},
        {"inputs": {"scene": "demo", "colour": "red"}},
        {"inputs": {"scene": "demo", "bbox": [0, 0, 1]}},
        {"inputs": {"scene": "demo", "aoi": {"type": "Point", "coordinates": [0, 0]}}},
        {"inputs": {"scene": "demo", "max_cloud": 101}},
        {"inputs": {"scene": "demo", "model": "/etc/passwd"}},
        {"inputs": {"bbox": BOX, "datetime": "2024", "max_cloud": "much"}},
        {"inputs": []},
        {"inputs": {"scene": "demo"}, "outputs": {"nothing": {}}},
        {"inputs": {"scene": "demo"}, "response": "cooked"},
    ],
)
def test_process_execute_inputs_that_are_wrong(service, content):
    assert_problem(execute(service, "respond-async", **content), 400)


def test_process_execute_without_json(service):
    headers = {"content-type": "application/json"}
    answer = service.http.post("/processes/upscale/execution", content=b"{", headers=headers)
    assert_problem(answer, 400)


def test_job_op_and_success(service, finished):
    answer = service.http.get(f"/jobs/{finished}")
    assert answer.status_code == 200
    jsonschema.validate(answer.json(), STATUS)
    assert answer.json()["progress"] == 100
    assert "http://www.opengis.net/def/rel/ogc/1.0/results" in {link["rel"] for link in answer.json()["links"]}


def test_job_exception_no_such_job(service):
    for method in ("get", "delete"):
        assert_problem(getattr(service.http, method)("/jobs/none"), 404, NO_SUCH_JOB)
    assert_problem(service.http.get("/jobs/none/results"), 404, NO_SUCH_JOB)


def test_job_results_and_success(service, finished):
    answer = service.http.get(f"/jobs/{finished}/results")
    assert answer.status_code == 200
    for one in answer.json().values():
        got = service.http.get(one["href"])
        assert got.status_code == 200
        assert len(got.content) == one["length"]
        assert got.headers["content-type"].partition(";")[0] == one["type"].partition(";")[0]


def test_job_results_in_ranges(service, finished):
    href = service.http.get(f"/jobs/{finished}/results").json()["product"]["href"]
    part = service.http.get(href, headers={"Range": "bytes=0-3"})
    assert part.status_code == 206
    assert part.content in (b"II*\0", b"II+\0")


def test_job_results_failed(service):
    # The sample lacks bands of this model.
    job = service.submit(scene="demo", model="s2-ten-x4")
    status = service.wait(job)
    assert status["status"] == "failed"
    assert "needs" in status["message"]
    assert "--" not in status["message"]
    assert str(service.data) not in status["message"]
    # What a client has asked for cannot be done: the service itself has not failed.
    assert_problem(service.http.get(f"/jobs/{job}/results"), 400)
    assert_problem(execute(service, inputs={"scene": "demo", "model": "s2-ten-x4"}), 400)


def test_job_list_op_and_success(service, finished):
    answer = service.http.get("/jobs")
    assert answer.status_code == 200
    for one in answer.json()["jobs"]:
        jsonschema.validate(one, STATUS)
    jsonschema.validate(answer.json()["links"], LINKS)
    assert finished in [one["jobID"] for one in service.http.get("/jobs?limit=1000").json()["jobs"]]


def test_job_list_status_type_and_process(service, finished):
    successful = service.http.get("/jobs", params={"status": "successful"}).json()["jobs"]
    assert {one["status"] for one in successful} == {"successful"}
    assert service.http.get("/jobs", params={"type": "process"}).json()["numberMatched"] >= 1
    assert service.http.get("/jobs", params={"processID": "none"}).json()["jobs"] == []
    assert_problem(service.http.get("/jobs", params={"status": "lazy"}), 400)


def test_job_list_limit_and_pages(service, finished):
    for clouds in range(3):
        service.submit(scene="demo", bbox=BOX, max_cloud=clouds)
    seen, address = [], f"{service.address}/jobs?limit=2"
    while address:
        page = service.http.get(address).json()
        assert len(page["jobs"]) <= 2
        seen += [one["jobID"] for one in page["jobs"]]
        address = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert len(seen) == len(set(seen)) == page["numberMatched"]
    assert_problem(service.http.get("/jobs", params={"limit": 0}), 400)


def test_job_dismiss_op_and_success(service):
    job = service.submit(scene="demo", bbox=[0, -0.027, 0.0269, 0])
    answer = service.http.delete(f"/jobs/{job}")
    assert answer.status_code == 200
    jsonschema.validate(answer.json(), STATUS)
    assert answer.json()["status"] == "dismissed"
    assert_problem(service.http.get(f"/jobs/{job}/results"), 410)


def test_an_unknown_path_and_method_are_problems(service):
    assert_problem(service.http.get("/nothing"), 404)
    assert_problem(service.http.put("/jobs"), 405)


def in_full(schema, document):
    """An OpenAPI schema for jsonschema: what it refers to lies beside it."""
    return {**schema, "components": document["components"]}


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/conformance", "/conformance"),
        ("/processes", "/processes"),
        ("/processes/upscale", "/processes/{process_id}"),
        ("/jobs", "/jobs"),
        ("/jobs/JOB", "/jobs/{job_id}"),
        ("/jobs/JOB/growth", "/jobs/{job_id}/growth"),
        ("/scenes", "/scenes"),
        ("/scenes/demo", "/scenes/{scene_id}"),
        ("/scenes/demo/tilejson.json", "/scenes/{scene_id}/tilejson.json"),
        ("/scenes/demo/point?lon=0.01&lat=-0.01", "/scenes/{scene_id}/point"),
        ("/search", "/search"),
        ("/collections/results/items", "/collections/{collection_id}/items"),
    ],
)
def test_answers_are_those_of_the_api_definition(service, finished, path, template):
    document = service.http.get("/api").json()
    ((media, content),) = document["paths"][template]["get"]["responses"]["200"]["content"].items()
    answer = service.http.get(path.replace("JOB", finished))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media
    jsonschema.validate(answer.json(), in_full(content["schema"], document))
    # The schema says something.
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({}, in_full(content["schema"], document))


def test_problems_are_those_of_the_api_definition(service):
    document = service.http.get("/api").json()
    said = document["paths"]["/jobs/{job_id}"]["get"]["responses"]["4XX"]["content"]["application/problem+json"]
    jsonschema.validate(service.http.get("/jobs/none").json(), in_full(said["schema"], document))
