"""Areas of interest are checked before anything else happens."""

import json

import pytest
import shapely
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine

from catalog import AreaError, RequestError, parse_bbox, read_aoi
from catalog.area import spans_utm_zones, utm_crs, window_of

GRID = GeoBox((100, 120), Affine(10, 0, 500000, 0, -10, 5300000), "EPSG:32633")


def test_boxes():
    assert parse_bbox("14,47,14.5,48").bounds == (14, 47, 14.5, 48)
    assert parse_bbox("14 47 14.5 48").bounds == (14, 47, 14.5, 48)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("14,47,15", "four numbers"),
        ("a,b,c,d", "four numbers"),
        ("14,48,15,47", "empty"),
        ("14,47,14,48", "empty"),
        ("359130,5348550,364910,5352340", "not on Earth"),
        ("47,14,48,95", "not on Earth"),
        (
            "179,-17,-179,-16",
            "crosses the antimeridian: run each side by itself, 179,-17,180,-16 and -180,-17,-179,-16",
        ),
    ],
)
def test_wrong_boxes(text, message):
    with pytest.raises(RequestError, match=message):
        parse_bbox(text)


SQUARE = {"type": "Polygon", "coordinates": [[[14, 47], [15, 47], [15, 48], [14, 48], [14, 47]]]}


@pytest.mark.parametrize(
    "content",
    [
        SQUARE,
        {"type": "Feature", "properties": {}, "geometry": SQUARE},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": SQUARE}]},
        {"type": "GeometryCollection", "geometries": [SQUARE, {"type": "Point", "coordinates": [0, 0]}]},
    ],
)
def test_geojson_of_every_kind(tmp_path, content):
    path = tmp_path / "aoi.geojson"
    path.write_text(json.dumps(content))
    assert read_aoi(path).bounds == (14, 47, 15, 48)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not GeoJSON"),
        ("[]", "not GeoJSON"),
        ('{"type": "Point", "coordinates": [1, 2]}', "no polygon"),
        ('{"type": "Polygon", "coordinates": "x"}', "not GeoJSON"),
        (
            json.dumps({"type": "Polygon", "coordinates": [[[3e5, 5e6], [4e5, 5e6], [4e5, 6e6], [3e5, 5e6]]]}),
            "not in degrees",
        ),
        (json.dumps({"type": "Polygon", "coordinates": [[[-179, 0], [179, 0], [179, 1], [-179, 0]]]}), "antimeridian"),
        (json.dumps({"type": "Polygon", "coordinates": [[[1, 1], [1, 1], [1, 1], [1, 1]]]}), "empty"),
    ],
)
def test_wrong_geojson(tmp_path, content, message):
    path = tmp_path / "aoi.geojson"
    path.write_text(content)
    with pytest.raises(AreaError, match=message):
        read_aoi(path)


def test_files_of_other_programs(tmp_path):
    """Heights, as KML exports have them; a byte-order mark; features without a place."""
    high = {"type": "Polygon", "coordinates": [[[x, y, 100.0] for x, y in SQUARE["coordinates"][0]]]}
    nowhere = {"type": "Feature", "properties": {}, "geometry": None}
    content = {
        "type": "FeatureCollection",
        "features": [nowhere, {"type": "Feature", "properties": {}, "geometry": high}],
    }
    path = tmp_path / "aoi.geojson"
    path.write_text(json.dumps(content), encoding="utf-8-sig")
    area = read_aoi(path)
    assert not area.has_z
    assert window_of(area, GRID, "the raster").width > 0


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AreaError, match=r"nowhere\.geojson"):
        read_aoi(tmp_path / "nowhere.geojson")


def test_the_window_holds_the_area_and_not_a_pixel_more():
    inner = GRID[20:40, 30:70]
    area = inner.footprint("EPSG:4326", buffer=-0.00001).geom
    window = window_of(area, GRID, "the raster")
    # Projected boxes are not boxes: their hull may touch a neighbouring pixel.
    assert 18 <= window.row_off <= 20
    assert 28 <= window.col_off <= 30
    assert 40 <= window.row_off + window.height <= 42
    assert 70 <= window.col_off + window.width <= 72


def test_areas_are_cut_to_the_grid():
    window = window_of(GRID.footprint("EPSG:4326").buffer(1).geom, GRID, "the raster")
    assert (window.col_off, window.row_off, window.width, window.height) == (0, 0, 120, 100)


def test_an_area_outside_says_where_the_source_is():
    with pytest.raises(AreaError, match=r"outside the raster, which covers 15\.0"):
        window_of(shapely.box(-60, -10, -59, -9), GRID, "the raster")


def test_areas_that_the_projection_does_not_reach():
    assert window_of(shapely.box(-180, -90, 180, 90), GRID, "the raster").width == 120
    with pytest.raises(AreaError, match="outside"):
        window_of(shapely.box(104.9, -1, 105.2, 1), GRID, "the raster")


def test_a_raster_without_crs_has_no_place():
    with pytest.raises(AreaError, match="no CRS"):
        window_of(shapely.box(14, 47, 15, 48), GeoBox((5, 5), Affine.identity(), None), "x.tif")


@pytest.mark.parametrize(
    ("bounds", "epsg", "spans"),
    [
        ((14, 47, 15, 48), 32633, False),
        ((11.9, 47, 12.3, 48), 32633, True),
        ((11.5, 47, 12.1, 48), 32632, True),
        ((6, 47, 12, 48), 32632, False),
        ((-60.5, -10, -60.1, -9), 32720, False),
        ((179.5, -17, 180, -16), 32760, False),
    ],
)
def test_utm_zones(bounds, epsg, spans):
    assert utm_crs(shapely.box(*bounds)).to_epsg() == epsg
    assert spans_utm_zones(shapely.box(*bounds)) is spans
