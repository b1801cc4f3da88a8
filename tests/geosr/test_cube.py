"""Cubes of products along time: read by xarray and rioxarray as the products are, appended to, whole after kills."""

from __future__ import annotations

import json
import shutil
import signal

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray as xr
from rasterio.transform import from_origin

from geosr.cube import layout, netcdf_file, zarr_store
from geosr.cube.append import CubeRequest, build_cube
from geosr.errors import ExistsError
from tests.conftest import REPOSITORY, call_geosr, run_here, write_raster
from tests.small_model import write_small_model
from tests.warm import run_warm

DAYS = ("2024-05-01", "2024-06-01", "2024-07-01")
KINDS = ("cube.zarr", "cube.nc")


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    """Products of three dates with half-widths, one of another grid, one of fewer bands."""
    folder = tmp_path_factory.mktemp("farm")
    model = write_small_model(folder)
    with rasterio.open("geosr/data/sample.tif") as raster:
        sample = raster.read()[:, 40:60, 40:56]
    for i, day in enumerate((*DAYS, "2024-08-01")):
        pixels = (sample * (1 + 0.1 * i)).astype(np.uint16)
        pixels[:, 5:7, 3:6] = 0
        transform = from_origin(359130 + 10 * (i == 3), 5352340, 10, 10)
        path = write_raster(folder / f"s{i}.tif", pixels, nodata=0, scale=1e-4, offset=-0.1, transform=transform)
        with rasterio.open(path, "r+") as raster:
            raster.update_tags(ACQUISITIONDATETIME=f"{day}T10:00:00Z")
        upscale = ("upscale", path, "-o", folder / f"p{i}.tif", "--model", model, "-q")
        assert call_geosr(*upscale, *(("--uncertainty",) if i < 3 else ())) == 0
    return folder


@pytest.fixture(autouse=True)
def small_squares(monkeypatch):
    """Several squares and pieces in small products."""
    shrink(monkeypatch)


def shrink(monkeypatch):
    for module in (layout, zarr_store, netcdf_file):
        monkeypatch.setattr(module, "PIECE_PX", 32)
    monkeypatch.setattr(layout, "SQUARE_PX", 64)


def build(farm, cube, *numbers, **more):
    return build_cube(CubeRequest(tuple(str(farm / f"p{i}.json") for i in numbers), cube, **more))


def opened(cube, **options):
    kwargs = {"decode_coords": "all", **options}
    return xr.open_zarr(cube, **kwargs) if cube.suffix == ".zarr" else xr.open_dataset(cube, **kwargs)


