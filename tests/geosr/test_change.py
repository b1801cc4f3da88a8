"""A flood of known area between two simulated dates: its hectares, its polygons, its map, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine, from_origin
from rasterio.windows import Window
from scipy import ndimage

from geosr.batch.scenes import scenes_of
from geosr.change.calm import CalmDifference, MedianSize
from geosr.change.dates import _median_lines
from geosr.change.extent import LIKELY, PERHAPS, REACHES, SURE, Difference, certainty
from geosr.change.grid import Grid
from geosr.change.indices import INDICES
from geosr.change.levels import Levels, measure_levels
from geosr.change.polygons import changed_areas
from geosr.errors import UsageError
from geosr.model.kernels import mtf_to_sigma
from geosr.model.sensor import Sensor, upsample
from geosr.registration.harmonise import Line
from tests.conftest import SAMPLE, assert_valid_item, call_geosr, run_here, write_raster
from tests.geosr.test_maps import renderer_of

MTF = (0.26, 0.28, 0.24, 0.26)
SIDE = 96
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


@pytest.fixture(scope="module")
def found(dates):
    """The command's outputs for them."""
    folder, hectares = dates
    run = run_here(
        *("change", folder / "before.tif", folder / "after.tif", "-o", folder / "flood.tif", "--json"),
        *("--polygons", folder / "flood.geojson", "--report", folder / "flood.html", "--style"),
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


def test_polygons_and_map_hold_the_same_area(found):
    folder, _, result = found
    (feature,) = json.loads((folder / "flood.geojson").read_text())["features"]
    assert feature["properties"]["change"] == "more water"
    assert feature["properties"]["hectares"] == pytest.approx(result["fine"]["more"]["hectares"], abs=1e-3)
    west, south = np.array(feature["geometry"]["coordinates"][0][0]).min(axis=0)
    assert 14 < west < 16
    assert 47 < south < 48
    with rasterio.open(folder / "flood.tif") as raster:
        assert (raster.read(1) == 2).sum() * PIXEL_HA == pytest.approx(feature["properties"]["hectares"], abs=1e-3)
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
        "summary": "./flood_change.json",
    }
    properties = item["properties"]
    assert (properties["proj:code"], properties["proj:shape"]) == ("EPSG:32633", [4 * SIDE, 4 * SIDE])
    assert properties["geosr:hectares"]["more water"] == result["fine"]["more"]["hectares"]
    assert properties["processing:expression"]["expression"]["least"] == 0.1
    (band,) = item["assets"]["data"]["bands"]
    assert [one["value"] for one in band["classification:classes"]] == [0, 1, 2]
    assert item["assets"]["data"]["nodata"] == 255
    # It is no image of a date: fields and batches of the folder are of the products.
    assert [scene.name for scene in scenes_of([str(folder)])] == ["flood_after", "flood_before"]


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


@pytest.mark.parametrize(("step_x", "step_y"), [(10, -10), (10, 10), (-10, -10)])
def test_areas_are_found_on_grids_that_run_either_way(tmp_path, step_x, step_y):
    transform = Affine(step_x, 0, 500_000, 0, step_y, 5_300_000)
    sure = np.zeros((2, 12, 20), np.uint8)
    sure[:, 3:6, 10:14] = np.array([SURE, 2], np.uint8)[:, None, None]
    for name, pixels in (("sure", sure), ("difference", np.where(sure[:1] > 0, 0.4, 0).astype(np.float32))):
        write_raster(tmp_path / f"{name}.tif", pixels, names=(), transform=transform)
    (area,) = changed_areas(tmp_path / "sure.tif", tmp_path / "difference.tif", 0.01, 0.01)
    assert area.hectares == pytest.approx(0.12)
    assert area.mean_difference == pytest.approx(0.4)
    west, east = sorted((500_000 + 10 * step_x, 500_000 + 14 * step_x))
    south, north = sorted((5_300_000 + 3 * step_y, 5_300_000 + 6 * step_y))
    assert area.geometry.bounds == (west, south, east, north)


@dataclass(frozen=True)
class Held:
    """Reads from arrays."""

    pixels: np.ndarray
    seen: np.ndarray

    def read(self, window):
        rows, cols = window.toslices()
        return self.pixels[:, rows, cols], self.seen[rows, cols]


