"""Items become one scene: mosaicked, masked and read straight onto a grid. The API is a real process."""

from __future__ import annotations

import json

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.shutil
import rasterio.warp
import shapely
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.transform import Affine
from rasterio.windows import Window

from catalog import (
    CatalogError,
    RadiometryError,
    SceneRequest,
    SourceError,
    open_scene,
    parse_bbox,
)
from catalog.area import unwrap
from catalog.items import candidate, footprint, is_item, read_item
from catalog.overpass import scene_of_items
from tests.catalog.catalogue_items import ACROSS, MINUS, ON_ASSET, UNTOLD, catalogue_item
from tests.catalog.scenes import DAY, bbox_of, pixels_of
from tests.conftest import RGBN, data_file, write_raster
from tests.stac_items import serve, write_item


@pytest.fixture
def halves(tmp_path, sample):
    """Two adjacent Items of one overpass: the sample cut in two."""
    left = write_item(tmp_path, "left", sample[:, :, :150])
    right = write_item(tmp_path, "right", sample[:, :, 150:], left=301500)
    return left, right


def test_an_item_is_a_scene(tmp_path, sample):
    item = write_item(tmp_path, "one", sample)
    scene = open_scene(SceneRequest(str(item)))
    pixels, valid = pixels_of(scene)
    assert (pixels == sample).all()
    assert valid.all()
    assert scene.names == RGBN
    assert scene.geobox.shape == (300, 300)
    assert scene.bands[0].offset == 0
    assert "not applied twice" in scene.radiometry[0]
    assert scene.datetime.isoformat() == "2023-08-15T10:00:31+00:00"


def test_items_side_by_side_are_one_image(tmp_path, halves, sample):
    with serve(tmp_path, *halves) as api:
        scene = open_scene(SceneRequest(area=parse_bbox(bbox_of(Window(100, 40, 120, 90))), datetime=DAY, api=api))
    pixels, valid = pixels_of(scene)
    rows, cols = scene.area.toslices()
    assert (pixels == sample[:, rows, cols]).all()
    assert valid.all()
    assert scene.geobox.shape == (300, 300)
    assert scene.area.col_off < 150 < scene.area.col_off + scene.area.width
    assert not scene.notes


def test_items_of_other_baselines_are_brought_to_one_radiometry(tmp_path, sample):
    """Two halves of one overpass, one of which carries the offset in its DN."""
    left = write_item(tmp_path, "left", sample[:, :, :150])
    raw = (sample[:, :, 150:] + 1000).astype(np.uint16)
    right = write_item(tmp_path, "right", raw, left=301500, offset_applied=False, clouds=9)
    with serve(tmp_path, left, right) as api:
        scene = open_scene(SceneRequest(area=parse_bbox(bbox_of(Window(100, 40, 120, 90))), datetime=DAY, api=api))
    pixels, _ = pixels_of(scene)
    rows, cols = scene.area.toslices()
    assert scene.bands[0].offset == 0
    assert (pixels == sample[:, rows, cols]).all()


def test_two_halves_of_one_tile_are_put_together(tmp_path, sample):
    """A tile that two downlinks delivered in part: same grid, same time, each its own footprint."""
    paths = []
    for name, part in (("north", slice(0, 150)), ("south", slice(150, 300))):
        pixels = np.zeros_like(sample)
        pixels[:, part] = sample[:, part]
        path = write_item(tmp_path, name, pixels)
        content = json.loads(path.read_text())
        grid = GeoBox((300, 300), Affine(10, 0, 300000, 0, -10, 5400000), "EPSG:32633")[part, :]
        content["geometry"] = grid.footprint("EPSG:4326").json
        path.write_text(json.dumps(content))
        paths.append(path)
    with serve(tmp_path, *paths) as api:
        scene = open_scene(SceneRequest(area=parse_bbox(bbox_of(Window(20, 100, 90, 90))), datetime=DAY, api=api))
    _, valid = pixels_of(scene)
    assert valid.all()


def test_an_item_without_the_bands_is_left_out(tmp_path, sample):
    good = write_item(tmp_path, "good", sample[:, :60, :60])
    bad = write_item(tmp_path, "bad", sample[:, :60, :60], datetime="2023-08-15T10:00:32Z")
    bad.write_text(bad.read_text().replace('"nir"', '"swir9"'))
    with serve(tmp_path, good, bad) as api:
        scene = open_scene(SceneRequest(area=parse_bbox(bbox_of(Window(5, 5, 40, 40))), datetime=DAY, api=api))
    assert scene.id == "good"
    assert any("left out: Item bad has no asset for band B08" in note for note in scene.notes)


