"""Identity of a remote source: it differs after a change."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from catalog import RefusedError, Restriction, SceneRequest, UnreachableError, open_scene, restrict
from catalog.identity import look_up
from catalog.web import version_of
from tests.catalog.scenes import pixels_of
from tests.conftest import write_raster
from tests.stac_items import write_item
from tests.web_files import web_files


@pytest.fixture
def files(tmp_path):
    (tmp_path / "www").mkdir()
    with web_files(tmp_path / "www") as served:
        yield served


def write(files, value, name="in.tif", age=0):
    """A raster of one value; all of them have the same size."""
    path = write_raster(files.folder / name, np.full((4, 64, 64), value, np.uint16))
    os.utime(path, ns=(10**18, 10**18 - age * 10**9))
    return files.url(name)


def item_of(files, **options):
    path = write_item(files.folder, "one", np.full((4, 16, 16), 1000, np.uint16), **options)
    content = json.loads(path.read_text())
    for asset in content["assets"].values():
        asset["href"] = files.url(asset["href"].rpartition("/")[2])
    path.write_text(json.dumps(content))
    return SceneRequest(str(path))


def test_a_remote_raster_that_changes_has_another_identity(files):
    address = write(files, 1000, age=5)
    first = open_scene(SceneRequest(address))
    assert {"etag", "size"} <= first.identity.keys()
    assert open_scene(SceneRequest(address)).identity == first.identity
    assert not [note for note in first.notes if "version" in note]
    write(files, 2000)
    assert open_scene(SceneRequest(address)).identity != first.identity


def test_a_rasters_server_is_asked_as_whoever_signed_its_address_expects(files):
    address = write(files, 1000)
    plain = version_of(address)
    files.asked.clear()
    assert version_of(f"{address}?X-Amz-Signature=abc") == plain
    assert [method for method, _ in files.asked] == ["GET"]
    assert version_of(f"/vsicurl/{address}") == plain
    first, second = (look_up([f"{address}?sig={one}"]).popitem()[1] for one in "ab")
    assert first == second
    assert "sig" not in json.dumps(first)


def test_without_etag_the_time_of_change_tells(files, monkeypatch):
    address = write(files, 1000, age=5)
    monkeypatch.setattr(files, "tags", ("Last-Modified",))
    before = version_of(address)
    assert {"modified", "size"} == before.keys()
    write(files, 2000)
    assert version_of(address) != before


def test_servers_that_tell_no_version_are_noted(files):
    files.tags = ()
    for request in (SceneRequest(write(files, 1000)), item_of(files)):
        notes = [note for note in open_scene(request).notes if "tells no version" in note]
        assert len(notes) == 1
        assert notes[0].startswith(files.address.removeprefix("http://"))
    size = (files.folder / "in.tif").stat().st_size
    assert version_of(files.url("in.tif")) == {"size": size}


def test_every_remote_raster_of_an_item_is_asked_of_and_those_that_are_not_read_are_not(files):
    request = item_of(files, scl=np.full((8, 8), 4, np.uint8))
    before = open_scene(request).identity
    assert not [path for _, path in files.asked if "SCL" in path]
    os.utime(files.folder / "one_B08.tif", ns=(1, 1))
    assert open_scene(request).identity != before


def test_remote_parts_of_a_local_raster_count(files, tmp_path):
    address = write(files, 1000, age=5)
    source = tmp_path / "made.vrt"
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{i}"><Description>{name}</Description><SimpleSource><SourceFilename>'
        f"/vsicurl/{address}</SourceFilename><SourceBand>{i}</SourceBand></SimpleSource></VRTRasterBand>"
        for i, name in enumerate(("B02", "B03", "B04", "B08"), start=1)
    )
    source.write_text(
        '<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>0, 10, 0, 80, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )
    scene = open_scene(SceneRequest(str(source)))
    assert scene.files == (str(source),)
    assert (pixels_of(scene)[0] == 1000).all()
    write(files, 2000)
    assert open_scene(SceneRequest(str(source))).identity != scene.identity


def test_what_may_not_be_read_is_not_asked_of(files):
    address = write(files, 1000)
    restrict(Restriction(hosts=("example.org",)))
    try:
        with pytest.raises(RefusedError):
            look_up([address])
    finally:
        restrict(None)
    assert not files.asked


def test_who_refuses_tells_nothing_and_who_fails_is_unreachable(files):
    address = write(files, 1000)
    files.status = 403
    assert version_of(address) == {}
    files.status = 503
    with pytest.raises(UnreachableError, match="answers 503"):
        version_of(f"{address}?sig=SECRET")
    # Once for the refusal, and five attempts at what fails.
    assert len(files.asked) == 6