def test_finer_differences_count_where_they_exceed_the_errors_whatever_the_window():
    index = INDICES["ndwi"]
    before = np.full((2, 12, 10), 0.1, np.float32)
    after = before.copy()
    after[0] += 0.01 * np.arange(12, dtype=np.float32)[:, None]
    seen = np.ones((12, 10), bool)
    seen[:3, :3] = False
    source = Grid(index, Held(before, seen), Held(after, seen), None, (12, 10), None, None, 10.0, 0.01, 3)
    calm = CalmDifference(source, Levels(0.0, 1.0), 4)
    rng = np.random.default_rng(0)
    coarse = np.repeat(np.repeat((index.of(after) - index.of(before)), 4, 0), 4, 1)
    fine = (coarse + 0.01 * rng.standard_normal((48, 40))).astype(np.float32)
    fine[20:24, 20:24] = 0.9
    fine[47, 39] = np.nan
    half_width = np.full((48, 40), 0.05, np.float32)
    whole = calm.of(Window(0, 0, 40, 48), fine, half_width)
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(fine))
    np.testing.assert_allclose(whole[20:24, 20:24], 0.9)
    # Rows differ, columns do not: no noise of the finer pixels is left in them.
    assert whole[30:40].std(axis=1).max() < 1e-6 < 5e-3 < fine[30:40].std(axis=1).min()
    assert whole[8:40, 30].std() == pytest.approx(coarse[8:40, 30].std(), rel=0.05)
    # Where the source has no pixel nothing is known to be calmer.
    np.testing.assert_array_equal(whole[:8, :8], fine[:8, :8])
    for window in (Window(5, 7, 20, 19), Window(25, 26, 15, 22)):
        rows, cols = window.toslices()
        part = calm.of(window, fine[rows, cols], half_width[rows, cols])
        np.testing.assert_allclose(part, whole[rows, cols], atol=1e-6)


def test_the_median_of_differences_that_come_in_parts():
    rng = np.random.default_rng(0)
    differences = 0.03 * rng.standard_normal(5_001)
    sizes = MedianSize()
    assert sizes.value == 0
    for part in np.array_split(differences, 7):
        sizes.add(part)
    assert sizes.value == pytest.approx(np.median(np.abs(differences)), abs=5e-5)


def test_dates_without_a_common_pixel_are_refused():
    class Half:
        def __init__(self, upper):
            self.upper = upper

        def read(self, window):
            rows = np.arange(window.row_off, window.row_off + window.height)[:, None]
            seen = np.broadcast_to((rows < 20) == self.upper, (window.height, window.width))
            return np.full((2, window.height, window.width), 0.1, np.float32), seen

    grid = Grid(INDICES["ndwi"], Half(True), Half(False), None, (40, 40), None, None, 10.0, 0.01, 2)
    with pytest.raises(UsageError, match="no pixel was measured on both dates"):
        grid.levels(0.1)


def test_an_index_carries_its_bands_half_widths():
    index = INDICES["ndwi"]
    reflectance = np.array([[[0.1]], [[0.3]]], np.float32)
    assert float(index.of(reflectance)[0, 0]) == pytest.approx(-0.5)
    step = 1e-4
    by_hand = np.hypot(
        *(
            (index.of(reflectance + step * np.eye(2, dtype=np.float32)[band].reshape(2, 1, 1)) - index.of(reflectance))
            / step
            * half_width
            for band, half_width in enumerate((0.01, 0.02))
        )
    )
    half_widths = np.array([[[0.01]], [[0.02]]], np.float32)
    assert float(index.half_width(reflectance, half_widths)[0, 0]) == pytest.approx(float(by_hand[0, 0]), rel=0.01)


def test_unchanged_ground_tells_the_levels_beside_much_change():
    rng = np.random.default_rng(0)
    difference = (0.02 + 0.01 * rng.standard_normal(10_000)).astype(np.float32)
    difference[:3_000] += 0.8
    levels = measure_levels(difference, np.full(10_000, 0.05, np.float32))
    assert levels.centre == pytest.approx(0.02, abs=0.01)
    assert levels.factor == pytest.approx(0.01645 / 0.05, rel=0.4)
    assert levels.width == pytest.approx(0.05)
    assert measure_levels(difference, np.full(10_000, 1e-3, np.float32)).factor == 1


def test_an_edge_is_where_half_of_the_ground_has_changed():
    position = np.arange(60, dtype=np.float32)
    fraction = np.clip((position - 26.3) / 6, 0, 1)
    ground, water = np.array([0.08, 0.35]), np.array([0.06, 0.02])
    rng = np.random.default_rng(0)
    before = (ground[:, None, None] * (1 + 0.2 * rng.standard_normal((1, 60, 60)))).astype(np.float32)
    after = ((1 - fraction) * before + fraction * water[:, None, None]).astype(np.float32)
    index = INDICES["ndwi"].of(after) - INDICES["ndwi"].of(before)
    flat = np.full((60, 60), 0.01, np.float32)
    sure, increase = certainty(Difference(index, flat, before, after, flat, crossed(before, after)), 0.1, 8)
    assert increase[sure > 0].all()
    found = {level: 60 - float((sure >= level).sum(axis=1).mean()) for level in (PERHAPS, LIKELY, SURE)}
    assert found[LIKELY] == pytest.approx(29.3 + 0.5, abs=0.5)
    assert found[PERHAPS] < found[LIKELY] < found[SURE]


