"""A process that may open some files only opens no others, whatever a STAC Item or a raster says."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import rasterio

from catalog import (
    RefusedError,
    Restriction,
    SceneRequest,
    SourceError,
    host_allowed,
    open_scene,
    restrict,
    restricted,
)
from catalog.gdal import files_of, open_raster
from tests.catalog.scenes import pixels_of
from tests.conftest import write_raster
from tests.stac_items import KEYS, write_item

BANDS = ("B02", "B03", "B04", "B08", "SCL")


@pytest.fixture
def places(tmp_path):
    """A folder that may be read and one that may not."""
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    secret.mkdir()
    allowed.mkdir()
    restrict(Restriction((allowed,), ("example.org",)))
    yield allowed, secret
    restrict(None)


@pytest.fixture
def item(places):
    return write_item(places[0], "one", np.full((4, 16, 16), 1000, np.uint16), scl=np.full((8, 8), 4, np.uint8))


def virtual(path, target):
    """A VRT of another raster."""
    with rasterio.open(target) as raster:
        dtype, width, height = raster.dtypes[0], raster.width, raster.height
        place = ", ".join(map(str, raster.transform.to_gdal()))
    kind = {"uint8": "Byte", "uint16": "UInt16"}[dtype]
    path.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>EPSG:32633</SRS>'
        f'<GeoTransform>{place}</GeoTransform><VRTRasterBand dataType="{kind}" band="1"><SimpleSource>'
        f"<SourceFilename>{target}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        "</VRTDataset>"
    )
    return path


def point(item, band, address):
    content = json.loads(item.read_text())
    content["assets"][KEYS.get(band, "scl")]["href"] = address
    item.write_text(json.dumps(content))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("band", BANDS)
def test_every_asset_of_an_item_is_checked_before_any_is_read(places, item, band, masked):
    allowed, secret = places
    request = SceneRequest(str(item), mask_clouds=masked)
    assert pixels_of(open_scene(request))[1].all()
    hidden = shutil.move(allowed / f"one_{band}.tif", secret)
    for address in (f"file://{hidden}", hidden, f"{allowed}/../secret/one_{band}.tif", f"/vsisubfile/0,{hidden}"):
        point(item, band, str(address))
        with pytest.raises(RefusedError, match="may"):
            open_scene(request)
    point(item, band, "https://elsewhere.example/x.tif")
    with pytest.raises(RefusedError, match="not a host"):
        open_scene(request)


@pytest.mark.parametrize("name", ["a.vrt", "a.tif"])
@pytest.mark.parametrize("band", BANDS)
def test_a_virtual_raster_among_the_assets_is_refused_under_any_name(places, item, band, name):
    allowed, secret = places
    hidden = shutil.move(allowed / f"one_{band}.tif", secret)
    point(item, band, virtual(allowed / name, hidden).as_uri())
    with pytest.raises(SourceError, match=f"{name} is not a raster"):
        open_scene(SceneRequest(str(item), mask_clouds=True))


@pytest.mark.parametrize("crs", [None, "EPSG:32634"])
def test_an_asset_that_becomes_a_virtual_raster_after_the_check_is_not_read(places, item, crs):
    allowed, secret = places
    scene = open_scene(SceneRequest(str(item), mask_clouds=True, crs=crs))
    for band in BANDS:
        hidden = shutil.move(allowed / f"one_{band}.tif", secret)
        virtual(allowed / f"one_{band}.tif", hidden)
        with pytest.raises(SourceError, match="is not a raster"):
            pixels_of(scene)
        shutil.copy(hidden, allowed / f"one_{band}.tif")


def test_an_asset_that_becomes_a_link_after_the_check_is_not_read(places, item):
    allowed, secret = places
    scene = open_scene(SceneRequest(str(item)))
    hidden = shutil.move(allowed / "one_B08.tif", secret)
    (allowed / "one_B08.tif").symlink_to(hidden)
    # The thread has the file open that was there before.
    write_raster(hidden, np.full((1, 16, 16), 2000, np.uint16), names=())
    with pytest.raises(RefusedError):
        pixels_of(scene)


def test_refusals_are_not_passed_over(places, tmp_path):
    path = write_raster(places[1] / "a.tif", np.ones((4, 8, 8), np.uint16))
    with pytest.raises(RefusedError):
        files_of(str(path))


def test_overviews_in_another_file_are_not_read(places):
    """GDAL opens the file that a GeoTIFF names for its overviews with any driver."""
    allowed, secret = places
    hidden = write_raster(secret / "half.tif", np.full((1, 8, 8), 7, np.uint16), names=())
    path = write_raster(allowed / "whole.tif", np.ones((1, 16, 16), np.uint16), names=())
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(hidden))
    restrict(None)
    with open_raster(str(path)) as raster:
        assert (raster.read(1, out_shape=(8, 8)) == 7).all()
    restrict(Restriction((allowed,)))
    with pytest.raises(RefusedError, match="overviews"), open_raster(str(path)):
        pass


def test_what_a_thread_opened_without_restriction_is_not_there_for_work_with_one(tmp_path):
    path = str(write_raster(tmp_path / "a.tif", np.ones((1, 8, 8), np.uint16), names=()))
    with open_raster(path):
        pass
    with restricted(Restriction((tmp_path / "elsewhere",))):
        with pytest.raises(RefusedError), open_raster(path):
            pass
        # Work without any of its own does not lift it.
        with restricted(None), pytest.raises(RefusedError), open_raster(path):
            pass
    with open_raster(path) as raster:
        assert (raster.read() == 1).all()


def test_refusals_travel_between_processes():
    assert isinstance(pickle.loads(pickle.dumps(RefusedError("no"))), RefusedError)


@pytest.mark.parametrize("user", ["user@", "user:password@", "@", ":@"])
def test_addresses_with_a_user_name_are_on_no_allowed_host(user):
    """A reader that takes what stands before the @ for the host would go elsewhere than was checked."""
    assert host_allowed("https://example.org/a.tif", ["example.org"])
    assert not host_allowed(f"https://{user}example.org/a.tif", ["example.org", "*.org"])
    with pytest.raises(RefusedError, match=r"^example\.org is not a host"):
        Restriction((), ("example.org",)).check(f"https://{user}example.org/a.tif")
