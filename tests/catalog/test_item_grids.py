"""Grids: what a file says wins over its Item, and what places nothing is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine, from_origin

from catalog import CatalogError, SceneRequest, SourceError, open_scene
from catalog.placing import transform_fault
from tests.conftest import write_raster
from tests.stac_items import write_item


@pytest.fixture
def dn(sample):
    return sample[:, :24, :36].clip(1)


def changed(path, everywhere=None, **fields):
    """The Item with other fields on all assets (None: without), and on itself."""
    content = json.loads(path.read_text())
    content["properties"] |= everywhere or {}
    for asset in content["assets"].values():
        for name, value in fields.items():
            asset[f"proj:{name}"] = value
    path.write_text(json.dumps(content))
    return path


def opened(path, **options):
    return open_scene(SceneRequest(str(path), **options))


@pytest.mark.parametrize(
    ("fields", "noted"),
    [
        ({"shape": [36, 24]}, "36 × 24 pixels instead of 24 × 36"),
        ({"shape": [48, 36]}, "48 × 36 pixels instead of 24 × 36"),
        ({"transform": [10, 0, 300004, 0, -10, 5399993]}, "a place 0.4 columns and 0.7 rows off"),
        ({"transform": [10, 0, 299995, 0, -10, 5400005]}, "a place -0.5 columns and -0.5 rows off"),
        ({"transform": [20, 0, 300000, 0, -20, 5400000]}, "a place 36 columns and 24 rows off"),
        ({"transform": [9, 3, 300000, 3, -9, 5400000]}, "proj:transform and proj:shape that are no grid"),
        ({"transform": [math.nan, 0, 300000, 0, -10, 5400000]}, "proj:transform and proj:shape that are no grid"),
        ({"transform": [0, 0, 300000, 0, -10, 5400000]}, "proj:transform and proj:shape that are no grid"),
        ({"transform": [1, 2]}, "proj:transform and proj:shape that are no grid"),
        ({"shape": "x"}, "proj:transform and proj:shape that are no grid"),
        ({"epsg": 32632}, "CRS EPSG:32632 instead of EPSG:32633"),
    ],
)
def test_the_file_is_believed_where_the_item_says_another_grid(tmp_path, dn, fields, noted):
    scene = opened(changed(write_item(tmp_path, "one", dn), **fields))
    assert scene.geobox.shape == (24, 36)
    assert scene.geobox.affine == from_origin(300000, 5400000, 10, 10)
    assert scene.geobox.crs.to_epsg() == 32633
    assert (scene.reader.read(scene.area)[0] == dn).all()
    expected = f"Item one tells {noted} of blue, green, red, nir: the files are believed"
    assert [note for note in scene.notes if "believed" in note] == [expected]


def test_what_rounding_makes_of_a_grid_is_no_other_grid(tmp_path, dn):
    item = changed(
        write_item(tmp_path, "one", dn), transform=[10.0000001, 1e-15, 300000.00004, 0, -10, 5400000, 0, 0, 1]
    )
    scene = opened(item)
    assert not [note for note in scene.notes if "believed" in note]
    assert scene.geobox.affine == from_origin(300000, 5400000, 10, 10)


@pytest.mark.parametrize("code", ["EPSG:None", "EPSG:10857", "nonsense", 999999, [], True])
@pytest.mark.parametrize("beside", ["wkt2", "projjson", "nothing"])
def test_a_code_that_nobody_knows_falls_to_the_next_field_or_the_file(tmp_path, dn, code, beside):
    crs = rasterio.CRS.from_epsg(32633)
    fields = {"wkt2": {"proj:wkt2": crs.to_wkt()}, "projjson": {"proj:projjson": crs.to_dict(projjson=True)}}
    item = write_item(tmp_path, "one", dn, properties={"proj:code": code, "proj:epsg": None, **fields.get(beside, {})})
    scene = opened(item)
    assert scene.geobox.crs.to_epsg() == 32633
    assert (scene.reader.read(scene.area)[0] == dn).all()


@pytest.mark.parametrize(
    ("transform", "fault"),
    [
        (Affine(math.nan, 0, 4e5, 0, -10, 5e6), "not finite"),
        (Affine(10, 0, math.inf, 0, -10, 5e6), "not finite"),
        (Affine(0, 0, 4e5, 0, -10, 5e6), "without size"),
        (Affine(1e-12, 0, 4e5, 0, -1e-12, 5e6), "less than numbers are told apart by"),
        (Affine(10, 0, 4e5, 0, -10, 5e6), None),
        (Affine(8, 6, 4e5, 6, -8, 5e6), None),
    ],
)
def test_geotransforms_that_place_nothing(tmp_path, dn, transform, fault):
    assert (transform_fault(transform) or "") == "" if fault is None else fault in str(transform_fault(transform))
    if fault is not None:
        with pytest.raises(CatalogError, match=r"is on no grid|has no grid"):
            opened(write_raster(tmp_path / "a.tif", dn, transform=transform))


@pytest.mark.parametrize("skew", [1e-15, -1e-9, 1e-6])
def test_rotation_that_is_rounding_is_none(tmp_path, dn, skew):
    path = write_raster(tmp_path / "a.tif", dn, transform=Affine(10, skew, 4e5, -skew, -10, 5.3e6))
    assert opened(path).geobox.affine == from_origin(4e5, 5.3e6, 10, 10)


def test_rotation_that_is_none_of_rounding_is_refused(tmp_path, dn):
    with pytest.raises(SourceError, match="rotated"):
        opened(write_raster(tmp_path / "a.tif", dn, transform=Affine(10, 0.01, 4e5, -0.01, -10, 5.3e6)))


def control_points():
    return [GroundControlPoint(row, col, 4e5 + 10 * col, 5.3e6 - 10 * row) for row in (0, 24) for col in (0, 36)]


def rpcs():
    numbers = {"COEFF": " ".join(["1"] + ["0"] * 19)}
    named = {f"{kind}_{part}": "1" for kind in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT") for part in ("OFF", "SCALE")}
    coefficients = {f"{kind}_{part}_COEFF": numbers["COEFF"] for kind in ("LINE", "SAMP") for part in ("NUM", "DEN")}
    return {**named, **coefficients}


@pytest.mark.parametrize("placed_by", ["GCPs", "RPCs", "geolocation"])
@pytest.mark.parametrize("kind", ["four", "rgb"])
def test_rasters_that_only_a_warp_can_place_are_refused(tmp_path, dn, placed_by, kind):
    pixels, names = (dn, ("B02", "B03", "B04", "B08")) if kind == "four" else ((dn[:3] // 40).clip(0, 255), ())
    options = {} if kind == "four" else {"photometric": "RGB"}
    dtype = np.uint16 if kind == "four" else np.uint8
    path = write_raster(
        tmp_path / "a.tif", pixels.astype(dtype), names=names, crs=None, transform=Affine.identity(), **options
    )
    with rasterio.open(path, "r+") as raster:
        if placed_by == "GCPs":
            raster.gcps = (control_points(), rasterio.CRS.from_epsg(32633))
        elif placed_by == "RPCs":
            raster.update_tags(ns="RPC", **rpcs())
        else:
            raster.update_tags(ns="GEOLOCATION", X_DATASET="x.tif", Y_DATASET="y.tif")
    with pytest.raises(SourceError, match=f"{placed_by}.*gdalwarp"):
        opened(path)
    scene = opened(path, plain_image=True, bands=list(names) or None)
    assert any(placed_by in note for note in scene.notes)


def test_an_items_file_placed_by_control_points_is_refused(tmp_path, dn):
    item = write_item(tmp_path, "one", dn)
    file = tmp_path / "one_B03.tif"
    file.unlink()
    write_raster(file, dn[[1]], names=(), crs=None, transform=Affine.identity())
    with rasterio.open(file, "r+") as raster:
        raster.gcps = (control_points(), rasterio.CRS.from_epsg(32633))
    with pytest.raises(SourceError, match=r"GCPs.*gdalwarp"):
        opened(item)
