"""A source that is replaced during a run gives no product of two halves."""

from __future__ import annotations

import os

import numpy as np
import pytest
import rasterio

from catalog import ChangedError, SceneRequest, UnreachableError
from geosr.errors import ResumeError
from geosr.progress import QuietReporter
from geosr.run.checkpoint import work_folder
from geosr.run.pipeline import super_resolve
from tests.conftest import read_raster, write_raster
from tests.stac_items import write_item
from tests.upscaling import upscale_request
from tests.web_files import web_files

OLD, NEW = (np.full((4, 60, 60), value, np.uint16) for value in (1000, 5000))


class AtChunk(QuietReporter):
    """Does something once the first chunk is finished."""

    def __init__(self, act):
        self._act = act

    def chunk(self, key, finished, total):
        if finished == 1:
            self._act()


def interrupt():
    raise KeyboardInterrupt


def request(source, output, **options):
    return upscale_request(SceneRequest(str(source), **options), output, model="bicubic", core_px=20)


def left(folder):
    """Names of the files that runs left in a folder."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("out"))


def replace(path, pixels):
    """Another raster in a file's place, as tools do it that write aside first."""
    with rasterio.open(path) as raster:
        place = {
            "crs": raster.crs,
            "transform": raster.transform,
            "names": raster.descriptions,
            "nodata": raster.nodata,
        }
    write_raster(path.with_name("new.tif"), pixels, **place).replace(path)


def test_a_file_that_is_replaced_during_a_run_gives_no_product(tmp_path):
    source, output = write_raster(tmp_path / "in.tif", OLD), tmp_path / "out.tif"
    with pytest.raises(ChangedError, match=r"in\.tif changed while it was read"):
        super_resolve(request(source, output), AtChunk(lambda: replace(source, NEW)))
    assert left(tmp_path) == []
    super_resolve(request(source, output))
    assert (read_raster(output) == 5000).all()


def test_an_earlier_product_stays_where_the_source_changes(tmp_path):
    source, output = write_raster(tmp_path / "in.tif", OLD), tmp_path / "out.tif"
    super_resolve(request(source, output))
    os.utime(source, ns=(1, 1))
    again = upscale_request(SceneRequest(str(source)), output, model="bicubic", core_px=20, overwrite=True)
    with pytest.raises(ChangedError):
        super_resolve(again, AtChunk(lambda: replace(source, NEW)))
    assert (read_raster(output) == 1000).all()


def test_a_file_that_is_replaced_during_a_resumed_run_gives_no_product(tmp_path):
    source, output = write_raster(tmp_path / "in.tif", OLD), tmp_path / "out.tif"
    with pytest.raises(KeyboardInterrupt):
        super_resolve(request(source, output), AtChunk(interrupt))

    class AtBegin(QuietReporter):
        def begin(self, description, total, finished, lr_pixels):
            assert finished
            replace(source, NEW)

    with pytest.raises(ChangedError):
        super_resolve(request(source, output), AtBegin())
    assert left(tmp_path) == []


def test_a_file_that_is_replaced_between_attempts_is_told_of(tmp_path):
    source, output = write_raster(tmp_path / "in.tif", OLD), tmp_path / "out.tif"
    with pytest.raises(KeyboardInterrupt):
        super_resolve(request(source, output), AtChunk(interrupt))
    replace(source, NEW)
    with pytest.raises(ResumeError, match=r"source \(another, or changed since\).*--restart"):
        super_resolve(request(source, output))


def test_every_raster_of_an_item_is_held_against_what_it_was(tmp_path):
    item = write_item(tmp_path, "one", OLD, scl=np.full((30, 30), 4, np.uint8))
    last = tmp_path / "one_B08.tif"
    with pytest.raises(ChangedError, match=r"one_B08\.tif changed"):
        super_resolve(request(item, tmp_path / "out.tif"), AtChunk(lambda: replace(last, NEW[3:])))
    masked = request(item, tmp_path / "out.tif", mask_clouds=True)
    with pytest.raises(ChangedError, match=r"one_SCL\.tif changed"):
        super_resolve(masked, AtChunk(lambda: os.utime(tmp_path / "one_SCL.tif", ns=(1, 1))))
    assert left(tmp_path) == []


def test_what_a_server_replaces_during_a_run_gives_no_product(tmp_path):
    (tmp_path / "www").mkdir()
    file, output = write_raster(tmp_path / "www" / "in.tif", OLD), tmp_path / "out.tif"
    with web_files(tmp_path / "www") as files:
        source = f"{files.url('in.tif')}?sig=SECRET"
        with pytest.raises(ChangedError, match=r"/in\.tif changed"):
            super_resolve(request(source, output), AtChunk(lambda: replace(file, NEW)))
        assert left(tmp_path) == []

        def silence():
            files.tags = ()

        # Nobody knows then: the same command later may.
        with pytest.raises(UnreachableError, match="whether it changed"):
            super_resolve(request(source, output), AtChunk(silence))
        assert work_folder(output).is_dir()
        files.tags = ("ETag",)
        super_resolve(request(source, output))
    assert (read_raster(output) == 5000).all()


def test_servers_that_take_turns_are_not_taken_for_a_change(tmp_path):
    """Each has an ETag of its own; the one that was asked first is asked again before long."""
    (tmp_path / "www").mkdir()
    write_raster(tmp_path / "www" / "in.tif", OLD)
    with web_files(tmp_path / "www") as files:
        files.mirrors = 2
        # Whichever of them is asked when the run ends.
        for number in range(2):
            output = tmp_path / f"out{number}.tif"
            act = AtChunk(lambda number=number: files.asked.extend([("GET", "/other")] * number))
            super_resolve(request(files.url("in.tif"), output), act)
            assert (read_raster(output) == 1000).all()
