"""Several sources of one date make one product: joined before the network, without a seam."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from tests.conftest import read_raster, run_here, write_raster
from tests.safe_product import write_safe
from tests.stac_items import write_item

LEFT, TOP = 359130, 5352340
QUICK = ("--model", "bicubic", "-q")


def tile(path, pixels, row, col, **options):
    form = {"nodata": 0, "transform": from_origin(LEFT + 10 * col, TOP - 10 * row, 10, 10), **options}
    return write_raster(path, pixels, **form)


@pytest.fixture
def scene(sample):
    return sample[:, 20:68, 20:84]


@pytest.fixture
def tiles(tmp_path, scene):
    """Two tiles that touch and one that overlaps both."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    return [
        tile(folder / "a.tif", scene[:, :, :30], 0, 0),
        tile(folder / "b.tif", scene[:, :20, 30:], 0, 30),
        tile(folder / "c.tif", scene[:, 10:, 22:], 10, 22),
    ]


def upscaled(out, *arguments):
    done = run_here("upscale", *arguments, "-o", out, "-q")
    assert done.returncode == 0, done.stderr
    return read_raster(out)


@pytest.mark.parametrize("model", ["rgbn-x4", "backprojection"])
def test_joined_tiles_are_the_whole_scene(tmp_path, scene, tiles, model):
    """Pixel for pixel, at their rims as well."""
    whole = upscaled(tmp_path / "whole.tif", tile(tmp_path / "in.tif", scene, 0, 0), "--model", model)
    joined = upscaled(tmp_path / "joined.tif", *tiles, "--model", model)
    assert (joined == whole).all()
    with rasterio.open(tmp_path / "joined.tif") as raster:
        assert raster.bounds == (LEFT, TOP - 480, LEFT + 640, TOP)
        assert "3 sources are joined before they are upscaled: a, b, c" in raster.tags()["GEOSR_NOTES"]
    links = json.loads((tmp_path / "joined.json").read_text())["links"]
    sources = [link["href"].rsplit("/")[-1] for link in links if link["rel"] == "derived_from"]
    assert sources == ["a.tif", "b.tif", "c.tif"]


def test_folders_patterns_and_lists_name_them(tmp_path, scene, tiles):
    whole = upscaled(tmp_path / "whole.tif", tile(tmp_path / "in.tif", scene, 0, 0), *QUICK)
    (tmp_path / "list.txt").write_text("tiles/a.tif\ntiles/b.tif\ntiles/c.tif\n")
    for i, sources in enumerate((tmp_path / "tiles", tmp_path / "tiles" / "?.tif", tmp_path / "list.txt")):
        assert (upscaled(tmp_path / f"{i}.tif", sources, *QUICK) == whole).all()


def notes_of(path):
    with rasterio.open(path) as raster:
        return raster.tags()["GEOSR_NOTES"]


def test_sources_that_lie_apart_are_joined_with_a_note(tmp_path, scene):
    """Not where an area is asked for, whose own coverage is told."""
    apart = [tile(tmp_path / f"{row}.tif", scene[:, :16, :16], row, 0) for row in (0, 60)]
    upscaled(tmp_path / "out.tif", *apart, *QUICK)
    assert "the sources lie apart: they cover 42 % of the grid" in notes_of(tmp_path / "out.tif")
    west, _, east, north = json.loads((tmp_path / "out.json").read_text())["bbox"]
    upscaled(tmp_path / "area.tif", *apart, "--bbox", f"{west},{north - 0.001},{east},{north}", *QUICK)
    assert "lie apart" not in notes_of(tmp_path / "area.tif")


def test_the_first_source_counts_where_they_overlap_unless_it_has_a_hole(tmp_path, scene):
    low = scene[:, :16, :24].copy()
    low[:, 4, 4] = 0
    first = tile(tmp_path / "a.tif", low, 0, 0)
    second = tile(tmp_path / "b.tif", scene[:, :16, :32] + np.uint16(200), 0, 0)
    high = upscaled(tmp_path / "out.tif", first, second, "--model", "nearest")
    expected = scene[:, :16, :32] + np.uint16(200)
    expected[:, :, :24] = scene[:, :16, :24]
    expected[:, 4, 4] += 200
    assert (high[:, ::4, ::4] == expected).all()


def test_a_source_that_is_named_twice_is_one(tmp_path, scene):
    first = tile(tmp_path / "a.tif", scene[:, :16, :16], 0, 0)
    (tmp_path / "link.tif").symlink_to(first)
    assert (
        upscaled(tmp_path / "two.tif", first, tmp_path / "link.tif", *QUICK)
        == upscaled(tmp_path / "one.tif", first, *QUICK)
    ).all()
    with rasterio.open(tmp_path / "two.tif") as raster:
        assert "joined" not in raster.tags()["GEOSR_NOTES"]


def test_sources_may_have_other_nodata_values(tmp_path, scene):
    pixels = scene[:, :16, :32].astype(np.int16)
    left, right = pixels[:, :, :16].copy(), pixels[:, :, 16:].copy()
    left[:, 2, 2], right[:, 3, 3], right[:, 4, 4] = -9999, -32768, -9
    sources = [
        tile(tmp_path / "a.tif", left, 0, 0, nodata=None),
        tile(tmp_path / "b.tif", right, 0, 16, nodata=-32768),
    ]
    done = run_here("upscale", *sources, "-o", tmp_path / "out.tif", "--nodata", "-9999", "--model", "nearest", "-q")
    assert done.returncode == 0, done.stderr
    with rasterio.open(tmp_path / "out.tif") as raster:
        high, measured = raster.read()[:, ::4, ::4], raster.read_masks()[:, ::4, ::4] > 0
    expected = np.concatenate([left, right], axis=2)
    assert (measured == (expected > -9000)).all()
    assert (high[measured] == expected[measured]).all()


