"""Input, chunks and output in storage that speaks S3, on a real server on loopback: the same bytes as on a disk."""

from __future__ import annotations

import json
import time
import uuid

import pytest
import rasterio
from rio_cogeo import cog_validate

from catalog import SceneRequest
from geosr.errors import ExistsError, ResumeError
from geosr.run.checkpoint import work_folder
from geosr.run.pipeline import super_resolve
from geosr.run.storage_options import share_settings
from tests.conftest import run_geosr, write_raster
from tests.services import dask_scheduler, geosr_worker, s3_server
from tests.small_model import write_small_model
from tests.upscaling import upscale_request
from tests.warm import WarmProcess
from tiling import gdal_path, locate, move, read_range, write

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as environment:
        yield environment


@pytest.fixture
def bucket(server, monkeypatch):
    """A folder in a new bucket, and the variables that lead to it, for this process and those it starts."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_S3_ENDPOINT", "AWS_HTTPS", "AWS_VIRTUAL_HOSTING"):
        # What is shared with GDAL goes with the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    share_settings()
    name = uuid.uuid4().hex
    place = locate(f"s3://{name}/data")
    place.fs.mkdir(name)
    return place


@pytest.fixture
def source(tmp_path, bucket, sample):
    """One raster, on the disk and in the bucket."""
    path = write_raster(tmp_path / "in.tif", sample[:, :80, :80])
    (bucket / "in.tif").write_bytes(path.read_bytes())
    return path


def options(**more):
    return {"model": "bicubic", "core_px": 32, **more}


def names(place) -> list[str]:
    return sorted(path.name for path in place.iterdir()) if place.is_dir() else []


def test_the_same_bytes_as_on_a_disk(tmp_path, bucket, source):
    super_resolve(upscale_request(SceneRequest(str(source)), tmp_path / "out.tif", **options()))
    published = super_resolve(upscale_request(SceneRequest(f"{bucket}/in.tif"), bucket / "out.tif", **options()))
    assert str(published.cog) == f"{bucket}/out.tif"
    assert names(bucket) == ["in.tif", "out.json", "out.tif"]
    pixels = {}
    for name, path in (("disk", tmp_path / "out.tif"), ("s3", gdal_path(bucket / "out.tif"))):
        assert cog_validate(path, strict=True)[0]
        with rasterio.open(path) as raster:
            pixels[name] = raster.read()
            assert raster.tags()["GEOSR_SOURCE"] == "in"
    assert (pixels["disk"] == pixels["s3"]).all()
    item = json.loads((bucket / "out.json").read_text())
    assert item["assets"]["data"]["href"] == "./out.tif"
    assert f"{bucket}/in.tif" in [link["href"] for link in item["links"]]


def test_only_the_source_in_the_tags_tells_disk_from_storage(tmp_path, bucket, source):
    """From the same source, the bytes are the same wherever they go."""
    super_resolve(upscale_request(SceneRequest(str(source)), tmp_path / "out.tif", **options(core_px=128)))
    super_resolve(upscale_request(SceneRequest(str(source)), bucket / "out.tif", **options(core_px=128)))
    assert (bucket / "out.tif").read_bytes() == (tmp_path / "out.tif").read_bytes()


def test_uncertainty_goes_there_too(tmp_path, bucket, source):
    fixed = options(model=str(write_small_model(tmp_path)), core_px=80, uncertainty=True, precision="float32")
    super_resolve(upscale_request(SceneRequest(str(source)), tmp_path / "out.tif", **fixed))
    super_resolve(upscale_request(SceneRequest(str(source)), bucket / "out.tif", **fixed))
    assert names(bucket) == ["in.tif", "out.json", "out.tif", "out_measured.tif", "out_uncertainty.tif"]
    for name in ("out.tif", "out_measured.tif", "out_uncertainty.tif"):
        assert (bucket / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_finished_run_is_not_repeated_and_others_are_not_replaced(bucket, source):
    first = upscale_request(SceneRequest(str(source)), bucket / "out.tif", **options())
    assert super_resolve(first).computed == 9
    assert super_resolve(first).computed == 0
    with pytest.raises(ExistsError, match="--overwrite"):
        super_resolve(upscale_request(SceneRequest(str(source)), bucket / "out.tif", **options(model="nearest")))
    with pytest.raises(ExistsError, match="replace the source itself"):
        super_resolve(upscale_request(SceneRequest(f"{bucket}/in.tif"), bucket / "in.tif", **options(overwrite=True)))


def test_killed_in_the_middle_and_started_again(tmp_path, bucket, source, monkeypatch):
    arguments = [
        "upscale",
        f"{bucket}/in.tif",
        "-o",
        f"{bucket}/out.tif",
        "--core",
        "27",
        "--model",
        "bicubic",
        "--json",
    ]
    run = WarmProcess("geosr", *arguments)
    folder = work_folder(bucket / "out.tif")
    while len([name for name in names(folder) if name.startswith("r0")]) < 2:
        assert run.poll() is None
        time.sleep(0.05)
    run.kill()
    run.wait()
    assert "lock" in names(folder)
    result = run_geosr(*arguments)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert 0 < told["computed"] <= told["chunks"] - 2
    assert names(bucket) == ["in.tif", "out.json", "out.tif"]
    run_geosr(*[argument.replace("out.tif", "undisturbed.tif") for argument in arguments])
    assert (bucket / "out.tif").read_bytes() == (bucket / "undisturbed.tif").read_bytes()


def test_two_processes_do_not_share_an_output(bucket, source, monkeypatch):
    monkeypatch.setattr("geosr.run.locks._RENEWED_S", 0.2)
    monkeypatch.setattr("geosr.run.locks._EXPIRED_S", 1.0)
    from geosr.run.locks import lock_folder

    folder = work_folder(bucket / "out.tif")
    lock = lock_folder(folder, bucket / "out.tif")
    with pytest.raises(ResumeError, match="another process"):
        super_resolve(upscale_request(SceneRequest(str(source)), bucket / "out.tif", **options()))
    lock.release()
    assert super_resolve(upscale_request(SceneRequest(str(source)), bucket / "out.tif", **options())).computed == 9


def test_workers_of_a_cluster_write_there(tmp_path, bucket, source, server):
    request = upscale_request(SceneRequest(f"{bucket}/in.tif"), bucket / "alone.tif", **options())
    super_resolve(request)
    with dask_scheduler(tmp_path) as address, geosr_worker(address, tmp_path, "worker", **server):
        result = run_geosr(
            *("upscale", f"{bucket}/in.tif", "-o", f"{bucket}/out.tif", "--core", 32, "--model", "bicubic"),
            *("--scheduler", address),
        )
    assert result.returncode == 0, result.stderr
    assert (bucket / "out.tif").read_bytes() == (bucket / "alone.tif").read_bytes()


def test_what_storage_refuses_is_one_line(bucket, source):
    result = run_geosr("upscale", source, "-o", "s3://no-such-bucket/out.tif", "--model", "bicubic")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("geosr: cannot write s3://no-such-bucket/")
    result = run_geosr("upscale", source, "-o", "ftp://host/out.tif", "--model", "bicubic")
    assert result.returncode == 1
    assert "neither a path nor in storage that is known" in result.stderr


def test_storage_that_does_not_answer_is_one_line(tmp_path, source):
    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_S3_ENDPOINT": "127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    result = run_geosr("upscale", source, "-o", "s3://bucket/out.tif", "--model", "bicubic", **environment)
    assert result.returncode == 1
    assert "cannot be reached" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_an_object_is_whole_or_not_there(bucket):
    def half():
        yield b"x" * 40_000_000
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(bucket / "a", half())
    assert names(bucket) == []
    write(bucket / "a", [b"x" * 40_000_000, b"y"])
    assert read_range(bucket / "a", 39_999_999, 50_000_000) == b"xy"
    move(bucket / "a", bucket / "b")
    assert names(bucket) == ["b"]
