"""Products cut to their area: nodata outside, the pixels inside unchanged, by a stated rule."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask

from geosr.run.clip import Clip
from tests.catalog.test_vector import in_degrees, write
from tests.conftest import read_raster, run_here, write_raster

LEFT, TOP = 430000, 5340400

#: A triangle over a raster of 40 × 48 pixels.
FIELD = shapely.Polygon([(LEFT + 57, TOP - 33), (LEFT + 411, TOP - 120), (LEFT + 203, TOP - 377)])


@pytest.fixture
def scene(tmp_path, sample):
    transform = rasterio.transform.from_origin(LEFT, TOP, 10, 10)
    return write_raster(tmp_path / "in.tif", sample[:, :40, :48], nodata=0, transform=transform)


@pytest.fixture
def field(tmp_path):
    return write(tmp_path / "field.gpkg", [FIELD])


def outside(path, *, all_touched=False):
    with rasterio.open(path) as raster:
        return geometry_mask([FIELD], raster.shape, raster.transform, all_touched=all_touched)


@pytest.mark.parametrize("touched", [(), ("--all-touched",)])
def test_outside_is_nodata_and_inside_is_unchanged(tmp_path, scene, field, touched):
    """In chunks of 16 pixels as in one."""
    whole, cut, chunks = (tmp_path / f"{name}.tif" for name in ("whole", "cut", "chunks"))
    options = ("--aoi", field, "--model", "backprojection", "-q")
    assert run_here("upscale", scene, "-o", whole, *options).returncode == 0
    assert run_here("upscale", scene, "-o", cut, *options, "--clip", *touched).returncode == 0
    assert run_here("upscale", scene, "-o", chunks, *options, "--clip", *touched, "--core", "16").returncode == 0
    out = outside(cut, all_touched=bool(touched))
    assert 0.3 < out.mean() < 0.8
    pixels = read_raster(cut)
    assert (pixels[:, out] == 0).all()
    assert (pixels[:, ~out] == read_raster(whole)[:, ~out]).all()
    assert (read_raster(chunks) == pixels).all()
    with rasterio.open(cut) as raster:
        assert raster.nodata == 0
        assert "cut to the area" in raster.tags()["GEOSR_NOTES"]


@pytest.mark.parametrize("all_touched", [False, True])
def test_windows_of_many_fields_are_parts_of_the_whole(all_touched):
    """The mask of a window is that of all fields at once, with holes, and where no field is."""
    spots = [
        shapely.Point(LEFT + 700 * i % 1900 + 0.37, TOP - 430 * i % 1900 + 0.41).buffer(40 + 9 * i) for i in range(12)
    ]
    fields = shapely.union_all(spots) - shapely.Point(LEFT + 90, TOP - 90).buffer(20)
    grid = GeoBox((800, 800), rasterio.transform.from_origin(LEFT - 50, TOP + 50, 2.5, 2.5), "EPSG:32633")
    whole = geometry_mask([fields], grid.shape, grid.affine, all_touched=all_touched)
    assert len(shapely.get_parts(fields)) > 3
    clip = Clip.of(fields, all_touched=all_touched)
    empty = 0
    for row, col in np.ndindex(10, 10):
        rows, cols = slice(80 * row, 80 * row + 80), slice(80 * col, 80 * col + 80)
        mask = clip.outside(grid[rows, cols])
        assert (mask == whole[rows, cols]).all()
        empty += bool(mask.all())
    assert 0 < empty < 100


def test_layers_are_cut_as_well(tmp_path, scene, field):
    out = tmp_path / "out.tif"
    assert run_here("upscale", scene, "-o", out, "--aoi", field, "--clip", "--uncertainty", "-q").returncode == 0
    away = outside(out)
    for name in ("uncertainty", "measured"):
        with rasterio.open(tmp_path / f"out_{name}.tif") as raster:
            assert ((raster.read() == raster.nodata) == away).all()


def test_floats_become_nan_and_what_declared_nothing_declares_nodata(tmp_path, sample, field):
    transform = rasterio.transform.from_origin(LEFT, TOP, 10, 10)
    reflectance = (sample[:, :40, :48] / 10000).astype(np.float32)
    for name, pixels in (("float", reflectance), ("integer", sample[:, :40, :48])):
        source = write_raster(tmp_path / f"{name}.tif", pixels, transform=transform)
        out = tmp_path / f"{name}_out.tif"
        options = ("--aoi", field, "--clip", "--model", "bicubic", "-q")
        assert run_here("upscale", source, "-o", out, *options).returncode == 0
        with rasterio.open(out) as raster:
            assert (raster.read_masks(1) == 0).sum() == outside(out).sum()
            assert str(raster.nodata) == {"float": "nan", "integer": "0.0"}[name]


def test_another_area_is_another_run(tmp_path, scene, field):
    out = tmp_path / "out.tif"
    command = ("upscale", scene, "-o", out, "--model", "bicubic", "--clip", "-q", "--aoi")
    assert run_here(*command, field).returncode == 0
    before = out.stat().st_mtime_ns
    assert run_here(*command, field).returncode == 0
    assert out.stat().st_mtime_ns == before
    # Of the same bounding box.
    other = write(tmp_path / "other.gpkg", [FIELD.envelope])
    assert run_here(*command, other).returncode == 1
    assert run_here(*command, other, "--overwrite").returncode == 0
    assert (read_raster(out) != 0).mean() > 0.9


def test_a_box_in_degrees_is_an_area(tmp_path, scene):
    west, south, east, north = in_degrees(shapely.box(LEFT + 50, TOP - 350, LEFT + 400, TOP - 50)).bounds
    out = tmp_path / "out.tif"
    box = f"{west},{south},{east},{north}"
    assert run_here("upscale", scene, "-o", out, "--bbox", box, "--clip", "--model", "bicubic", "-q").returncode == 0
    # Boxes in degrees are turned against UTM.
    assert 0 < (read_raster(out)[0] == 0).mean() < 0.1
    assert json.loads((tmp_path / "out.json").read_text())["assets"]["data"]["nodata"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clip"], "--clip cuts to an area: give it with --aoi or --bbox"),
        (["--aoi", "FIELD", "--all-touched"], "--all-touched is a rule for --clip"),
        (["--bbox", "14,48,15,49", "--where", "a = 1"], "--where would choose from the file of --aoi"),
        (["--aoi", "FIELD", "--layer", "none"], "has no layer 'none': it has field"),
        (["--aoi", "FIELD", "--where", "crop = 'rye'"], "holds no feature with a place"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, scene, field, options, message):
    before = sorted(tmp_path.iterdir())
    options = [field if option == "FIELD" else option for option in options]
    done = run_here("upscale", scene, "-o", tmp_path / "out.tif", *options)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
