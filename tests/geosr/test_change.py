"""A flood of known area between two simulated dates: its hectares, its polygons, its map, and what is refused."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin
from scipy import ndimage
from shapely.geometry import box, mapping

from geosr.batch.scenes import scenes_of
from geosr.change import detect
from geosr.change.dates import Registration
from geosr.model.kernels import mtf_to_sigma
from geosr.model.sensor import Sensor, upsample
from geosr.registration.harmonise import Line
from tests.conftest import SAMPLE, assert_valid_item, call_geosr, run_here, write_raster
from tests.geosr.test_maps import renderer_of

MTF = (0.26, 0.28, 0.24, 0.26)
SIDE = 96

#: South-western corner of the scenes, twice.
ORIGIN = (500_000, 5_300_000 - 10 * SIDE) * 2
PIXEL_HA = 2.5**2 / 10_000

#: Water's reflectance in B02, B03, B04 and B08.
WATER = np.array([0.07, 0.06, 0.045, 0.015], np.float32)


def dn_of(ground, seed):
    """The DN that the sensor records of ``(4, rows, cols)`` reflectance."""
    sensor = Sensor([mtf_to_sigma(mtf, 4) for mtf in MTF], 4)
    seen = sensor.observe(torch.from_numpy(ground)[None].float())[0].numpy()
    noise = 0.001 * np.random.default_rng(seed).standard_normal(seen.shape)
    return np.round((seen + noise) * 10_000).clip(1).astype(np.uint16)


@pytest.fixture(scope="module")
def dates(tmp_path_factory):
    """Two dates, shifted by 0.3 and 0.2 source pixels and brighter by 3 %, and the flood's hectares."""
    with rasterio.open(SAMPLE) as raster:
        low = raster.read()[:, 100 : 100 + SIDE, 60 : 60 + SIDE].astype(np.float32) / 10_000
    ground = upsample(torch.from_numpy(low)[None], 4)[0].numpy().clip(0.001)
    y, x = np.mgrid[: 4 * SIDE, : 4 * SIDE] - 2 * SIDE
    flood = np.hypot(y, x) < 70 * (1 + 0.2 * np.sin(5 * np.arctan2(y, x)))
    later = ground.copy()
    later[:, flood] = WATER[:, None]
    later = 1.03 * later + 0.002
    later = np.stack([ndimage.shift(band, (1.2, -0.8), order=3, mode="nearest") for band in later])
    folder = tmp_path_factory.mktemp("dates")
    transform = from_origin(500_000, 5_300_000, 10, 10)
    for name, image, seed in (("before", ground, 1), ("after", later, 2)):
        # Without a scale, as many files of Sentinel-2 are: the scene's radiometry is assumed, and noted.
        write_raster(folder / f"{name}.tif", dn_of(image, seed), transform=transform, nodata=0)
    return folder, float(flood.sum()) * PIXEL_HA