def assert_holds(farm, cube, *numbers):
    """The cube has these dates, to the last digit."""
    with opened(cube) as decoded, opened(cube, mask_and_scale=False) as stored:
        assert [str(one)[:19] for one in decoded.time.values] == [f"{DAYS[i]}T10:00:00" for i in numbers]
        for place, i in enumerate(numbers):
            for name, suffix in (("", ""), ("_half_width", "_uncertainty")):
                with rasterio.open(farm / f"p{i}{suffix}.tif") as raster:
                    dn, masks = raster.read(), raster.read_masks()
                    assert decoded.rio.crs == raster.crs
                    assert decoded.rio.transform() == raster.transform
                offset = -0.1 if not name else 0
                for b, band in enumerate(("B02", "B03", "B04", "B08")):
                    np.testing.assert_array_equal(stored[band + name].values[place], dn[b])
                    expected = np.where(masks[b] > 0, dn[b] * 1e-4 + offset, np.nan)
                    np.testing.assert_allclose(decoded[band + name].values[place], expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_products_are_read_as_they_are_and_added_date_by_date(farm, tmp_path, kind):
    cube = tmp_path / kind
    assert build(farm, cube, 1, 0).added == ("p0", "p1")
    with opened(cube, decode_cf=False) as raw:
        assert raw.attrs["Conventions"] == "CF-1.11"
        assert raw.time.attrs["units"] == "seconds since 1970-01-01 00:00:00"
        assert raw.x.attrs == {"standard_name": "projection_x_coordinate", "units": "m", "axis": "X"}
        assert raw.B04.attrs["ancillary_variables"] == "B04_half_width"
        assert (raw.B04.attrs["grid_mapping"], raw.B04.attrs["_FillValue"]) == ("spatial_ref", 0)
        assert raw.spatial_ref.attrs["grid_mapping_name"] == "transverse_mercator"
        assert raw.B04.dims == ("time", "y", "x")
    with opened(cube) as decoded:
        # A field's series needs the pieces around it, one date each.
        assert decoded.B04.encoding["preferred_chunks"] == {"time": 1, "y": 32, "x": 32}
    before = contents(cube)
    again = build(farm, cube, 0, 1)
    assert (again.added, again.skipped, contents(cube)) == ((), ("p0", "p1"), before)
    done = run_here("cube", *(farm / f"p{i}.json" for i in (0, 1, 2)), "-o", cube, "--json")
    assert json.loads(done.stdout[done.stdout.index("{\n") :])["added"] == ["p2"]
    assert_holds(farm, cube, 0, 1, 2)
    if kind == "cube.zarr":
        # Pieces of earlier dates are the same files.
        now = contents(cube)
        pieces = [name for name in before if "/c/" in name]
        assert len(pieces) > 16
        assert all(now[name] == before[name] for name in pieces)
    assert [path.name for path in tmp_path.iterdir()] == [kind]


def contents(cube):
    paths = [path for path in cube.rglob("*") if path.is_file()] if cube.is_dir() else [cube]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_append_leaves_the_cube_and_goes_on(farm, tmp_path, kind, monkeypatch):
    cube = tmp_path / kind
    build(farm, cube, 0)
    # What a kill leaves in the work folder is no obstacle.
    work = tmp_path / f".{kind}.geosr"
    (work / "date.zarr").mkdir(parents=True)
    (work / "cube.nc").write_bytes(b"half")
    if kind == "cube.zarr":
        write = zarr_store.tiling.write

        def interrupted(path, parts):
            if path == cube / "zarr.json":
                raise KeyboardInterrupt
            write(path, parts)

        monkeypatch.setattr(zarr_store.tiling, "write", interrupted)
    else:
        monkeypatch.setattr(netcdf_file.NetcdfFile, "_install", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        # Another date was to be added then: its pieces must not be left among the next one's.
        build(farm, cube, 2)
    monkeypatch.undo()
    shrink(monkeypatch)
    with opened(cube) as left:
        assert left.sizes["time"] == 1
    assert build(farm, cube, 0, 1).added == ("p1",)
    assert_holds(farm, cube, 0, 1)


def test_dates_that_do_not_fit_behind_the_last_are_refused(farm, tmp_path):
    cube = tmp_path / "cube.zarr"
    build(farm, cube, 1)
    before = contents(cube)
    with pytest.raises(ExistsError, match=r"p0 of 2024-05-01T10:00:00.*is before the last date"):
        build(farm, cube, 0, 1)
    with pytest.raises(ExistsError, match="of products with another grid, bands, scale or half-widths"):
        build(farm, cube, 3)
    for name in ("p1.tif", "p1_uncertainty.tif", "p1.json"):
        shutil.copy(farm / name, tmp_path / name)
    with rasterio.open(tmp_path / "p1.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
        raster.update_tags(GEOSR_MANIFEST="another")
    with pytest.raises(ExistsError, match=r"has p1 of .* with other pixels than p1"):
        build(tmp_path, cube, 1)
    assert contents(cube) == before
    assert build(farm, cube, 0, overwrite=True).added == ("p0",)
    assert_holds(farm, cube, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["p0.json", "-o", "cube.h5"], "a cube is written as .zarr or .nc, not .h5"),
        (["p0.json", "-o", "missing/cube.nc"], "the folder of missing/cube.nc does not exist"),
        (["p0.json", "-o", "folder.zarr"], "folder.zarr exists and is no cube of geosr"),
        (["p0.json", "-o", "file.nc"], "file.nc exists and is no cube of geosr"),
        (["p0.json", "-o", "folder.nc"], "folder.nc is a folder, and no cube"),
        (["p0.json", "-o", "s3://bucket/cube.zarr"], "a cube is written to a disk"),
        (["p0.json", "p3.json", "-o", "cube.zarr"], "a cube has one of all; make its products with one area"),
        (["p0.json", "s1.tif", "-o", "cube.zarr"], "has another grid than"),
        (["p0.json", "copy/p0b.json", "-o", "cube.zarr"], "are of one time, 2024-05-01T10:00:00+00:00"),
        (["nowhere.tif", "-o", "cube.zarr"], "does not exist"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(farm, tmp_path, monkeypatch, capsys, arguments, said):
    for path in farm.glob("[ps]?*.*"):
        shutil.copy(path, tmp_path / path.name)
    (tmp_path / "copy").mkdir()
    content = (farm / "p0.json").read_text().replace('"id": "p0"', '"id": "p0b"').replace("./p0", "../p0")
    (tmp_path / "copy" / "p0b.json").write_text(content)
    for name in ("folder.zarr", "folder.nc"):
        (tmp_path / name).mkdir()
    (tmp_path / "file.nc").write_text("no cube")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert call_geosr("cube", *arguments) in (1, 2)
    err = capsys.readouterr().err
    assert said in err
    assert err.startswith("geosr: ")
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_appends_that_are_killed_anywhere_end_as_one_that_is_not(farm, tmp_path, kind):
    cube, undisturbed = tmp_path / "killed" / kind, tmp_path / "undisturbed" / kind
    for path in (cube, undisturbed):
        path.parent.mkdir()
    paths = [cube, undisturbed, *(farm / f"p{i}.json" for i in range(3))]
    done = run_warm("tests.geosr.killed_appends", *paths, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    _, ends, dates = zip(*(map(int, line.split()) for line in done.stdout.splitlines()), strict=True)
    assert len(dates) > 3, "no append was killed"
    assert ends == (*[-signal.SIGKILL] * (len(ends) - 1), 0), done.stderr
    assert list(dates) == sorted(dates)
    assert {dates[0], dates[-1]} == {1, 3}
    assert_holds(farm, cube, 0, 1, 2)
    with opened(cube, mask_and_scale=False) as one, opened(undisturbed, mask_and_scale=False) as other:
        assert one.identical(other)
    assert [path.name for path in cube.parent.iterdir()] == [kind]
    if kind == "cube.zarr":
        assert bytes_of(cube) == bytes_of(undisturbed)


def bytes_of(cube):
    return {str(path.relative_to(cube)): path.read_bytes() for path in cube.rglob("*") if path.is_file()}
