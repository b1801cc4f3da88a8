"""Parts of the comparison of two dates: seeds, edges, levels, differences that are calm, texture, areas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import CRS, Transformer
from rasterio.transform import Affine
from rasterio.windows import Window
from shapely.geometry import MultiPolygon, box

from catalog.features import Feature
from geosr.change.calm import CalmDifference, MedianSize
from geosr.change.dates import _median_lines
from geosr.change.districts import change_in_districts, district_notes
from geosr.change.extent import LIKELY, PERHAPS, REACHES, SURE, Difference, certainty
from geosr.change.grid import Grid
from geosr.change.indices import INDICES
from geosr.change.levels import measure_levels
from geosr.change.polygons import UNKNOWN, ChangedArea, changed_areas, write_polygons
from geosr.change.texture import texture_of
from geosr.errors import UsageError
from geosr.registration.harmonise import Line
from tests.conftest import write_raster


@pytest.mark.parametrize(("step_x", "step_y"), [(10, -10), (10, 10), (-10, -10)])
def test_areas_are_found_on_grids_that_run_either_way(tmp_path, step_x, step_y):
    transform = Affine(step_x, 0, 500_000, 0, step_y, 5_300_000)
    sure = np.zeros((2, 12, 20), np.uint8)
    sure[:, 3:6, 10:14] = np.array([SURE, 2], np.uint8)[:, None, None]
    where = (sure > 0).astype(np.float32)
    rasters = {
        "sure": sure,
        "difference": where[:1] * np.array([0.1, 0.05, 0.4])[:, None, None],
        "texture": where * np.array([0.1, 0.2])[:, None, None],
    }
    for name, pixels in rasters.items():
        write_raster(tmp_path / f"{name}.tif", pixels, names=(), transform=transform)
    (area,) = changed_areas(*(tmp_path / f"{name}.tif" for name in rasters), 0.01, 0.01)
    assert (area.texture_before, area.texture_after) == pytest.approx((0.1, 0.2))
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
    calm = CalmDifference(source, 0.0, 4)
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
    # An offset that is taken off the product's differences is taken off the source's.
    moved = CalmDifference(source, 0.1, 4).of(Window(0, 0, 40, 48), fine - np.float32(0.1), half_width)
    np.testing.assert_allclose(moved, whole - 0.1, atol=1e-6)
    for window in (Window(5, 7, 20, 19), Window(25, 26, 15, 22)):
        rows, cols = window.toslices()
        part = calm.of(window, fine[rows, cols], half_width[rows, cols])
        np.testing.assert_allclose(part, whole[rows, cols], atol=1e-6)


def test_texture_is_that_of_the_pixels_around():
    roofs = np.indices((30, 30)).sum(axis=0) % 2 * 0.2
    ground = np.where(np.arange(30) < 15, roofs, 0.3)
    known = np.ones((30, 30), bool)
    texture = texture_of(ground, known)
    assert texture[15, 5] == pytest.approx(0.1, rel=0.01)
    assert texture[15, 25] == pytest.approx(0, abs=1e-6)
    # A masked cloud is no roof.
    known[10:20, 20:] = False
    masked = texture_of(np.where(known, ground, 0), known)
    assert masked[:, 19:].max() == pytest.approx(0, abs=1e-6)
    assert masked[15, 5] == pytest.approx(0.1, rel=0.01)


def test_a_district_without_a_pixel_that_both_dates_show_is_counted(tmp_path):
    classes = np.zeros((1, 20, 20), np.uint8)
    classes[:, :, :10] = UNKNOWN
    write_raster(tmp_path / "classes.tif", classes, names=(), transform=Affine(10, 0, 500_000, 0, -10, 5_300_000))
    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform
    districts = [
        Feature(name, shapely.transform(box(left, 5_299_850, left + 50, 5_299_900), to_degrees, interleaved=False))
        for name, left in (("clouded", 500_020), ("seen", 500_120))
    ]
    rows = change_in_districts(districts, [], [], tmp_path / "classes.tif", 0.01, ("less", "more"))
    assert [(row.district, row.measured_hectares) for row in rows] == [("seen", 0.25)] * 2
    assert district_notes(districts, rows) == [
        "1 of 2 districts have no pixel that both dates show, and are not in the table"
    ]
    assert district_notes(districts[1:], rows) == []


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


def test_levels_are_not_those_of_ground_most_of_which_has_changed_alike():
    rng = np.random.default_rng(0)
    difference = 0.01 * rng.standard_normal(10_000).astype(np.float32)
    difference[:6000] += 0.9
    levels = measure_levels(difference, np.full(10_000, 0.1, np.float32))
    assert (levels.centre, levels.factor) == (0, 1)


def test_an_edge_is_where_half_of_the_ground_has_changed():
    position = np.arange(60, dtype=np.float32)
    fraction = np.clip((position - 26.3) / 6, 0, 1)
    ground, water = np.array([0.08, 0.35]), np.array([0.06, 0.02])
    rng = np.random.default_rng(0)
    before = (ground[:, None, None] * (1 + 0.2 * rng.standard_normal((1, 60, 60)))).astype(np.float32)
    after = ((1 - fraction) * before + fraction * water[:, None, None]).astype(np.float32)
    index = INDICES["ndwi"].of(after) - INDICES["ndwi"].of(before)
    flat = np.full((60, 60), 0.01, np.float32)
    sure, increase = certainty(difference_of(index, flat, before, after), 0.1, 8)
    assert increase[sure > 0].all()
    found = {level: 60 - float((sure >= level).sum(axis=1).mean()) for level in (PERHAPS, LIKELY, SURE)}
    assert found[LIKELY] == pytest.approx(29.3 + 0.5, abs=0.5)
    assert found[PERHAPS] < found[LIKELY] < found[SURE]


def crossed(before, after):
    index = INDICES["ndwi"]
    return index.crossed(index.of(before), index.of(after))


def stayed(before, after):
    index = INDICES["ndwi"]
    return index.stayed(index.of(before), index.of(after))


def difference_of(index, flat, before, after):
    return Difference(index, flat, before, after, flat, crossed(before, after), stayed(before, after))


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
    return difference_of(index, flat, before, after)


def test_certainties_do_not_depend_on_the_windows_they_are_computed_in():
    reach = 4
    whole = flooded(160, 200)
    shown_later = (False, True)
    expected, increase = certainty(whole, 0.1, reach, shown_later)
    assert expected.max() == SURE
    margin, cut = REACHES * reach, 100
    *arrays, both, kept = vars(whole).values()
    crossed_there = tuple(one[:, : cut + margin] for one in both)
    part = Difference(*(one[..., : cut + margin] for one in arrays), crossed_there, kept[:, : cut + margin])
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
    sure, increase = certainty(difference_of(index, flat, before, after), 0.1, 4)
    changed = sure >= LIKELY
    # Water that was deeper stays what it is, pixel by pixel; the flood around it does not follow.
    assert (changed & ~increase).sum() <= 16
    assert changed.sum() == pytest.approx(3600, rel=0.03)


def test_water_beside_a_dark_rim_is_water_on_both_dates():
    """A bright river turns dark, and along a line super-resolution overshoots to what looks like land."""
    bright, dark, rim = ((0.19, 0.033), (0.063, 0.017), (0.03, 0.03))
    before = np.empty((2, 60, 60), np.float32)
    before[:] = np.array(bright)[:, None, None]
    after = before.copy()
    after[:, 20:] = np.array(dark)[:, None, None]
    after[:, 20:22] = np.array(rim)[:, None, None]
    index = INDICES["ndwi"].of(after) - INDICES["ndwi"].of(before)
    assert index[40, 40] == pytest.approx(-0.13, abs=0.01)
    flat = np.full((60, 60), 0.01, np.float32)
    for later in (True, False):
        sure, _ = certainty(
            difference_of(index, flat, before, after),
            *(0.1, 8, (later, later)),
        )
        assert not sure[22:].any()
        assert not sure[:20].any()
    assert not INDICES["ndvi"].stayed(before[0], after[0]).any()


def test_a_field_that_turns_green_has_lost_no_water():
    bare, green = np.array([0.12, 0.22], np.float32), np.array([0.08, 0.45], np.float32)
    before, after = (np.broadcast_to(one[:, None, None], (2, 40, 40)) for one in (bare, green))
    index = INDICES["ndwi"].of(after) - INDICES["ndwi"].of(before)
    assert float(index.max()) < -0.3
    flat = np.full((40, 40), 0.01, np.float32)
    sure, _ = certainty(difference_of(index, flat, before, after), 0.1, 4)
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


AREA = ChangedArea(2, MultiPolygon([box(0, 0, 10, 10)]), 0.01, 0.0, 0.02, 0.4, 0.1, 0.2)


@pytest.mark.parametrize("areas", [[], [AREA]])
def test_a_geopackage_has_the_columns_of_areas_with_and_without_any(tmp_path, areas):
    write_polygons(areas, tmp_path / "areas.gpkg", CRS("EPSG:32633"), ("less water", "more water"))
    meta, _, geometries, values = pyogrio.raw.read(tmp_path / "areas.gpkg")
    row = {"change": "more water", "hectares": 0.01, "hectares_low": 0.0, "hectares_high": 0.02}
    row |= {"mean_difference": 0.4, "texture_before": 0.1, "texture_after": 0.2}
    found = {name: list(column) for name, column in zip(meta["fields"], values, strict=True)}
    assert found == {name: [value] * len(areas) for name, value in row.items()}
    assert [shapely.from_wkb(one) for one in geometries] == [area.geometry for area in areas]
