"""Folders of an earlier service: its cache, its scenes, and files that a kill has left."""

from __future__ import annotations

import io
import socket
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SAMPLE, run_geosr, write_raster
from tests.service.conftest import served

pytestmark = pytest.mark.slow

TILE = "/scenes/demo/tiles/16/32770/32770"


def shown(service, scale=1):
    answer = service.http.get(TILE, params={"bands": "B08", "scale": scale})
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("L")).astype(int)


def test_a_cache_gives_nothing_of_chunks_of_another_size(tmp_path):
    with served(tmp_path / "data", "--demo", live_core_px=64) as service:
        expected = shown(service, scale=2)
    with served(tmp_path / "other", "--demo", live_core_px=128) as service:
        shown(service)
    with served(tmp_path / "other", "--demo", live_core_px=64) as service:
        assert (shown(service, scale=2) == expected).all()


def test_a_cache_gives_nothing_of_another_model(tmp_path):
    with served(tmp_path / "data", "--demo", model="nearest") as service:
        tile, chunks = shown(service), shown(service, scale=2)
        tag = service.http.get(TILE, params={"bands": "B08"}).headers["etag"]
    with served(tmp_path / "other", "--demo") as service:
        assert np.abs(shown(service) - tile).max() > 5
        # What a browser has of the one is not taken for the other's.
        answer = service.http.get(TILE, params={"bands": "B08"}, headers={"if-none-match": tag})
        assert answer.status_code == 200
    with served(tmp_path / "other", "--demo", model="nearest") as service:
        assert (shown(service) == tile).all()
        assert (shown(service, scale=2) == chunks).all()


def test_the_list_of_scenes_tells_which_the_model_does_not_fit(tmp_path):
    two = write_raster(tmp_path / "two.tif", np.full((2, 64, 64), 1000, dtype=np.uint16), names=("B02", "B03"))
    headers = {"content-type": "image/tiff"}
    with served(tmp_path / "data", "--demo") as service:
        for name, path in (("whole", SAMPLE), ("two bands", two)):
            answer = service.http.post(
                "/scenes/upload", params={"title": name}, content=path.read_bytes(), headers=headers
            )
            assert answer.status_code == 201
        assert service.http.get("/scenes").json()["left_out"] == []
    with served(tmp_path / "data", "--demo", model="rgbn-x4") as service:
        listed = service.http.get("/scenes")
        assert listed.status_code == 200
        assert [one["title"] for one in listed.json()["scenes"] if one["kind"] == "upload"] == ["whole"]
        (left_out,) = listed.json()["left_out"]
        assert (left_out["title"], left_out["kind"]) == ("two bands", "upload")
        assert "B04" in left_out["reason"]


@pytest.mark.parametrize("model", ["no-such-model", "/nowhere/card.json"])
def test_a_service_does_not_start_with_a_model_that_is_none(tmp_path, model):
    ended = run_geosr("serve", "--data", tmp_path / "data", "--port", "0", GEOSR_SERVICE_MODEL=model)
    assert ended.returncode == 2
    assert model in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_what_a_kill_has_left_of_an_upload_is_removed_at_the_next_start(tmp_path):
    headers = {"content-type": "image/tiff"}
    with served(tmp_path / "data", "--demo") as service:
        folder = service.data / "scenes"
        kept = service.http.post("/scenes/upload", content=SAMPLE.read_bytes(), headers=headers).json()["id"]
        place = urlsplit(service.address)
        with socket.create_connection((place.hostname, place.port), timeout=60) as client:
            client.sendall(f"POST /scenes/upload HTTP/1.1\r\nHost: {place.netloc}\r\n".encode())
            client.sendall(b"Content-Length: 9000000\r\n\r\n" + bytes(100_000))
            deadline = time.monotonic() + 120
            while not list(folder.glob(".upload-*")):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            service.kill()
        # As of one whose scene was not yet in the database.
        (folder / "0123456789abcdef").mkdir()
        (folder / "0123456789abcdef" / "upload.tif").touch()
    with served(tmp_path / "data", "--demo") as service:
        assert {path.name for path in folder.iterdir()} == {"demo", kept}
        assert service.http.get(f"/scenes/{kept}").status_code == 200


def test_a_scene_that_an_unfinished_job_reads_cannot_be_removed(tmp_path):
    headers = {"content-type": "image/tiff"}
    with served(tmp_path / "data", model="rgbn-x4") as service:
        scene = service.http.post("/scenes/upload", content=SAMPLE.read_bytes(), headers=headers).json()["id"]
        runs, waits = (service.submit(scene=scene, max_cloud=cloud) for cloud in (50, 60))
        service.wait(runs, "running")
        for job in (runs, waits):
            answer = service.http.delete(f"/scenes/{scene}")
            assert answer.status_code == 409
            assert answer.headers["content-type"] == "application/problem+json"
            assert "not finished" in answer.json()["detail"]
            assert service.http.get(f"/scenes/{scene}").status_code == 200
            service.http.delete(f"/jobs/{job}")
        assert service.http.delete(f"/scenes/{scene}").status_code == 204
        assert not (service.data / "scenes" / scene).exists()