def crossed(before, after):
    index = INDICES["ndwi"]
    return index.crossed(index.of(before), index.of(after))


def flooded(rows, cols, seed=0):
    """Reflectance of both dates with two floods and a dried pond, in the two bands of NDWI."""
    rng = np.random.default_rng(seed)
    ground, water = np.array([0.08, 0.35]), np.array([0.06, 0.02])
    before = ground[:, None, None] * (1 + 0.2 * rng.standard_normal((1, rows, cols)))
    after = before + 0.002 * rng.standard_normal((2, rows, cols))
    after[:, 30:90, 20:80] = water[:, None, None]
    after[:, 100:140, 90:180] = water[:, None, None]
    # A pond that has dried, where the ground of the later date is rough.
    before[:, 20:60, 120:150] = water[:, None, None]
    before, after = before.astype(np.float32), after.astype(np.float32)
    index = INDICES["ndwi"].of(after) - INDICES["ndwi"].of(before)
    flat = np.full((rows, cols), 0.01, np.float32)
    return Difference(index, flat, before, after, flat, crossed(before, after))


def test_certainties_do_not_depend_on_the_windows_they_are_computed_in():
    reach = 4
    whole = flooded(160, 200)
    shown_later = (False, True)
    expected, increase = certainty(whole, 0.1, reach, shown_later)
    assert expected.max() == SURE
    margin, cut = REACHES * reach, 100
    *arrays, both = vars(whole).values()
    part = Difference(*(one[..., : cut + margin] for one in arrays), tuple(one[:, : cut + margin] for one in both))
    found, found_increase = certainty(part, 0.1, reach, shown_later)
    np.testing.assert_array_equal(found[:, :cut], expected[:, :cut])
    np.testing.assert_array_equal(found_increase[:, :cut], increase[:, :cut])
    assert not increase[30:50, 125:145].any()
    assert increase[40:80, 30:70].all()


def test_water_before_a_flood_is_no_change_of_the_other_kind_around_it():
    rng = np.random.default_rng(0)
    ground = np.array([0.08, 0.35])[:, None, None] * (1 + 0.2 * rng.standard_normal((1, 120, 120)))
    before, after = ground.copy(), ground.copy()
    before[:, 58:62, 58:62] = np.array([0.08, 0.001])[:, None, None]
    after[:, 30:90, 30:90] = np.array([0.06, 0.02])[:, None, None]
    before, after = before.astype(np.float32), after.astype(np.float32)
    index = INDICES["ndwi"].of(after) - INDICES["ndwi"].of(before)
    assert (index < -0.1).sum() == 16
    flat = np.full((120, 120), 0.01, np.float32)
    sure, increase = certainty(Difference(index, flat, before, after, flat, crossed(before, after)), 0.1, 4)
    changed = sure >= LIKELY
    # Water that was deeper stays what it is, pixel by pixel; the flood around it does not follow.
    assert (changed & ~increase).sum() <= 16
    assert changed.sum() == pytest.approx(3600, rel=0.03)


def test_a_field_that_turns_green_has_lost_no_water():
    bare, green = np.array([0.12, 0.22], np.float32), np.array([0.08, 0.45], np.float32)
    before, after = (np.broadcast_to(one[:, None, None], (2, 40, 40)) for one in (bare, green))
    index = INDICES["ndwi"].of(after) - INDICES["ndwi"].of(before)
    assert float(index.max()) < -0.3
    flat = np.full((40, 40), 0.01, np.float32)
    sure, _ = certainty(Difference(index, flat, before, after, flat, crossed(before, after)), 0.1, 4)
    assert not sure.any()
    # A river that clears is water on both dates; a roof with an index above 0 that is flooded is not.
    river = crossed(np.array([0.2, 0.1], np.float32), np.array([0.06, 0.01], np.float32))
    roof = crossed(np.array([0.2, 0.19], np.float32), np.array([0.06, 0.01], np.float32))
    assert [bool(one) for one in (*river, *roof)] == [False, False, False, True]
    vegetation = INDICES["ndvi"]
    assert all(one.all() for one in vegetation.crossed(vegetation.of(before[::-1]), vegetation.of(after[::-1])))


def test_a_band_of_another_season_leaves_both_as_they_are():
    fitted = [(Line(1.05, 0.01), Line(0.3, 0.02))] * 3
    assert _median_lines(fitted) == (Line(1.0, 0.0),) * 2
    assert _median_lines([(Line(1.05, 0.01), Line(0.9, 0.02))] * 3) == (Line(1.05, 0.01), Line(0.9, 0.02))