def test_between_sources_is_nodata_which_is_declared(tmp_path, scene):
    apart = [
        tile(tmp_path / "a.tif", scene[:, :16, :16], 0, 0, nodata=None),
        tile(tmp_path / "b.tif", scene[:, :16, :16], 8, 40, nodata=None),
    ]
    high = upscaled(tmp_path / "out.tif", *apart, *QUICK)
    assert (high == 0).mean(axis=(1, 2)) == pytest.approx([1 - 2 * 16 * 16 / (24 * 56)] * 4)
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.nodata == 0


def test_an_area_between_sources_is_refused_in_one_line(tmp_path, scene):
    import shapely

    from tests.catalog.test_vector import write

    apart = [tile(tmp_path / f"{col}.tif", scene[:, :16, :16], 0, col) for col in (0, 40)]
    field = write(tmp_path / "f.gpkg", [shapely.box(LEFT + 200, TOP - 120, LEFT + 360, TOP - 40)])
    done = run_here("upscale", *apart, "-o", tmp_path / "out.tif", "--aoi", field, *QUICK)
    assert (done.returncode, "has no valid pixel here" in done.stderr) == (1, True)
    assert done.stderr.count("\n") == 1


def test_an_area_of_joined_sources(tmp_path, scene, tiles):
    import shapely

    from tests.catalog.test_vector import write

    field = write(tmp_path / "f.gpkg", [shapely.box(LEFT + 250, TOP - 230, LEFT + 370, TOP - 120)])
    high = upscaled(tmp_path / "out.tif", *tiles, "--aoi", field, *QUICK)
    whole = tile(tmp_path / "in.tif", scene, 0, 0)
    assert (high == upscaled(tmp_path / "whole.tif", whole, "--aoi", field, *QUICK)).all()


def test_it_resumes_and_knows_other_sources(tmp_path, tiles):
    out = tmp_path / "out.tif"
    upscaled(out, *tiles, *QUICK)
    before = out.stat().st_mtime_ns
    upscaled(out, *tiles, *QUICK)
    assert out.stat().st_mtime_ns == before
    assert run_here("upscale", *tiles[:2], "-o", out, *QUICK).returncode == 1


def test_items_of_one_overpass_are_joined(tmp_path, scene):
    left = write_item(tmp_path, "left", scene[:, :, :32], left=LEFT, top=TOP)
    right = write_item(tmp_path, "right", scene[:, :, 32:], left=LEFT + 320, top=TOP)
    high = upscaled(tmp_path / "out.tif", left, right, "--model", "backprojection")
    whole = upscaled(tmp_path / "whole.tif", tile(tmp_path / "in.tif", scene, 0, 0), "--model", "backprojection")
    assert (high == whole).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path, scene: tile(path, scene[:3], 0, 64, names=("B02", "B03", "B04")), "their bands differ"),
        (lambda path, scene: tile(path, scene.astype(np.int32), 0, 64), "their type differ"),
        (lambda path, scene: tile(path, scene, 0, 64, scale=2e-4), "scale and offset differ"),
        (lambda path, scene: tile(path, scene, 0, 64, crs="EPSG:32634"), "their CRS differ"),
        (lambda path, scene: tile(path, scene, 0, 64.3), "lies on another grid than"),
        (
            lambda path, scene: tile(path, scene, 0, 64, transform=from_origin(LEFT, TOP, 20, 20)),
            "lies on another grid than",
        ),
        (lambda path, scene: path, "other_20230820.tif"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, scene, make, message):
    first = tile(tmp_path / "first.tif", scene, 0, 0)
    other = make(tmp_path / "other_20230820.tif", scene)
    before = sorted(tmp_path.iterdir())
    done = run_here("upscale", first, other, "-o", tmp_path / "out.tif", *QUICK)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_other_dates_are_refused(tmp_path, scene):
    paths = []
    for day, col in ((15, 0), (20, 64)):
        paths.append(tile(tmp_path / f"S2B_MSIL2A_202308{day}T100031_N0509_R122_T33UVP_x.tif", scene, 0, col))
    done = run_here("upscale", *paths, "-o", tmp_path / "out.tif", *QUICK)
    assert done.returncode == 1
    assert "are of different dates, 2023-08-15 and 2023-08-20: upscale them apart" in done.stderr


def test_other_processing_levels_are_refused(tmp_path, scene):
    """Reflectance at the top of the atmosphere is no reflectance of the ground."""
    products = [write_safe(tmp_path, scene, baseline="05.09", level=level) for level in ("1C", "2A")]
    done = run_here("upscale", *products, "-o", tmp_path / "out.tif", *QUICK)
    assert done.returncode == 1
    assert "cannot be joined, for their processing level differ (L1C; L2A)" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("out*"))


def test_other_wrong_input(tmp_path, tiles, scene):
    item = write_item(tmp_path, "item", scene)
    done = run_here("upscale", tiles[0], item, "-o", tmp_path / "out.tif")
    assert (done.returncode, "join sources of one kind" in done.stderr) == (2, True)
    done = run_here("upscale", tmp_path / "*.nothing", "-o", tmp_path / "out.tif")
    assert (done.returncode, "no file fits" in done.stderr) == (2, True)
    assert not (tmp_path / "out.tif").exists()
