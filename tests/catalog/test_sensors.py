"""Sensor profiles: what ships is valid, and says what a raster does not; what a raster says itself is believed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rasterio.transform import from_origin

from catalog import RequestError, SceneRequest, SourceError, open_scene, read_sensor, sensor_names, sentinel2
from catalog.sensors import band_name, role_of
from tests.conftest import SAMPLE, write_raster
from tests.safe_product import write_safe

OLI = ("B1", "B2", "B3", "B4", "B5", "B6", "B7")
AT_30_M = from_origin(359130, 5352340, 30, 30)

PROFILE = """
name: mine
title: An instrument of my own
scale: 0.001
bands:
  - {name: G, role: green, gsd_m: 5, mtf_nyquist: 0.4}
  - {name: R, role: red, gsd_m: 5, mtf_nyquist: 0.3, aliases: [rot]}
"""


def landsat(path, names=OLI, count=7, **options):
    pixels = np.full((count, 12, 10), 9000, dtype=np.uint16) + np.arange(count, dtype=np.uint16)[:, None, None]
    return write_raster(path, pixels, names=names, transform=AT_30_M, **options)


def opened(path, sensor, **options):
    return open_scene(SceneRequest(str(path), sensor=read_sensor(sensor), **options))


@pytest.mark.parametrize("name", ["sentinel-2", "landsat-oli", "planetscope-8", "planetscope-4", "generic-rgb"])
def test_shipped_profiles_are_valid(name):
    assert name in sensor_names()
    profile = read_sensor(name)
    assert profile.name == name
    assert {"red", "green", "blue"} <= {band.role for band in profile.bands}


def test_sentinel_2s_profile_is_what_is_known_of_it_elsewhere():
    profile = read_sensor("sentinel-2")
    assert [band.name for band in profile.bands] == list(sentinel2.BANDS)
    for band in profile.bands:
        known = sentinel2.BANDS[band.name]
        assert band.gsd_m == known.gsd_m
        assert band.mtf_nyquist == (known.mtf_nyquist or 0.637)
        assert all(profile.band(alias) == band for alias in known.aliases)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name: mine", "name: ''"), "name"),
        (("0.001", "0"), "scale is above 0"),
        (("role: red", "role: green"), "share a role"),
        (("role: red", "role: reddish"), "role"),
        (("aliases: [rot]", "aliases: [g]"), "share the name g"),
        (("0.3", "1.3"), "mtf_nyquist"),
        (("title", "tittle"), "title"),
        ((PROFILE, "bands: ["), "not YAML"),
        ((PROFILE, "- 1"), "not a sensor profile"),
    ],
)
def test_wrong_profiles_are_refused(tmp_path, change, message):
    path = tmp_path / "mine.yaml"
    path.write_text(PROFILE.replace(*change))
    with pytest.raises(RequestError, match=message):
        read_sensor(str(path))


def test_profiles_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(RequestError, match="no sensor landsat: there are generic-rgb,"):
        read_sensor("landsat")
    with pytest.raises(RequestError, match="cannot read"):
        read_sensor(str(tmp_path / "absent.yaml"))


def test_a_profile_of_ones_own_serves(tmp_path):
    (tmp_path / "mine.yaml").write_text(PROFILE)
    path = write_raster(tmp_path / "a.tif", np.full((2, 8, 8), 100, np.uint16), names=("rot", "g"))
    scene = opened(path, str(tmp_path / "mine.yaml"))
    assert scene.names == ("R", "G")
    assert [band.mtf_nyquist for band in scene.bands] == [0.3, 0.4]
    assert [band.scale for band in scene.bands] == [0.001, 0.001]


def test_a_profile_says_what_a_raster_does_not(tmp_path):
    scene = opened(landsat(tmp_path / "a.tif", names=()), "landsat-oli")
    assert scene.names == OLI
    assert scene.sensor == "landsat-oli"
    band = scene.bands[4]
    assert (band.scale, band.offset, band.nodata, band.mtf_nyquist) == (0.0000275, -0.2, 0, 0.637)
    assert (band.role, band.gsd_m) == ("nir", 30)
    assert "sensor profile landsat-oli" in scene.radiometry[4]
    assert "bands named in the order of the sensor profile landsat-oli" in scene.notes


def test_bands_have_the_names_of_their_sensor(tmp_path):
    """Landsat's B5 is infrared, Sentinel-2's is not; thermal bands are nobody's short-wave infrared."""
    path = landsat(tmp_path / "a.tif", names=("SR_B2", "blue", "B05", "b7", "ST_B10", "B11", "QA")[1:], count=6)
    scene = opened(path, "landsat-oli")
    assert scene.names == ("B2", "B5", "B7")
    assert [band.role for band in scene.bands] == ["blue", "nir", "swir22"]
    assert any("ST_B10, B11, QA" in note for note in scene.notes)


