"""Items of other instruments: bands by what they are for, DN by what the Item, its collection or a profile says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rasterio.transform import from_origin
from rasterio.windows import Window

from catalog import RadiometryError, RequestError, SceneRequest, SourceError, open_scene, read_sensor
from tests.conftest import assert_valid_item, run_here, write_raster

AT_30_M = from_origin(400000, 5300000, 30, 30)


def write_foreign(
    folder,
    id,
    keys,
    *,
    collection="c",
    dtype="uint16",
    told=None,
    names=None,
    common=None,
    gsd=30,
    fill=None,
    **properties,
):
    """An Item with one raster for each key, whose DN are 10000, 10001, …."""
    folder.mkdir(exist_ok=True)
    transform = from_origin(400000, 5300000, gsd, gsd)
    assets = {}
    for i, key in enumerate(keys):
        pixels = np.full((1, 12, 12), 10000 + i if dtype != "uint8" else 100 + i, dtype=dtype)
        if fill is not None:
            pixels[:, :2] = fill
        path = write_raster(folder / f"{key}.tif", pixels, names=(), transform=transform)
        described = {} if names is None else {"name": names[i]}
        described |= {} if common is None else {"common_name": common[i]}
        assets[key] = {
            "href": str(path),
            "roles": ["data"],
            "proj:shape": [12, 12],
            "proj:transform": list(transform)[:6],
            **({"eo:bands": [described]} if described else {}),
            **({"raster:bands": [told]} if told else {}),
        }
    content = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/eo/v1.1.0/schema.json"],
        "id": id,
        "collection": collection,
        "geometry": None,
        "bbox": None,
        "links": [],
        "assets": assets,
        "properties": {"datetime": "2023-06-01T10:00:00Z", "proj:epsg": 32633, **properties},
    }
    del content["bbox"]
    path = folder / f"{id}.json"
    path.write_text(json.dumps(content))
    return path


def opened(path, **options):
    return open_scene(SceneRequest(str(path), **options))


def radiometry_of(scene):
    return {(band.scale, band.offset) for band in scene.bands}


COMMON = ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22")
OLI = ("B2", "B3", "B4", "B5")


TM = ("B1", "B2", "B3", "B4")
ETM_NAMES = ("ETM_B1", "ETM_B2", "ETM_B3", "ETM_B4", "ETM_B5", "ETM_B7")


@pytest.mark.parametrize(
    ("id", "collection", "platform", "keys", "names", "bands", "sensor"),
    [
        # USGS, Planetary Computer, an Item with a name of its own, Digital Earth Africa.
        ("LC08_L2SP_190026_20230601_20230607_02_T1_SR", "any", "LANDSAT_8", COMMON, None, OLI, "landsat-oli"),
        ("LC09_L2SP_190026_20230601_02_T1", "landsat-c2-l2", "landsat-9", COMMON, None, OLI, "landsat-oli"),
        ("an id", "landsat-c2l2-sr", "LANDSAT_8", COMMON, None, OLI, "landsat-oli"),
        ("an id", "ls8_sr", "landsat-8", tuple(f"SR_B{i}" for i in range(1, 8)), None, OLI, "landsat-oli"),
        ("LE07_L2SP_190026_20030601_02_T1", "any", "landsat-7", COMMON[1:], ETM_NAMES, TM, "landsat-tm"),
        ("an id", "landsat-c2l2-sr", "LANDSAT_5", COMMON[1:], None, TM, "landsat-tm"),
    ],
)
def test_landsats_collection_2_is_read_as_usgs_publishes_it(
    tmp_path, id, collection, platform, keys, names, bands, sensor
):
    path = write_foreign(tmp_path, id, keys, collection=collection, names=names, platform=platform)
    scene = opened(path)
    assert scene.sensor == sensor
    assert scene.names == bands
    assert radiometry_of(scene) == {(0.0000275, -0.2)}
    assert [band.role for band in scene.bands] == ["blue", "green", "red", "nir"]
    assert [band.gsd_m for band in scene.bands] == [30] * 4
    assert f"sensor profile {sensor}" in scene.radiometry[0]
    first = keys.index("blue" if "blue" in keys else "SR_B2")
    assert scene.reader.read(Window(0, 0, 4, 4))[0][0, 0, 0] == 10000 + first


L30, S30 = ("B02", "B03", "B04", "B05"), ("B02", "B03", "B04", "B08")


@pytest.mark.parametrize(
    ("id", "collection", "platform", "keys", "bands", "sensor"),
    [
        ("HLS.L30.T33UUP.2023152T100031.v2.0", "HLSL30.v2.0", "LANDSAT-8", L30, L30, "hls-l30"),
        ("HLS.S30.T33UUP.2023152T100031.v2.0", "any", "Sentinel-2A", (*S30, "B05", "B8A"), S30, "hls-s30"),
        ("an id", "hls2-l30", "landsat-9", L30, L30, "hls-l30"),
        ("an id", "hls2-s30", "sentinel-2b", S30, S30, "hls-s30"),
    ],
)
def test_harmonised_products_are_read_as_nasa_publishes_them(tmp_path, id, collection, platform, keys, bands, sensor):
    path = write_foreign(tmp_path, id, keys, collection=collection, platform=platform, dtype="int16", fill=-9999)
    scene = opened(path)
    assert (scene.sensor, scene.names) == (sensor, bands)
    assert radiometry_of(scene) == {(0.0001, 0)}
    pixels, valid = scene.reader.read(Window(0, 0, 4, 4))
    assert not valid[:, :2].any()
    assert valid[:, 2:].all()
    assert pixels[3, 3, 0] == 10000 + keys.index(bands[3])


def test_what_the_assets_declare_comes_before_the_collections_table(tmp_path):
    told = {"scale": 0.0001, "offset": -0.05}
    path = write_foreign(tmp_path, "x", COMMON, collection="landsat-c2-l2", platform="landsat-8", told=told)
    assert radiometry_of(opened(path)) == {(0.0001, -0.05)}
    assert radiometry_of(opened(path, scale=0.00005, offset=0.1)) == {(0.00005, 0.1)}
    assert radiometry_of(opened(path, offset=0.1)) == {(0.0001, 0.1)}


def test_a_sensor_of_the_users_is_that_of_an_item_that_names_none(tmp_path):
    path = write_foreign(tmp_path, "mine", COMMON, platform="landsat-8")
    with pytest.raises(RadiometryError, match=r"--scale and --offset, or --sensor .* landsat-oli"):
        opened(path, bands=["blue", "green", "red"])
    scene = opened(path, sensor=read_sensor("landsat-oli"))
    assert scene.names == OLI
    assert radiometry_of(scene) == {(0.0000275, -0.2)}
    assert opened(path, sensor=read_sensor("landsat-oli"), bands=["swir16", "B4"]).names == ("B6", "B4")
    with pytest.raises(RequestError, match="generic-rgb has no band for sentinel-2's B08"):
        opened(path, sensor=read_sensor("generic-rgb"))


def test_a_sensor_that_an_item_is_not_of_is_refused(tmp_path):
    path = write_foreign(tmp_path, "x", COMMON, collection="landsat-c2-l2", platform="landsat-8")
    with pytest.raises(RequestError, match="is of landsat-oli, and not of landsat-tm"):
        opened(path, sensor=read_sensor("landsat-tm"))
    path = write_foreign(tmp_path, "y", ("blue",), platform="sentinel-2a")
    with pytest.raises(RequestError, match="is of sentinel-2, and not of landsat-oli"):
        opened(path, sensor=read_sensor("landsat-oli"))


def test_bytes_without_a_scale_are_a_picture_whatever_the_offset(tmp_path):
    keys = ("red", "green", "blue", "nir")
    path = write_foreign(tmp_path, "naip", keys, dtype="uint8", instruments=["aerial"])
    with pytest.raises(RadiometryError) as refused:
        opened(path)
    assert "(aerial)" in str(refused.value)
    assert "baseline" not in str(refused.value)
    with pytest.raises(RadiometryError, match="neither scale nor offset"):
        opened(path, offset=0.0)
    assert radiometry_of(opened(path, scale=1 / 255, offset=0.0)) == {(1 / 255, 0)}
    # Of Sentinel-2 the scale is known, but not for bytes.
    path = write_foreign(tmp_path, "bytes", keys, dtype="uint8", platform="sentinel-2a")
    with pytest.raises(RadiometryError, match="uint8 values and tells no scale"):
        opened(path, offset=0.0)


def test_a_processing_version_is_a_baseline_of_sentinel_2_only(tmp_path):
    version = {"processing:version": "04.00"}
    assert radiometry_of(opened(write_foreign(tmp_path, "a", COMMON[1:], **version), bands=["red"])) == {(0.0001, -0.1)}
    with pytest.raises(RadiometryError, match="neither scale nor offset"):
        opened(write_foreign(tmp_path, "b", COMMON[1:], platform="planetscope", **version), bands=["red"])


def test_bands_are_found_by_their_common_names(tmp_path):
    told = {"scale": 0.0001, "offset": 0.0}
    names, common = ("band-1", "band-2", "band-3", "band-4"), ("blue", "green", "red", "nir")
    path = write_foreign(tmp_path, "x", ("a", "b", "c", "d"), told=told, names=names, common=common)
    assert opened(path).names == ("B02", "B03", "B04", "B08")


def test_items_of_two_instruments_are_not_mixed(tmp_path):
    oli = write_foreign(tmp_path / "8", "eight", COMMON, collection="landsat-c2-l2", platform="landsat-8")
    tm = write_foreign(tmp_path / "7", "seven", COMMON[1:], collection="landsat-c2-l2", platform="landsat-7")
    both = tmp_path / "both.json"
    features = [json.loads(path.read_text()) for path in (oli, tm)]
    both.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    scene = opened(both)
    assert (scene.id, scene.names) == ("eight", OLI)
    assert "left out, for their bands are another instrument's: seven" in scene.notes


def test_a_landsat_item_becomes_a_product(tmp_path):
    path = write_foreign(
        tmp_path, "LC09_L2SP_190026_20230601_02_T1", COMMON, collection="landsat-c2-l2", platform="landsat-9"
    )
    done = run_here("upscale", path, "-o", tmp_path / "out.tif", "--model", "backprojection", "--json")
    assert done.returncode == 0, done.stderr
    item = json.loads((tmp_path / "out.json").read_text())
    assert item["properties"]["gsd"] == 7.5
    assert [band["raster:scale"] for band in item["assets"]["data"]["bands"]] == [0.0000275] * 4
    assert_valid_item(tmp_path / "out.json")


def collection_of(path, *items):
    path.write_text(
        json.dumps({"type": "FeatureCollection", "features": [json.loads(one.read_text()) for one in items]})
    )
    return path


def test_a_searchs_answer_is_a_source(tmp_path):
    told = {"scale": 0.0001, "offset": 0.0}
    one = write_foreign(tmp_path, "one", COMMON[1:5], told=told, platform="sentinel-2a")
    scene = opened(collection_of(tmp_path / "items.json", one), bands=["B02"])
    assert (scene.id, scene.sources) == ("one", (str(tmp_path / "items.json"),))
    later = json.loads(one.read_text())
    later |= {
        "id": "later",
        "properties": later["properties"] | {"datetime": "2023-06-11T10:00:00Z", "eo:cloud_cover": 60},
    }
    (tmp_path / "later.json").write_text(json.dumps(later))
    scene = opened(collection_of(tmp_path / "items.json", one, tmp_path / "later.json"), bands=["B02"])
    assert scene.id == "one"
    assert any("clearest of 2" in note for note in scene.notes)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"type": "FeatureCollection", "features": []}, "holds none"),
        ({"type": "FeatureCollection"}, "no GeoJSON Feature"),
        ({"type": "FeatureCollection", "features": [1]}, "no GeoJSON Feature"),
        ({"type": "Collection", "id": "x"}, "is a STAC Collection and not an Item: name one of its Items"),
        ({"type": "Feature", "geometry": None, "properties": {}}, "--aoi takes GeoJSON areas"),
        ([1, 2], "no GeoJSON Feature"),
        ("text", "no GeoJSON Feature"),
    ],
)
def test_json_of_anything_else_is_told_apart(tmp_path, content, said):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(SourceError) as refused:
        opened(tmp_path / "a.json")
    assert said in str(refused.value)


def test_json_nested_too_deeply_is_told_in_one_line(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(SourceError, match="nested too deeply"):
        opened(tmp_path / "a.json")
