"""Servers that stall or change what they serve: runs end with one line, and go on from there where they can."""

from __future__ import annotations

import json

import numpy as np
import pytest

from catalog import SceneRequest, SourceError, UnreachableError, gdal, open_scene, web
from geosr.errors import ExistsError, ResumeError
from geosr.progress import QuietReporter
from geosr.run.pipeline import super_resolve
from tests.conftest import read_raster, write_raster
from tests.geosr.test_changed_source import AtChunk
from tests.services import s3_server
from tests.stac_items import write_item
from tests.upscaling import upscale_request
from tests.web_files import web_files
from tiling import locate

#: Noise, so that a file is much larger than what is read to open it.
PIXELS = np.random.default_rng(0).integers(500, 4000, (4, 400, 200)).astype(np.uint16)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "www").mkdir()
    with web_files(tmp_path / "www") as served:
        yield served


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setitem(gdal._HTTP, "GDAL_HTTP_LOW_SPEED_TIME", 1)
    monkeypatch.setattr(web, "STALLED_S", 1)
    monkeypatch.setattr(web, "TOTAL_S", 3)


def served_raster(files, name="in.tif", pixels=PIXELS):
    write_raster(files.folder / name, pixels)
    return files.url(name)


def served_item(files, pixels=PIXELS):
    path = write_item(files.folder, "one", pixels)
    content = json.loads(path.read_text())
    for asset in content["assets"].values():
        asset["href"] = files.url(asset["href"].rpartition("/")[2])
    path.write_text(json.dumps(content))
    return files.url("one.json")


class AtBegin(QuietReporter):
    """Does something once the source was looked at, before its pixels are read."""

    def __init__(self, act):
        self._act = act

    def begin(self, description, total, finished, lr_pixels):
        self._act()


def request(source, output, **options):
    return upscale_request(SceneRequest(source), output, model="bicubic", **options)


@pytest.mark.slow
def test_a_server_that_stalls_ends_the_run_which_can_be_resumed(tmp_path, files, impatient):
    """Two chunks, one of which never comes."""
    source, output = served_item(files), tmp_path / "out.tif"
    with pytest.raises(UnreachableError, match=r"cannot read http://127\.0\.0\.1.*tif"):
        super_resolve(request(source, output, core_px=200), AtBegin(lambda: setattr(files, "stalls_beyond", 0.8)))
    files.stalls_beyond = None
    published = super_resolve(request(source, output, core_px=200))
    assert (published.computed, published.chunks) == (1, 2)


def test_a_server_that_never_gives_an_item_is_not_waited_for(files, impatient):
    item = served_item(files)
    files.stalls_beyond = 0.0
    with pytest.raises(SourceError, match=r"one\.json: it (timed out|takes too long to answer)"):
        open_scene(SceneRequest(item))


def test_a_product_of_what_a_server_had_before_is_not_up_to_date(tmp_path, files):
    output = tmp_path / "out.tif"
    old, new = (np.full((4, 40, 40), value, np.uint16) for value in (1000, 5000))
    source = served_raster(files, pixels=old)
    super_resolve(request(source, output))
    assert super_resolve(request(source, output)).computed == 0
    served_raster(files, pixels=new)
    with pytest.raises(ExistsError):
        super_resolve(request(source, output))
    super_resolve(request(source, output, overwrite=True))
    assert (read_raster(output) == 5000).all()


def test_an_unfinished_run_does_not_go_on_with_what_a_server_has_now(tmp_path, files):
    def interrupt():
        raise KeyboardInterrupt

    old, new = (np.full((4, 40, 40), value, np.uint16) for value in (1000, 5000))
    source = served_raster(files, pixels=old)
    with pytest.raises(KeyboardInterrupt):
        super_resolve(request(source, tmp_path / "out.tif", core_px=20), AtChunk(interrupt))
    served_raster(files, pixels=new)
    with pytest.raises(ResumeError, match="source"):
        super_resolve(request(source, tmp_path / "out.tif", core_px=20))


@pytest.mark.slow
def test_objects_in_storage_have_a_version(tmp_path, monkeypatch):
    with s3_server(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        place = locate("s3://versions/in.tif")
        place.fs.mkdir("versions")
        place.write_bytes(b"one")
        first = web.version_of("s3://versions/in.tif")
        assert {"etag", "size"} == first.keys()
        assert web.version_of("/vsis3/versions/in.tif") == first
        place.write_bytes(b"two")
        assert web.version_of("s3://versions/in.tif") != first
        assert web.version_of("s3://versions/absent.tif") == {}
