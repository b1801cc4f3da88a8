"""Files that threads keep open between reads are closed when files go."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from rasterio.env import get_gdal_config

from catalog import SceneRequest, forget, open_scene
from catalog.gdal import open_raster
from tests.catalog.scenes import pixels_of
from tests.conftest import write_raster
from tests.web_files import web_files


@pytest.fixture
def thread():
    """Another thread, which stays between its tasks."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda work, *arguments: pool.submit(work, *arguments).result()


def raster(path, value=1):
    path.parent.mkdir(exist_ok=True)
    return write_raster(path, np.full((1, 16, 16), value, np.uint16), names=())


def read(path):
    with open_raster(str(path)) as opened:
        return opened.read()


def held(folder):
    """Files below a folder that this process has open, the deleted ones too."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except OSError:
            # The one that the folder itself was listed by.
            continue
    return [link for link in links if link.startswith(f"{folder}/")]


def test_gdal_reports_a_block_cache_of_160_megabytes_while_a_raster_is_read(tmp_path):
    path = raster(tmp_path / "a.tif")
    with open_raster(str(path)):
        assert get_gdal_config("GDAL_CACHEMAX") == 160 * 2**20


def test_blocks_that_were_read_are_not_decoded_again(tmp_path):
    """The file is emptied between the reads: what is read again can only come from the cache."""
    path = write_raster(tmp_path / "a.tif", np.full((1, 512, 512), 7, np.uint16), names=())
    with open_raster(str(path)) as opened:
        assert (opened.read() == 7).all()
        with path.open("r+b") as file:
            file.truncate(16)
        assert (opened.read() == 7).all()


def test_a_file_that_is_deleted_is_closed_in_all_threads(tmp_path, thread):
    path, other = raster(tmp_path / "a" / "a.tif"), raster(tmp_path / "ab" / "b.tif")
    for one in (path, other):
        read(one)
        thread(read, one)
    assert len(held(path.parent)) == 2
    shutil.rmtree(path.parent)
    forget(str(path.parent))
    assert held(tmp_path / "a") == []
    assert len(held(other.parent)) == 2
    assert (thread(read, other) == 1).all()


def test_a_thread_that_is_reading_closes_when_it_has_read(tmp_path):
    path = raster(tmp_path / "a.tif", 3)
    opened, forgotten, done, seen = (threading.Event() for _ in range(4))
    pixels = []

    def work():
        with open_raster(str(path)) as one:
            opened.set()
            forgotten.wait(10)
            pixels.append(one.read())
        done.set()
        seen.wait(10)

    reader = threading.Thread(target=work)
    reader.start()
    assert opened.wait(10)
    path.unlink()
    forget(str(path))
    forgotten.set()
    assert done.wait(10)
    assert held(tmp_path) == []
    seen.set()
    reader.join()
    assert (pixels[0] == 3).all()


def test_who_reads_may_say_itself_that_a_file_goes(tmp_path):
    path = raster(tmp_path / "a.tif", 3)
    with open_raster(str(path)) as one:
        forget(str(path))
        with open_raster(str(raster(tmp_path / "b.tif"))) as other:
            assert (other.read() == 1).all()
        assert (one.read() == 3).all()
    assert held(tmp_path) == []


def test_files_that_are_gone_are_closed_when_another_is_opened(tmp_path):
    gone, changed, other = (raster(tmp_path / f"{name}.tif") for name in ("gone", "changed", "other"))
    read(gone)
    read(changed)
    gone.unlink()
    raster(tmp_path / "new.tif", 2).replace(changed)
    read(other)
    assert held(tmp_path) == [str(other)]


def test_a_remote_file_is_opened_anew_for_a_new_scene(tmp_path):
    with web_files(tmp_path) as files:
        for side in (64, 80):
            write_raster(tmp_path / "in.tif", np.full((4, side, side), side, np.uint16))
            scene = open_scene(SceneRequest(files.url("in.tif")))
            assert scene.geobox.shape == (side, side)
            assert (pixels_of(scene)[0] == side).all()
