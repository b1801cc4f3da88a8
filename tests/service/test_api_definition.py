"""The API definition: what it says of orders is what is taken."""

from __future__ import annotations

import jsonschema
import pytest

from tests.service.conftest import BOX
from tests.service.test_processes import assert_problem, execute, in_full

# Services start in processes of their own.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("inputs", "status"),
    [
        # Empty, not on Earth, across the antimeridian, and nowhere near the sample.
        ({"bbox": [5, 5, 5, 6]}, 404),
        ({"bbox": [0, 95, 1, 96]}, 404),
        ({"bbox": [170, 5, -170, 6]}, 404),
        ({"bbox": [50, 50, 50.01, 50.01]}, 404),
        # The model has no half-widths.
        ({"uncertainty": True}, 409),
    ],
)
def test_well_formed_inputs_that_cannot_be_met_are_told_from_wrong_ones(service, inputs, status):
    assert_problem(execute(service, "respond-async", inputs={"scene": "demo", **inputs}), status)


POLYGON = {"type": "Polygon", "coordinates": [[[0, 0], [0, 0.01], [0.01, 0.01], [0, 0]]]}


@pytest.mark.parametrize(
    "inputs",
    [
        {"scene": "a"},
        {"scene": "a", "item": None, "others": ["b"], "fill": False},
        {"scene": {"value": "a"}, "bbox": {"bbox": BOX}},
        {"item": "https://example.org/a.json", "aoi": POLYGON},
        {"datetime": "2024-06", "bbox": BOX, "fill": True},
        {"datetime": "2024-06-01/..", "aoi": POLYGON, "dates": 2, "reference": "2024-06-13"},
        {},
        {"scene": "a", "item": "https://example.org/a.json"},
        {"scene": "a", "others": ["b"], "fill": True},
        {"scene": "a", "others": []},
        {"scene": "a", "datetime": "2024"},
        {"scene": "a", "bbox": BOX, "aoi": POLYGON},
        {"scene": {"value": None}},
        {"scene": "a", "nodata": "0"},
        {"scene": "a", "uncertainty": 1},
        {"item": "example.org/a.json"},
        {"datetime": "2024-06"},
        {"datetime": "2024-02-30", "bbox": BOX},
        {"datetime": "2024-06", "bbox": BOX, "reference": "2024-06-13"},
        {"datetime": "2024-06", "bbox": BOX, "dates": 2, "fill": True},
        {"datetime": "2024-06", "bbox": BOX, "dates": 1},
        {"datetime": "2024-06", "aoi": {"type": "Polygon", "coordinates": []}},
    ],
)
def test_the_api_definition_tells_which_inputs_go_together(service, inputs):
    document = service.http.get("/api").json()
    body = document["paths"]["/processes/upscale/execution"]["post"]["requestBody"]
    schema = in_full(body["content"]["application/json"]["schema"], document)
    told = jsonschema.Draft202012Validator(schema).is_valid({"inputs": inputs})
    # What there is not is found out after that.
    assert told == (execute(service, "respond-async", inputs=inputs).status_code != 400)