def test_bands_on_different_grids_are_refused(tmp_path, sample):
    path = write_item(tmp_path, "one", sample[:, :40, :40])
    content = json.loads(path.read_text())
    content["assets"]["green"]["proj:transform"][2] += 5
    path.write_text(json.dumps(content))
    with pytest.raises(SourceError, match="on different grids"):
        open_scene(SceneRequest(str(path)))


def test_the_user_tells_what_an_item_does_not(tmp_path, sample):
    path = write_item(tmp_path, "one", sample[:, :8, :8], offset_applied=None)
    content = json.loads(path.read_text())
    del content["properties"]["s2:processing_baseline"]
    for asset in content["assets"].values():
        del asset["raster:bands"]
    path.write_text(json.dumps(content))
    with pytest.raises(CatalogError, match="--offset"):
        open_scene(SceneRequest(str(path)))
    assert open_scene(SceneRequest(str(path), offset=-0.1)).bands[0].offset == -0.1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("properties", "eo:cloud_cover"), "very"),
        (("properties", "datetime"), None),
        (("assets", "blue", "eo:bands"), ["blue"]),
        (("assets", "blue", "raster:bands"), [{"scale": "big", "offset": 0}]),
        (("geometry",), {"type": "Polygon", "coordinates": [[1]]}),
    ],
)
def test_malformed_items_are_named(tmp_path, sample, field, value):
    path = write_item(tmp_path, "one", sample[:, :8, :8], offset_applied=False)
    content = json.loads(path.read_text())
    holder = content
    for key in field[:-1]:
        holder = holder[key]
    holder[field[-1]] = value
    path.write_text(json.dumps(content))
    request = SceneRequest(str(path), area=parse_bbox(bbox_of(Window(0, 0, 8, 8))))
    with pytest.raises(CatalogError, match="one"):
        open_scene(request)


def test_clouds_are_masked_from_the_classification(tmp_path, sample):
    scl = np.full((150, 150), 4, np.uint8)
    scl[50:60, 70:75] = 3
    item = write_item(tmp_path, "one", sample, scl=scl)
    _, valid = pixels_of(open_scene(SceneRequest(str(item), mask_clouds=True)))
    expected = np.ones((300, 300), bool)
    expected[100 - 3 : 120 + 3, 140 - 3 : 150 + 3] = False
    assert (valid == expected).all()
    bare = write_item(tmp_path, "bare", sample)
    with pytest.raises(SourceError, match="no scene classification"):
        open_scene(SceneRequest(str(bare), mask_clouds=True))


def test_several_bands_in_one_raster(tmp_path, sample):
    """Items whose single asset holds all bands, by name."""
    path = write_item(tmp_path, "one", sample[:, :40, :50])
    content = json.loads(path.read_text())
    first = content["assets"]["blue"]
    raster = write_raster(
        tmp_path / "all.tif", sample[[3, 2, 1, 0], :40, :50], transform=Affine(*first["proj:transform"]), nodata=0
    )
    asset = {**first, "href": raster.as_uri(), "eo:bands": [{"name": name} for name in ("nir", "red", "green", "blue")]}
    content["assets"] = {"data": {**asset, "raster:bands": first["raster:bands"] * 4}}
    path.write_text(json.dumps(content))
    pixels, _ = pixels_of(open_scene(SceneRequest(str(path))))
    assert (pixels == sample[:, :40, :50]).all()


def test_items_without_projection_fields_are_read_by_their_files(tmp_path, sample):
    path = write_item(tmp_path, "one", sample[:, :40, :50])
    content = json.loads(path.read_text())
    del content["properties"]["proj:epsg"]
    for asset in content["assets"].values():
        del asset["proj:shape"], asset["proj:transform"]
    path.write_text(json.dumps(content))
    scene = open_scene(SceneRequest(str(path)))
    assert scene.geobox.shape == (40, 50)
    assert (pixels_of(scene)[0] == sample[:, :40, :50]).all()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_an_item_may_begin_with_a_byte_order_mark(tmp_path, sample, encoding):
    path = write_item(tmp_path, "one", sample[:, :20, :20])
    content = json.loads(path.read_text())
    content["properties"]["title"] = "Gelände"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    pixels, _ = pixels_of(open_scene(SceneRequest(str(path))))
    assert (pixels == sample[:, :20, :20]).all()


def test_a_missing_band_is_named(tmp_path, sample):
    path = write_item(tmp_path, "one", sample[:, :8, :8])
    with pytest.raises(SourceError, match="no asset for band B11"):
        open_scene(SceneRequest(str(path), bands=["B11"]))


