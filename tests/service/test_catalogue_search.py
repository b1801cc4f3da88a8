"""A search of the catalogue that matches nothing is an answer, and no failure; what fails names no private address."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.service.conftest import served
from tests.stac_items import serve, write_item

PERIOD = {"bbox": [14, 47, 15, 48], "datetime": "2023-08-15"}


@pytest.fixture(scope="module")
def searching(tmp_path_factory):
    """A service over a catalogue on this machine."""
    folder = tmp_path_factory.mktemp("catalogue")
    item = write_item(folder, "one", np.full((4, 9, 9), 1000, np.uint16))
    with serve(folder, item) as api:
        hosts = json.dumps([api.removeprefix("http://")])
        with served(folder / "data", api=api, private_hosts=hosts) as running:
            yield running


def test_a_search_that_matches_nothing_is_an_empty_collection(searching):
    answer = searching.http.post("/catalogue/search", json=PERIOD)
    assert answer.status_code == 200
    assert answer.json() == {"type": "FeatureCollection", "features": [], "numberMatched": 0}


def test_a_job_that_finds_nothing_failed_by_what_was_asked(searching):
    job = searching.submit(**PERIOD)
    status = searching.wait(job)
    assert status["status"] == "failed"
    assert status["message"].startswith("nothing found at a server of the service's network")
    answer = searching.http.get(f"/jobs/{job}/results")
    assert answer.status_code == 404
    assert "127.0.0.1" not in answer.text