def write_districts(folder):
    """Both halves of the scene, a part without any flood, and a place far away."""
    boxes = {
        "west": (0, 0, SIDE // 2, SIDE),
        "east": (SIDE // 2, 0, SIDE, SIDE),
        "dry": (2, 2, 10, 10),
        "far": (9 * SIDE, 0, 10 * SIDE, SIDE),
    }
    features = [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": mapping(box(*(v * 10 + c for v, c in zip(one, ORIGIN, strict=True)))),
        }
        for name, one in boxes.items()
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    path = folder / "districts.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


@pytest.fixture(scope="module")
def found(dates):
    """The command's outputs for them."""
    folder, hectares = dates
    run = run_here(
        *("change", folder / "before.tif", folder / "after.tif", "-o", folder / "flood.tif", "--json"),
        *("--polygons", folder / "flood.geojson", "--report", folder / "flood.html", "--style"),
        *("--districts", write_districts(folder), "--id", "name"),
    )
    assert run.returncode == 0, run.stderr
    return folder, hectares, json.loads(run.stdout)


@pytest.mark.slow
def test_hectares_of_a_flood_are_found_on_both_grids_within_their_range(found):
    _, hectares, result = found
    for grid, pixel_m in (("fine", 2.5), ("source", 10)):
        more, less = result[grid]["more"], result[grid]["less"]
        assert result[grid]["pixel_m"] == pixel_m
        assert more["hectares"] == pytest.approx(hectares, rel=0.02)
        assert more["low_hectares"] <= hectares <= more["high_hectares"]
        assert more["high_hectares"] - more["low_hectares"] < 0.2 * hectares
        assert (more["areas"], less["areas"]) == (1, 0)


def test_the_later_date_is_registered_and_harmonised(found):
    registration = found[2]["registration"]
    assert registration["rows_px"] == pytest.approx(-0.3, abs=0.05)
    assert registration["cols_px"] == pytest.approx(0.2, abs=0.05)
    assert [line["gain"] for line in registration["lines"]] == pytest.approx([1.03, 1.03], abs=0.03)


@pytest.fixture
def drowned(tmp_path, sample):
    """A scene of which the northern two thirds are flooded a day later, 15.36 ha."""
    low = sample[:, 10:58, 150:198].astype(np.int64)
    later = low + np.random.default_rng(0).normal(0, 10, low.shape)
    later[:, :32] = 10_000 * WATER[:, None, None] + np.random.default_rng(1).normal(0, 12, (4, 32, 48))
    transform = from_origin(500_000, 5_300_000, 10, 10)
    for name, image in (("before", low), ("after", later)):
        pixels = np.rint(image).clip(1).astype(np.uint16)
        write_raster(tmp_path / f"{name}.tif", pixels, transform=transform, nodata=0)
    return tmp_path


@pytest.mark.parametrize("misled", [False, True])
def test_a_flood_over_most_of_the_area_is_more_water(drowned, monkeypatch, capsys, misled):
    """Neither its median nor a radiometry that was measured on it is that of unchanged ground."""
    if misled:
        lines = (Line(0.96, 0.011), Line(1.08, -0.17))
        monkeypatch.setattr(detect, "register", lambda *_: Registration(0.0, 0.0, 0.0, 1, lines))
    command = ("change", drowned / "before.tif", drowned / "after.tif", "-o", drowned / "flood.tif", "--json")
    assert call_geosr(*command) == 0
    result = json.loads(capsys.readouterr().out)
    for grid in ("fine", "source"):
        assert result[grid]["more"]["hectares"] == pytest.approx(15.36, rel=0.03)
        assert result[grid]["less"]["hectares"] == 0
    assert result["registration"]["lines"] == [{"gain": 1.0, "offset": 0.0}] * 2


def test_polygons_and_map_hold_the_same_area(found):
    folder, _, result = found
    (feature,) = json.loads((folder / "flood.geojson").read_text())["features"]
    assert feature["properties"]["change"] == "more water"
    assert feature["properties"]["hectares"] == pytest.approx(result["fine"]["more"]["hectares"], abs=1e-3)
    west, south = np.array(feature["geometry"]["coordinates"][0][0]).min(axis=0)
    assert 14 < west < 16
    assert 47 < south < 48
    with rasterio.open(folder / "flood.tif") as raster:
        classes = raster.read(1)
        assert (classes == 2).sum() * PIXEL_HA == pytest.approx(feature["properties"]["hectares"], abs=1e-3)
        assert raster.profile["nodata"] == 255
        assert raster.crs.to_epsg() == 32633
    with rasterio.open(folder / "flood_difference.tif") as raster:
        difference, half_width, measured = raster.read()
        assert difference[2 * SIDE, 2 * SIDE] > 0.5
        # Nothing changed far from the flood.
        assert np.nanmedian(np.abs(difference[:40, :40])) < 0.5 * np.nanmedian(np.abs(measured[:40, :40])) < 0.03
        # What exceeds the errors of both dates is as it was measured.
        surely = np.abs(difference - measured) > 3 * half_width
        assert not surely.any()
        assert raster.descriptions == (
            "NDWI: after minus before, without detail below the errors of both dates",
            "NDWI: half-width of the measured difference where nothing changed",
            "NDWI: after minus before, as measured",
        )
    mean = measured[classes == 2].mean()
    assert feature["properties"]["mean_difference"] == pytest.approx(mean, abs=1e-4)


def test_differences_where_nothing_changed_are_not_above_those_of_the_source(found):
    fine, source = found[2]["fine"], found[2]["source"]
    assert 0 < fine["unchanged_difference"] < source["unchanged_difference"]
    assert fine["unchanged_measured"] > source["unchanged_measured"] == source["unchanged_difference"]
    assert any("weak change is shown as at 10 m" in note for note in found[2]["notes"])


def test_styles_go_with_the_map_the_differences_and_both_dates(found):
    folder = found[0]
    classes = renderer_of((folder / "flood.qml").read_text())
    assert classes.get("type") == "paletted"
    assert [(entry.get("value"), entry.get("label")) for entry in classes.iter("paletteEntry")] == [
        ("1", "less water"),
        ("2", "more water"),
    ]
    assert renderer_of((folder / "flood_difference.qml").read_text()).get("classificationMin") == "-0.5"
    for date in ("before", "after"):
        assert renderer_of((folder / f"flood_{date}.qml").read_text()).get("redBand") == "3"


def test_the_item_of_a_map_leads_to_both_dates_and_to_all_files(found):
    folder, _, result = found
    assert_valid_item(folder / "flood.json")
    item = json.loads((folder / "flood.json").read_text())
    derived = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert derived == [(folder / name).as_uri() for name in ("before.tif", "after.tif")]
    assert {key: asset["href"] for key, asset in item["assets"].items()} == {
        "data": "./flood.tif",
        "difference": "./flood_difference.tif",
        "polygons": "./flood.geojson",
        "report": "./flood.html",
        "districts": "./flood_districts.csv",
        "summary": "./flood_change.json",
    }
    properties = item["properties"]
    assert (properties["proj:code"], properties["proj:shape"]) == ("EPSG:32633", [4 * SIDE, 4 * SIDE])
    assert properties["geosr:hectares"]["more water"] == result["fine"]["more"]["hectares"]
    assert properties["processing:expression"]["expression"]["least"] == 0.1
    (band,) = item["assets"]["data"]["bands"]
    assert [one["value"] for one in band["classification:classes"]] == [0, 1, 2]
    assert item["assets"]["data"]["nodata"] == 255
    assert [one["description"] for one in item["assets"]["difference"]["bands"]] == [
        "after minus before, without detail below the errors of both dates",
        "half-width of the measured difference where nothing changed",
        "after minus before, as measured",
    ]
    # It is no image of a date: fields and batches of the folder are of the products.
    assert [scene.name for scene in scenes_of([str(folder)])] == ["flood_after", "flood_before"]


def test_districts_share_the_areas_that_cross_their_border(found):
    folder, hectares, result = found
    with (folder / "flood_districts.csv").open() as file:
        rows = {(row["district"], row["change"]): row for row in csv.DictReader(file)}
    assert {name for name, _ in rows} == {"west", "east", "dry"}
    assert "1 of 4 districts have no pixel that both dates show, and are not in the table" in result["notes"]
    for column, grid in (("hectares", "fine"), ("source_hectares", "source")):
        halves = [float(rows[half, "more water"][column]) for half in ("west", "east")]
        assert sum(halves) == pytest.approx(result[grid]["more"]["hectares"], abs=0.02)
        assert halves == pytest.approx([hectares / 2] * 2, rel=0.1)
    flooded = rows["west", "more water"]
    assert float(flooded["hectares_low"]) < float(flooded["hectares"]) < float(flooded["hectares_high"])
    assert all(0.004 < float(flooded[f"texture_{date}"]) < 0.02 for date in ("before", "after"))
    dry = rows["dry", "more water"]
    assert (float(dry["hectares"]), dry["texture_after"]) == (0, "")
    assert float(dry["measured_hectares"]) == pytest.approx(0.64, rel=0.05)
    assert [row["district"] for row in result["districts"]] == ["west", "west", "east", "east", "dry", "dry"]
    assert ">dry</" in (folder / "flood.html").read_text()


def test_the_situation_map_needs_no_network(found):
    page = (found[0] / "flood.html").read_text()
    assert "more water" in page
    assert "http" not in page.split("base64,", 1)[0]
    assert 'src="http' not in page


def test_a_second_map_takes_the_products_over(found, capsys):
    folder = found[0]
    before = (folder / "flood_before.tif").stat().st_mtime_ns
    code = call_geosr(
        *("change", folder / "before.tif", folder / "after.tif", "-o", folder / "flood.tif", "--index", "ndvi"),
        *("--overwrite", "--report", folder / "flood.pdf"),
    )
    assert code == 0
    assert "less vegetation, 2.5 m: " in capsys.readouterr().out
    assert 'label="more vegetation"' in (folder / "flood.qml").read_text(), "the style is of the former map"
    assert (folder / "flood.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "flood_before.tif").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "out.png"], "the output out.png is a GeoTIFF"),
        (["-o", "missing/out.tif"], "the folder of missing/out.tif does not exist"),
        (["-o", "out.tif", "--index", "frob"], "--index is ndwi, ndvi, nbr, ndbi, not frob"),
        (["-o", "out.tif", "--index", "nbr"], "B12"),
        (["-o", "out.tif", "--polygons", "out.shp"], "polygons are written as .geojson or .gpkg, not .shp"),
        (["-o", "out.tif", "--report", "out.png"], "a situation map is written as .html or .pdf, not .png"),
        (["-o", "before.tif"], "before.tif exists: --overwrite replaces it"),
        (["-o", "before.tif", "--overwrite"], "before.tif is a source: write to another file"),
        (["-o", "out.tif", "--polygons", "a.geojson", "--report", "out_change.json"], "written as .html or .pdf"),
        (["-o", "out.tif", "--polygons", "out_change.json"], "two outputs have one name: give each its own"),
        (["-o", "out.tif", "--report", "out.pdf", "--id", "name"], "and there are none: name their file, --districts"),
        (["-o", "out.tif", "--districts", "nowhere.gpkg"], "there is no such file"),
        (["-o", "out.tif", "--bbox", "0,0,1,1"], "the area is outside before.tif"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(dates, tmp_path, monkeypatch, capsys, options, said):
    for name in ("before.tif", "after.tif"):
        (tmp_path / name).write_bytes((dates[0] / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    code = call_geosr("change", "before.tif", "after.tif", *options)
    out, err = capsys.readouterr()
    assert code in (1, 2)
    assert said in err
    assert err.count("\n") == 1
    assert not out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after.tif", "before.tif"]


def test_one_scene_as_both_dates_is_refused(dates, tmp_path, capsys):
    before = dates[0] / "before.tif"
    assert call_geosr("change", before, before, "-o", tmp_path / "out.tif") == 2
    assert capsys.readouterr().err == "geosr: both dates are before: name two scenes, the earlier one first\n"
    assert not list(tmp_path.iterdir())


def test_a_date_of_another_scale_is_refused(dates, tmp_path, capsys):
    with rasterio.open(dates[0] / "after.tif") as raster:
        dark = write_raster(tmp_path / "dark.tif", raster.read() // 20 + 1, transform=raster.transform, nodata=0)
    code = call_geosr("change", dates[0] / "before.tif", dark, "-o", tmp_path / "out.tif")
    assert code == 2
    assert "reflectance differs by a factor of 0.04" in capsys.readouterr().err


def test_dates_on_different_grids_are_refused(dates, tmp_path, capsys):
    with rasterio.open(dates[0] / "after.tif") as raster:
        pixels = raster.read()
    moved = write_raster(tmp_path / "moved.tif", pixels, transform=from_origin(500_005, 5_300_000, 10, 10), scale=1e-4)
    code = call_geosr("change", dates[0] / "before.tif", moved, "-o", tmp_path / "out.tif")
    assert code == 2
    assert "are not on one grid: give both the same --bbox" in capsys.readouterr().err