@pytest.mark.parametrize("content", ["{", "[]", '{"type": "Feature"}', '{"type": "Catalog", "id": "x"}'])
def test_what_is_not_an_item(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(CatalogError, match=r"not a STAC Item|a STAC Catalog and not an Item"):
        open_scene(SceneRequest(str(path)))


RECORDED = [
    ("cdse/issue1547-inconsistent-nodata-handling.json", "B02_10m", "EPSG:32655"),
    ("earth-search-v1/S2A_33TWL_20230815_0_L2A.json", "blue", "EPSG:32633"),
    ("earth-search-v1-and-v0/S2A_17SPR_20221106_0_L2A.json", "B02", "EPSG:32617"),
    ("planetary-computer/sentinel-2-l2a-pc.json", "B02", "EPSG:32647"),
]


@pytest.mark.parametrize(
    ("names", "told", "place", "crs"),
    [
        (("B02_10m", "B03_10m", "B04_10m", "B08_10m"), ON_ASSET, (32655, 600000, 7600020), "EPSG:32655"),
        (("blue", "green", "red", "nir"), MINUS, (32633, 499980, 5100000), "EPSG:32633"),
        (RGBN, {}, (32617, 600000, 3600000), "EPSG:32617"),
        (RGBN, UNTOLD, (32747, 399960, 9100020), "EPSG:32747"),
    ],
)
def test_bands_and_grids_of_items_in_the_forms_of_catalogues(names, told, place, crs):
    one = pystac.Item.from_dict(
        catalogue_item("one", {"s2:processing_baseline": "05.10"}, told, names=names, place=place)
    )
    found = candidate(one, RGBN)
    assert [asset.key for asset in found.assets] == list(names)
    assert str(found.grid.crs) == crs
    assert found.grid.shape == (10980, 10980)
    assert tuple(found.grid.affine)[:6] == (10, 0, place[1], 0, -10, place[2])


@pytest.mark.parametrize("place", ACROSS)
def test_footprints_across_the_antimeridian_are_whole(place):
    one = candidate(pystac.Item.from_dict(catalogue_item("across", {}, MINUS, place=place)), RGBN)
    written = shapely.geometry.shape(one.item.geometry)
    assert written.bounds[2] - written.bounds[0] > 350
    west, _, east, _ = unwrap(written).bounds
    assert east - west < 3
    placed = footprint(one, one.crs)
    assert placed.intersection(one.grid.extent.geom).area > 0.95 * placed.area
    # The corner that was not seen is two fifths of each side.
    assert placed.area == pytest.approx((1 - 0.4**2 / 2) * one.grid.extent.geom.area, rel=0.005)


@pytest.mark.parametrize(("file", "key", "crs"), RECORDED)
def test_bands_and_grids_of_recorded_items(file, key, crs):
    content = json.loads(data_file(f"stac/{file}").read_text())
    first = content[0] if isinstance(content, list) else content.get("features", [content])[0]
    item = pystac.Item.from_dict(first)
    found = candidate(item, RGBN)
    assert found.assets[0].key == key
    assert str(found.grid.crs) == crs
    assert found.grid.shape == (10980, 10980)
    assert found.grid.resolution.x == 10


def test_recorded_footprints_across_the_antimeridian_are_whole():
    for path in sorted(data_file("stac/earth-search-v1-antimeridian").iterdir()):
        one = candidate(read_item(str(path)), RGBN)
        west, _, east, _ = unwrap(shapely.geometry.shape(one.item.geometry)).bounds
        assert east - west < 3
        placed = footprint(one, one.crs)
        assert placed.intersection(one.grid.extent.geom).area > 0.95 * placed.area


def rewrite(path, pixels, nodata, dtype):
    """Another file in the place of an Item's raster, with its own type and nodata."""
    with rasterio.open(path) as raster:
        transform, crs = raster.transform, raster.crs
    path.unlink()
    write_raster(path, pixels[None].astype(dtype), names=(), crs=crs, transform=transform, nodata=nodata)


@pytest.mark.parametrize("crs", [None, "EPSG:32634"])
@pytest.mark.parametrize(
    ("dtype", "hole", "declared"), [("float32", np.nan, None), ("float32", -9999, -9999), ("uint16", 65535, 65535)]
)
def test_nodata_of_an_asset_is_that_of_the_scene(tmp_path, sample, crs, dtype, hole, declared):
    item = write_item(tmp_path, "one", sample[:, :60, :60])
    holes = np.zeros((60, 60), bool)
    holes[20:24, 30:35] = True
    for band, image in zip(RGBN, sample[:, :60, :60], strict=True):
        rewrite(tmp_path / f"one_{band}.tif", np.where(holes, hole, image.astype(float)), declared, dtype)
    scene = open_scene(SceneRequest(str(item), crs=crs))
    pixels, valid = pixels_of(scene)
    # Of floats whose file declares nothing, the Item's.
    nodata = 0 if declared is None else declared
    assert (pixels[~valid] == nodata).all()
    assert {band.nodata for band in scene.bands} == {nodata}
    assert pixels[valid].max() <= 1.2 * sample[:, :60, :60].max()
    assert pixels[valid].min() >= 0.8 * sample[:, :60, :60].min()
    if crs is None:
        assert (valid == ~holes).all()
    else:
        rows, cols = np.array(np.nonzero(holes)) + 0.5
        x, y = Transformer.from_crs(32633, 32634, always_xy=True).transform(300000 + 10 * cols, 5400000 - 10 * rows)
        out_cols, out_rows = ~scene.geobox.affine @ (x, y)
        # A pixel's centre may fall beside the hole's.
        assert valid[0, out_rows.astype(int), out_cols.astype(int)].mean() < 0.3


def test_nodata_that_only_the_item_declares_is_not_mixed_in(tmp_path, sample):
    item = write_item(tmp_path, "one", sample[:, :60, :60])
    pixels = sample[:, :60, :60].copy()
    pixels[:, 20:30, 30:40] = 60000
    for band, image in zip(RGBN, pixels, strict=True):
        rewrite(tmp_path / f"one_{band}.tif", image, None, "uint16")
    item.write_text(item.read_text().replace('"nodata": 0', '"nodata": 60000'))
    for crs in (None, "EPSG:32634"):
        values, valid = pixels_of(open_scene(SceneRequest(str(item), crs=crs)))
        assert values[valid].max() < 1.2 * sample[:, :60, :60].max()


def test_the_identity_holds_the_radiometry_and_the_nodata_of_every_item(tmp_path, sample):
    left = write_item(tmp_path, "left", sample[:, :60, :60])
    right = write_item(tmp_path, "right", sample[:, :60, 60:120], left=300600, clouds=9)
    area = bbox_of(Window(20, 10, 80, 40))

    def identity():
        items = [read_item(str(path)) for path in (left, right)]
        return scene_of_items(items, RGBN, area=parse_bbox(area)).identity

    before = identity()
    assert identity() == before
    right.write_text(right.read_text().replace('"earthsearch:boa_offset_applied": true', '"x": 1'))
    shifted = identity()
    assert shifted != before
    right.write_text(right.read_text().replace('"nodata": 0', '"nodata": 9'))
    assert identity() != shifted


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://x/collections/s2/items/a", True),
        ("https://x/collections/s2/items/a.json?token=1", True),
        ("https://x/collections/s2/items/a/B02.tif", False),
        ("https://x/collections/s2/items/a/B02.JP2?sig=1", False),
        ("https://x/a.tif", False),
    ],
)
def test_rasters_below_an_items_address_are_rasters(source, expected):
    assert is_item(source) is expected


