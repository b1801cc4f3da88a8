"""Areas of interest in the formats and CRS in which people have them."""

from __future__ import annotations

import json

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import Transformer

from catalog import AreaError, read_aoi

#: Two fields near Steyr, UTM zone 33N.
FIELDS = (shapely.box(430000, 5340000, 430500, 5340400), shapely.box(431000, 5341000, 431200, 5341300))
CROPS = ("wheat", "maize")


def write(path, shapes=FIELDS, crs="EPSG:32633", layer=None, kind="Polygon", **options):
    pyogrio.raw.write(
        path,
        np.array([shapely.to_wkb(shape) for shape in shapes], dtype=object),
        field_data=[np.array(CROPS[: len(shapes)], dtype=object)],
        fields=["crop"],
        crs=crs,
        geometry_type=kind,
        layer=layer,
        **options,
    )
    return path


def in_degrees(shape, crs="EPSG:32633"):
    transform = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    dense = shapely.segmentize(shape, 1)
    return shapely.transform(dense, lambda xy: np.column_stack(transform.transform(xy[:, 0], xy[:, 1])))


def off_by(area, expected):
    """Share of the area that is not in both."""
    return area.symmetric_difference(expected).area / expected.area


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.fgb", "a.kml", "a.geojson", "a.gml"])
def test_formats(tmp_path, name):
    """KML and GeoJSON are in degrees themselves."""
    degrees = name.endswith(("kml", "geojson"))
    shapes = [in_degrees(shape) for shape in FIELDS] if degrees else FIELDS
    options = {"driver": "LIBKML"} if name.endswith("kml") else {}
    path = write(tmp_path / name, shapes, "EPSG:4326" if degrees else "EPSG:32633", **options)
    assert off_by(read_aoi(path), shapely.union_all([in_degrees(shape) for shape in FIELDS])) < 1e-5


def test_any_crs(tmp_path):
    """Austria's Lambert, Web Mercator, and degrees of another datum."""
    for crs in ("EPSG:31287", "EPSG:3857", "EPSG:4258"):
        there = Transformer.from_crs("EPSG:32633", crs, always_xy=True)
        moved = [
            shapely.transform(
                shapely.segmentize(one, 1), lambda xy, t=there: np.column_stack(t.transform(xy[:, 0], xy[:, 1]))
            )
            for one in FIELDS
        ]
        path = write(tmp_path / f"{crs[5:]}.gpkg", moved, crs)
        assert off_by(read_aoi(path), shapely.union_all([in_degrees(shape) for shape in FIELDS])) < 1e-4


def test_long_edges_bend_as_the_projection_bends_them(tmp_path):
    long = shapely.box(300000, 5300000, 700000, 5300100)
    assert off_by(read_aoi(write(tmp_path / "a.gpkg", [long])), in_degrees(long)) < 0.02


def test_geojson_with_a_crs_of_its_own(tmp_path):
    path = write(tmp_path / "a.geojson", FIELDS, "EPSG:32633")
    assert "crs" in json.loads(path.read_text())
    assert off_by(read_aoi(path), shapely.union_all([in_degrees(shape) for shape in FIELDS])) < 1e-5


def test_features_are_chosen_by_condition(tmp_path):
    path = write(tmp_path / "a.gpkg")
    assert off_by(read_aoi(path, where="crop = 'maize'"), in_degrees(FIELDS[1])) < 1e-5
    geojson = write(tmp_path / "a.geojson", [in_degrees(shape) for shape in FIELDS], "EPSG:4326")
    assert off_by(read_aoi(geojson, where="crop = 'wheat'"), in_degrees(FIELDS[0])) < 1e-5


def test_layers_are_chosen_by_name(tmp_path):
    path = write(tmp_path / "a.gpkg", FIELDS[:1], layer="fields")
    write(path, FIELDS[1:], layer="other", append=True)
    assert off_by(read_aoi(path, layer="other"), in_degrees(FIELDS[1])) < 1e-5
    with pytest.raises(AreaError, match="several layers, fields, other: choose one with --layer"):
        read_aoi(path)


def no_crs(tmp_path):
    return write(tmp_path / "a.shp", crs=None)


def points(tmp_path):
    return write(tmp_path / "a.gpkg", [shape.centroid for shape in FIELDS], kind="Point")


def text(tmp_path):
    (tmp_path / "a.gpkg").write_text("no package")
    return tmp_path / "a.gpkg"


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda folder: folder / "none.gpkg", {}, "there is no such file"),
        (text, {}, "is no vector file that OGR reads here"),
        (no_crs, {}, "has no CRS: give it its own"),
        (points, {}, "holds no polygon: an area of interest needs one, it has Point"),
        (lambda folder: write(folder / "a.gpkg"), {"layer": "b"}, "has no layer 'b': it has a"),
        (lambda folder: write(folder / "a.gpkg"), {"where": "crop = 'rye'"}, "holds no feature with a place where"),
        (lambda folder: write(folder / "a.gpkg"), {"where": "crop ="}, "cannot select from"),
        (lambda folder: write(folder / "a.gpkg"), {"where": "yield > 3"}, "cannot select from"),
    ],
)
def test_files_that_are_refused(tmp_path, make, options, message):
    with pytest.raises(AreaError, match=message):
        read_aoi(make(tmp_path), **options)
