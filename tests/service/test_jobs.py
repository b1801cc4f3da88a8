"""Jobs: they survive kills of the service, stop when they are dismissed, and are not done twice."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from functools import partial

import psutil
import pytest
from pystac_client import Client

from geosr.model.zoo import DEFAULT_MODEL
from tests.conftest import SAMPLE, run_here
from tests.service import conftest
from tests.service.conftest import BOX
from tests.services import dask_scheduler, geosr_worker
from tests.small_model import write_small_model

pytestmark = pytest.mark.slow

WHOLE = [0, -0.027, 0.0269, 0]

#: 121 chunks of 16 pixels.
QUARTER = [0.001, -0.0165, 0.0165, -0.001]

#: 36 of them.
PART = [0.001, -0.0095, 0.0095, -0.001]


#: Jobs begin as they do elsewhere, and are found by their commands.
served = partial(conftest.served, warm_jobs=False)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    return write_small_model(tmp_path_factory.mktemp("model"))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def job_processes(of: str):
    """Processes of jobs, of this machine, that have `of` in their command."""
    # Each command is read once: a process that ends meanwhile has none, and does not raise.
    commands = {process: process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])}
    return [
        one for one, command in commands.items() if "geosr.service.jobs.job_main" in command and of in " ".join(command)
    ]


def process_of(job: str) -> psutil.Process:
    """The process of a job that was ordered, once it runs."""
    deadline = time.monotonic() + 120
    while not (found := job_processes(job)):
        assert time.monotonic() < deadline, f"job {job} does not begin"
        time.sleep(0.02)
    return found[0]


def test_three_jobs_survive_a_kill_of_the_service_with_the_same_bytes(tmp_path, small_model):
    data = tmp_path / "data"
    options = {"model": small_model, "jobs_at_a_time": 3, "core_px": 16}
    with served(data, "--demo", **options) as service:
        undisturbed = service.submit(scene="demo", bbox=PART)
        status = service.wait(undisturbed)
        assert (status["status"], status["chunks"]["all"]) == ("successful", 36)
        expected = digest(data / "jobs" / undisturbed / "product.tif")
        # Otherwise the next could be answered from this one.
        service.http.delete(f"/jobs/{undisturbed}")
        jobs = [service.submit(scene="demo", bbox=PART, max_cloud=cloud) for cloud in (50, 60, 70)]
        stopped = []
        for job in jobs:
            while service.http.get(f"/jobs/{job}").json()["chunks"]["finished"] < 1:
                time.sleep(0.2)
            # It is in its middle, and stays there until the others are.
            for process in job_processes(job):
                process.suspend()
                stopped.append(process)
        service.kill()
    for process in stopped:
        process.resume()
    deadline = time.monotonic() + 120
    while job_processes(str(data)):
        assert time.monotonic() < deadline, "a job's process outlived the service"
        time.sleep(0.1)
    with served(data, "--demo", **options) as service:
        for job in jobs:
            status = service.wait(job, seconds=300)
            assert status["status"] == "successful"
            assert digest(data / "jobs" / job / "product.tif") == expected


def test_dismissing_one_of_three_stops_its_work_and_leaves_the_others(tmp_path, small_model):
    with served(tmp_path / "data", "--demo", model=small_model, core_px=16, jobs_at_a_time=3) as service:
        boxes = ([0.001, -0.005, 0.005, -0.001], WHOLE, [0.002, -0.005, 0.005, -0.001])
        jobs = [service.submit(scene="demo", bbox=box) for box in boxes]
        service.wait(jobs[1], "running")
        mine = job_processes(jobs[1])
        assert mine
        assert service.http.delete(f"/jobs/{jobs[1]}").json()["status"] == "dismissed"
        # What is dismissed is answered for when its work has ended.
        _, alive = psutil.wait_procs(mine, timeout=60)
        assert not alive
        assert not (service.data / "jobs" / jobs[1]).exists()
        status = service.http.get(f"/jobs/{jobs[1]}").json()
        assert status["status"] == "dismissed"
        assert status["progress"] < 100
        for job in (jobs[0], jobs[2]):
            assert service.wait(job)["status"] == "successful"


def test_jobs_are_computed_by_the_workers_of_a_scheduler(tmp_path, small_model):
    with (
        dask_scheduler(tmp_path) as scheduler,
        geosr_worker(scheduler, tmp_path, "worker"),
        served(tmp_path / "data", "--demo", "--scheduler", scheduler, model=small_model, core_px=32) as service,
    ):
        done = service.submit(scene="demo", bbox=BOX)
        assert service.wait(done)["status"] == "successful"
        stopped = service.submit(scene="demo", bbox=WHOLE)
        while service.http.get(f"/jobs/{stopped}").json()["chunks"]["finished"] < 1:
            time.sleep(0.1)
        assert service.http.delete(f"/jobs/{stopped}").json()["status"] == "dismissed"
        # The worker is free for the next.
        again = service.submit(scene="demo", bbox=[0.001, -0.004, 0.004, -0.001])
        assert service.wait(again)["status"] == "successful"


def test_a_job_whose_process_dies_is_tried_again(tmp_path, small_model):
    with served(tmp_path / "data", "--demo", model=small_model) as service:
        job = service.submit(scene="demo", bbox=BOX)
        service.wait(job, "running")
        deadline = time.monotonic() + 120
        while not (mine := job_processes(job)):
            assert time.monotonic() < deadline, "the job has no process"
            time.sleep(0.02)
        for process in mine:
            process.kill()
        assert service.wait(job)["status"] == "successful"


def test_a_finished_request_is_answered_from_the_store(service):
    first = service.submit(scene="demo", bbox=BOX, max_cloud=50)
    assert service.wait(first)["status"] == "successful"
    # Delivered otherwise, it is an order of its own.
    wanted = {"inputs": {"scene": "demo", "bbox": BOX, "max_cloud": 50}, "response": "raw"}
    headers = {"Prefer": "respond-async"}
    again = service.http.post("/processes/upscale/execution", json=wanted, headers=headers).json()
    assert again["jobID"] != first
    assert again["status"] == "successful"
    assert "earlier" in again["message"]
    # One of the two goes: the other still has its results.
    service.http.delete(f"/jobs/{first}")
    assert service.http.get(f"/jobs/{again['jobID']}/files/product.tif").status_code == 200


def test_rapid_jobs_come_first(tmp_path):
    with served(tmp_path / "data", "--demo") as service:
        first = service.submit(scene="demo", bbox=BOX)
        computing = process_of(first)
        # It does not end before the others wait.
        computing.suspend()
        normal = service.submit(scene="demo", bbox=[0, -0.004, 0.004, 0])
        rapid = service.submit(scene="demo", bbox=[0, -0.003, 0.003, 0], priority="rapid")
        computing.resume()
        done = {job: service.wait(job)["started"] for job in (first, normal, rapid)}
        assert done[first] < done[rapid] < done[normal]


def test_a_queue_that_is_full_says_when_to_come_again(tmp_path):
    with served(tmp_path / "data", "--demo", model=DEFAULT_MODEL, max_queued_jobs=2) as service:
        for i in range(2):
            service.submit(scene="demo", bbox=[0, -0.027, 0.0269 - i / 1000, 0])
        request = {"inputs": {"scene": "demo", "bbox": BOX}}
        answer = service.http.post("/processes/upscale/execution", json=request, headers={"Prefer": "respond-async"})
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0


def test_expired_results_are_removed(tmp_path):
    with served(tmp_path / "data", "--demo") as service:
        job = service.submit(scene="demo", bbox=BOX)
        assert service.wait(job)["status"] == "successful"
        folder = service.data / "jobs" / job
        assert folder.exists()
    with served(tmp_path / "data", "--demo", keep_days=1e-9) as service:
        deadline = time.monotonic() + 120
        while folder.exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert service.http.get(f"/jobs/{job}").status_code == 404


def test_progress_and_the_growing_map_say_what_is_finished(tmp_path, small_model):
    with served(tmp_path / "data", "--demo", model=small_model, core_px=16) as service:
        job = service.submit(scene="demo", bbox=QUARTER)
        computing = process_of(job)
        seen = []
        while (status := service.http.get(f"/jobs/{job}").json())["status"] in ("accepted", "running"):
            chunks = service.http.get(f"/jobs/{job}/growth").json()["features"]
            seen.append((status["progress"], sum(one["properties"]["finished"] for one in chunks), len(chunks)))
            # It computes a little between two looks at it, however fast it is.
            if computing.is_running():
                computing.resume()
                time.sleep(0.2)
                with suppress(psutil.NoSuchProcess):
                    computing.suspend()
            if seen[-1][2] == 121 and seen[-1][1] > 60:
                break
        with suppress(psutil.NoSuchProcess):
            computing.resume()
        status = service.wait(job)
        assert status["status"] == "successful"
        assert status["chunks"] == {"finished": 121, "all": 121}
        progress = [one[0] for one in seen]
        assert progress == sorted(progress)
        assert any(0 < one < 100 for one in progress)
        growing = [finished for _, finished, every in seen if every == 121]
        assert growing[0] < growing[-1]
        # Afterwards all of it is in the product.
        assert service.http.get(f"/jobs/{job}/growth").json()["features"] == []


def test_results_are_a_stac_api_that_pystac_client_reads(service, tmp_path):
    job = service.submit(scene="demo", bbox=BOX)
    assert service.wait(job)["status"] == "successful"
    client = Client.open(service.address)
    found = client.search(bbox=[0, -0.02, 0.02, 0], collections=["results"], max_items=50, limit=2)
    items = {item.id: item for item in found.items()}
    assert job in items
    assert items[job].assets["data"].href.startswith(service.address)
    assert list(client.search(bbox=[50, 50, 51, 51]).items()) == []
    assert client.get_collection("results").get_item(job).id == job


def test_a_result_is_read_by_titiler_and_by_no_address_of_a_client(service):
    job = service.submit(scene="demo", bbox=BOX)
    assert service.wait(job)["status"] == "successful"
    info = service.http.get(f"/jobs/{job}/map/info").json()
    assert info["count"] == 4
    elsewhere = service.http.get(f"/jobs/{job}/map/info", params={"url": "/etc/passwd"}).json()
    assert elsewhere == info


def test_keys_are_made_shown_once_and_revoked(tmp_path):
    data = tmp_path / "data"
    made = run_here("keys", "create", "maps team", "--data", data)
    key_id, key = made.stdout.split()
    listed = run_here("keys", "list", "--data", data)
    assert "maps team" in listed.stdout
    assert key not in listed.stdout
    for path in data.glob("geosr.db*"):
        assert key.encode() not in path.read_bytes()
    with served(data, "--demo", keys="true") as service:
        ask = service.http.get
        assert ask("/healthz").status_code == 200
        assert ask("/scenes").status_code == 401
        assert ask("/scenes", headers={"X-API-Key": "geosr_wrong"}).status_code == 401
        for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
            assert ask("/scenes", headers=headers).status_code == 200
        assert ask("/scenes", params={"api_key": key}).status_code == 200
        other = run_here("keys", "create", "others", "--data", data).stdout.split()[1]
        request = {"inputs": {"scene": "demo", "bbox": BOX}}
        job = service.http.post(
            "/processes/upscale/execution", json=request, headers={"Prefer": "respond-async", "X-API-Key": key}
        ).json()["jobID"]
        # What is one's is nobody else's.
        assert ask(f"/jobs/{job}", headers={"X-API-Key": other}).status_code == 404
        assert ask("/jobs", headers={"X-API-Key": other}).json()["jobs"] == []
        assert run_here("keys", "revoke", key_id, "--data", data).returncode == 0
        assert ask("/scenes", headers={"X-API-Key": key}).status_code == 401
    assert run_here("keys", "revoke", key_id, "--data", data).returncode == 2


#: Paths below a scene and below a job.
OF_SCENES = (
    "",
    "/tilejson.json",
    "/wmts",
    "/tiles/14/8192/8192",
    "/point?lon=0.01&lat=-0.01",
    "/profile?line=0.01,-0.01,0.02,-0.02",
    "/stretch?bbox=0,-0.02,0.02,0",
)
OF_JOBS = (
    "/results",
    "/growth",
    "/links",
    "/files/product.zip",
    "/files/product_preview.png",
    "/files/product.tif",
    "/map/info",
    "/map/tiles/WebMercatorQuad/16/32769/32769.png",
)


def test_a_product_of_someone_elses_scene_is_given_to_nobody_else(tmp_path):
    data = tmp_path / "data"
    mine, theirs = ({"X-API-Key": run_here("keys", "create", name, "--data", data).stdout.split()[1]} for name in "ab")
    with served(data, keys="true") as service:
        scene = service.http.post("/scenes/upload", content=SAMPLE.read_bytes(), headers=mine).json()["id"]
        request = {"inputs": {"scene": scene, "bbox": BOX}}
        done = service.http.post("/processes/upscale/execution", json=request, headers=mine)
        assert done.status_code == 200
        job = done.json()["product"]["href"].split("/")[-3]
        assert service.http.get(f"/scenes/{scene}/tiles/14/8192/8192?layer=original", headers=mine).status_code == 200
        for method, path in (
            *(("GET", f"/scenes/{scene}{path}") for path in OF_SCENES),
            *(("GET", f"/jobs/{job}{path}") for path in OF_JOBS),
            ("PATCH", f"/jobs/{job}"),
            ("DELETE", f"/jobs/{job}"),
            ("DELETE", f"/scenes/{scene}"),
        ):
            content = {"title": "theirs"} if method == "PATCH" else None
            answer = service.http.request(method, path, json=content, headers=theirs)
            assert answer.status_code == 404, (method, path)
        assert "title" not in service.http.get(f"/jobs/{job}", headers=mine).json()
        # Neither the product nor that there is such a scene.
        answers = [
            service.http.post(
                "/processes/upscale/execution", json={"inputs": {"scene": one, "bbox": BOX}}, headers=theirs
            )
            for one in (scene, "none")
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json()["detail"] == answers[1].json()["detail"].replace("none", scene)


def test_too_many_requests_are_told_when_to_come_again(tmp_path):
    with served(tmp_path / "data", requests_per_minute=5) as service:
        answers = [service.http.get("/scenes") for _ in range(8)]
        assert [answer.status_code for answer in answers][:5] == [200] * 5
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["retry-after"]) > 0