def test_what_the_raster_says_itself_is_believed(tmp_path):
    path = landsat(tmp_path / "a.tif", scale=0.0001, offset=0.01, nodata=65535)
    scene = opened(path, "landsat-oli")
    assert {(band.scale, band.offset, band.nodata) for band in scene.bands} == {(0.0001, 0.01, 65535)}
    assert set(scene.radiometry) == {"scale and offset in the file"}
    assert "the file's scale 0.0001 and offset 0.01 are taken, not landsat-oli's 2.75e-05 and -0.2" in scene.notes
    assert "the file's nodata 65535 is taken, not landsat-oli's 0" in scene.notes
    floats = write_raster(tmp_path / "f.tif", np.full((7, 8, 8), 0.3, np.float32), names=OLI, transform=AT_30_M)
    scene = opened(floats, "landsat-oli")
    assert {(band.scale, band.offset) for band in scene.bands} == {(1, 0)}
    assert all(math.isnan(band.nodata) for band in scene.bands)


def test_what_the_user_says_comes_first(tmp_path):
    scene = opened(landsat(tmp_path / "a.tif"), "landsat-oli", scale=0.00002, offset=-0.1, bands=["red", "B5"])
    assert scene.names == ("B4", "B5")
    assert {(band.scale, band.offset) for band in scene.bands} == {(0.00002, -0.1)}
    assert set(scene.radiometry) == {"given by the user"}


def test_unnamed_bands_of_another_number_have_to_be_named(tmp_path):
    path = landsat(tmp_path / "a.tif", names=(), count=4)
    with pytest.raises(SourceError, match="4 unnamed bands, and landsat-oli has 7: name them with --bands"):
        opened(path, "landsat-oli")
    assert opened(path, "landsat-oli", bands=["B2", "B3", "-", "B5"]).names == ("B2", "B3", "B5")
    with pytest.raises(SourceError, match="unknown band name B8"):
        opened(path, "landsat-oli", bands=["B2", "B3", "B4", "B8"])


def test_pixels_of_another_size_are_noted(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.full((7, 8, 8), 9000, np.uint16), names=OLI)
    assert "pixels of 10 m, where landsat-oli's B1 has 30 m" in opened(path, "landsat-oli").notes


def test_a_profile_without_scale_leaves_that_open(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.full((3, 8, 8), 90, np.uint8), names=())
    scene = opened(path, "generic-rgb", scale=1 / 255)
    assert scene.names == ("red", "green", "blue")
    assert not scene.plain_image
    with pytest.raises(Exception, match="--scale"):
        opened(path, "generic-rgb")


def test_a_sensor_has_no_effect_where_the_source_tells_all(tmp_path, sample):
    product = write_safe(tmp_path, sample[:, :8, :8], baseline="05.11")
    for source, options in ((SAMPLE, {"plain_image": True}), (product, {})):
        with pytest.raises(RequestError, match="--sensor would have no effect"):
            opened(source, "landsat-oli", **options)
    assert open_scene(SceneRequest(str(product))).sensor == "sentinel-2"


def test_roles_are_those_of_the_sensor():
    assert role_of("B05", None) == "rededge071"
    assert role_of("B5", "landsat-oli") == "nir"
    assert role_of("B5", "an instrument of mine") is None


def test_twelve_unnamed_bands_of_sentinel_2_are_those_of_level_2a(tmp_path):
    pixels = np.full((13, 8, 8), 2000, dtype=np.uint16)
    every = tuple(sentinel2.BANDS)
    path = write_raster(tmp_path / "l2a.tif", pixels[:12], names=())
    assert opened(path, "sentinel-2").names == tuple(name for name in every if name != "B10")
    path = write_raster(tmp_path / "l1c.tif", pixels, names=())
    assert opened(path, "sentinel-2").names == every
    path = write_raster(tmp_path / "eleven.tif", pixels[:11], names=())
    with pytest.raises(SourceError, match="11 unnamed bands, and sentinel-2 has 13"):
        opened(path, "sentinel-2")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *(
            (f"B{number}, central wavelength {nm} nm", f"B{number:02d}")
            for number, nm in ((1, 443), (4, 665), (12, 2190))
        ),
        ("B8A, central wavelength 865 nm", "B8A"),
        ("B4 (665 nm)", "B04"),
        ("B8A", "B8A"),
        ("0_B4", "B04"),
        ("20230815T100031_20230815T100418_T33UUP_B8A", "B8A"),
        ("B4_median", "B04"),
        ("B11_p50", "B11"),
        ("T33UUP_20230815T100031_B02_10m.jp2", "B02"),
        ("S2A_MSIL2A_20230815T100031_N0509_R122_T33UUP_20230815T154502_B12_20m", "B12"),
        ("B05_20m", "B05"),
        ("Red Edge 1", "B05"),
        ("near-infrared", "B08"),
        ("SWIR_2", "B12"),
        ("nir08", "B8A"),
        # What looks like a band and is none.
        ("B4_stdDev", None),
        ("B4_count", None),
        ("B1_1", None),
        ("Band 1", None),
        ("SR_B4", None),
        ("B13", None),
        ("B4, cloud mask", None),
        ("red, smoothed", None),
        ("AOT, Aerosol Optical Thickness map (at 550nm)", None),
    ],
)
def test_bands_are_known_by_the_names_that_software_gives_them(text, name):
    assert sentinel2.band_name(text) == name
    assert band_name(text, read_sensor("sentinel-2")) == name
