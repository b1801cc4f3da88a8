"""Areas of interest are checked before anything else happens."""

import json

import pystac
import pytest
import shapely
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine

from catalog import AreaError, RequestError, parse_bbox, read_aoi
from catalog.area import covered_share, spans_utm_zones, utm_crs, window_of
from catalog.items import candidate
from tests.catalog.catalogue_items import ACROSS, MINUS, catalogue_item

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
        ("15,48,14,47", "begins in its north-east corner: give west,south,east,north"),
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


@pytest.fixture(params=ACROSS)
def crossing(request):
    """The grid of a tile that crosses the antimeridian."""
    return candidate(pystac.Item.from_dict(catalogue_item("across", {}, MINUS, place=request.param)), ("B02",)).grid


def test_areas_on_either_side_of_the_antimeridian_are_found_in_tiles_that_cross_it(crossing):
    seen = []
    for row, col in ((5000, 200), (5000, 10700), (200, 5000), (10700, 5000)):
        wanted = crossing[row : row + 40, col : col + 60]
        box = wanted.footprint("EPSG:4326", buffer=-0.1).geom
        seen.append(box.centroid.x > 0)
        window = window_of(box, crossing, "it")
        assert col - 5 <= window.col_off <= col
        assert row - 5 <= window.row_off <= row
        assert window.width <= 70
        assert window.height <= 50
        assert covered_share(box, crossing) == pytest.approx(1)
    assert {True, False} == set(seen)


def test_areas_up_to_the_antimeridian_are_cut_there(crossing):
    """The part of a tile that lies on one side, and no pixel row of the other."""
    west, east = (window_of(shapely.box(*box), crossing, "it") for box in ((177, 50, 180, 70), (-180, 50, -177, 70)))
    assert west.col_off == 0
    assert east.col_off + east.width == 10980
    assert 10980 <= west.width + east.width < 2 * 10980
    assert 0 < covered_share(shapely.box(177, 50, 180, 70), crossing) < 0.06


@pytest.mark.parametrize(
    ("left", "area", "cols"),
    [
        (-180, (170, 0, 180, 10), (350, 360)),
        (-180, (-180, 0, -170, 10), (0, 10)),
        (0, (-20, 0, -10, 10), (340, 350)),
        (0, (10, 0, 20, 10), (10, 20)),
        (-175, (-175, 0, -165, 10), (0, 10)),
    ],
)
def test_global_grids_are_whole_as_they_are(left, area, cols):
    grid = GeoBox((180, 360), Affine(1, 0, left, 0, -1, 90), "EPSG:4326")
    window = window_of(shapely.box(*area), grid, "the globe")
    assert (window.col_off, window.col_off + window.width) == cols
    assert covered_share(shapely.box(*area), grid) == pytest.approx(1)


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e999"])
def test_coordinates_that_are_no_numbers(tmp_path, number):
    path = tmp_path / "aoi.geojson"
    path.write_text(f'{{"type": "Polygon", "coordinates": [[[{number}, 1], [1, 1], [1, 2], [{number}, 1]]]}}')
    with pytest.raises(AreaError, match=r"not finite|not GeoJSON"):
        read_aoi(path)