def test_every_file_of_an_item_is_one_that_must_not_be_written(tmp_path, sample):
    item = write_item(tmp_path, "one", sample[:, :40, :50], scl=np.full((20, 25), 4, np.uint8))
    rasterio.shutil.copy(tmp_path / "one_B02.tif", tmp_path / "one_B02.vrt", driver="VRT")
    item.write_text(item.read_text().replace("one_B02.tif", "one_B02.vrt"))
    files = open_scene(SceneRequest(str(item))).files
    names = ("one_B02.vrt", "one_B02.tif", "one_B08.tif", "one_SCL.tif", "one.json")
    assert {str(tmp_path / name) for name in names} <= set(files)


def test_an_asset_with_a_scale_of_0_is_refused(tmp_path, sample):
    item = write_item(tmp_path, "one", sample[:, :40, :50])
    item.write_text(item.read_text().replace('"scale": 0.0001', '"scale": 0'))
    with pytest.raises(RadiometryError, match="scale 0 "):
        open_scene(SceneRequest(str(item)))


@pytest.mark.parametrize("degrees", [1e308, float("nan"), 2000.0, 95.0])
def test_an_items_footprint_that_is_not_on_earth_is_that_of_its_grid(tmp_path, sample, degrees):
    path = write_item(tmp_path, "one", sample[:, :9, :9])
    right = open_scene(SceneRequest(str(path)))
    content = json.loads(path.read_text())
    content["geometry"]["coordinates"][0][1][1] = degrees
    path.write_text(json.dumps(content))
    scene = open_scene(SceneRequest(str(path)))
    assert (scene.geobox, scene.area) == (right.geobox, right.area)
