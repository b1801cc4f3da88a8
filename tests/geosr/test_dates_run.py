"""Several dates in a run: files, Items and searches to the product of one date, sharpened by the others."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from rasterio.transform import from_origin

import geosr
from catalog import DateChoice, SceneRequest
from geosr.batch.scenes import companions_of, scenes_of_items
from geosr.dates.sampling import ShiftedSensor
from geosr.engine import Parallel
from geosr.model.kernels import mtf_to_sigma
from geosr.run.checkpoint import chunk_path, work_folder
from geosr.run.chunk import ChunkJob, read_part, upscale_part, write_encoded
from geosr.run.date_survey import survey_dates_of
from geosr.run.definition import define_run
from geosr.run.pipeline import super_resolve
from tests.conftest import assert_valid_item, read_raster, run_here, write_raster
from tests.geosr.test_dates import ground
from tests.geosr.test_resume import Recorder, leave_unfinished
from tests.stac_items import serve, write_item
from tests.upscaling import upscale_request

BANDS = ("B02", "B04")
MODEL = ("--model", "backprojection")
SIGMAS = [mtf_to_sigma(one, 4) for one in (0.26, 0.24)]
DAYS = ("2023-07-03", "2023-07-08", "2023-07-13")
SHIFTS = ((0.0, 0.0), (0.4, -0.3), (-0.2, 0.5))
LEFT, TOP = 500000, 5000000


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """DN of three dates, ``(2, 72, 72)``."""
    truth, rng = ground(), np.random.default_rng(5)
    seen = [ShiftedSensor(SIGMAS, 4, shift).observe(truth) for shift in SHIFTS]
    return [np.rint((one + 0.001 * rng.normal(size=one.shape)) * 10_000).astype(np.uint16) for one in seen]


def write(path: Path, pixels: np.ndarray, **options) -> Path:
    form = {"names": BANDS, "crs": "EPSG:32633", "transform": from_origin(LEFT, TOP, 10, 10), "nodata": 0, **options}
    return write_raster(path, pixels, **{"scale": 1e-4, "offset": 0.0, **form})


@pytest.fixture
def series(tmp_path, frames) -> list[Path]:
    folder = tmp_path / "series"
    folder.mkdir()
    return [write(folder / f"{day}.tif", pixels) for day, pixels in zip(DAYS, frames, strict=True)]


def request(sources, output, choice=None, **options):
    first, *more = map(str, sources)
    scene = SceneRequest(first, tuple(more))
    return upscale_request(
        scene, output, dates=choice or DateChoice(), **{"model": "backprojection", "core_px": 48, **options}
    )


def dates_of(path: Path) -> list[dict]:
    with rasterio.open(path) as raster:
        return json.loads(raster.tags()["GEOSR_DATES_JSON"])


def rms(image: np.ndarray) -> float:
    return float(np.sqrt(np.mean((image / 10_000 - ground())[:, 32:-32, 32:-32] ** 2)))


@pytest.mark.slow
def test_it_is_what_fuse_makes_whatever_the_chunks_and_resumes_to_the_same_bytes(tmp_path, frames, series):
    array = xr.DataArray(
        np.stack(frames),
        dims=("time", "band", "y", "x"),
        coords={"time": np.array(DAYS, "datetime64[ns]"), "band": list(BANDS)},
    )
    fused = geosr.fuse(
        array.assign_coords(y=TOP - 10 * np.arange(72) - 5.0, x=LEFT + 10 * np.arange(72) + 5.0),
        DAYS[0],
        "backprojection",
        scale=1e-4,
        offset=0.0,
    )
    out = tmp_path / "out.tif"
    super_resolve(request(series, out))
    assert np.abs(read_raster(out).astype(int) - fused.values.astype(int)).max() <= 1
    whole = tmp_path / "whole.tif"
    super_resolve(request(series, whole, core_px=256))
    assert np.abs(read_raster(whole).astype(int) - read_raster(out).astype(int)).max() <= 1
    single = tmp_path / "single.tif"
    super_resolve(replace(request(series[:1], single), dates=None))
    assert rms(read_raster(out)) < 0.93 * rms(read_raster(single))

    first, item = out.read_bytes(), out.with_suffix(".json").read_bytes()
    again = super_resolve(request(series, out))
    assert again.computed == 0
    out.with_suffix(".json").unlink()
    super_resolve(request(series, out))
    assert out.with_suffix(".json").read_bytes() == item
    out.unlink()
    out.with_suffix(".json").unlink()
    kept = leave_unfinished(request(series, out))
    recorder = Recorder()
    super_resolve(request(series, out), recorder)
    assert kept
    assert set(kept).isdisjoint(recorder.computed)
    assert out.read_bytes() == first


def test_tags_and_item_tell_the_dates(tmp_path, series):
    far = write(series[0].parent / "2023-08-13.tif", np.full((2, 72, 72), 6000, np.uint16))
    out = tmp_path / "out.tif"
    done = run_here("upscale", *series, far, "--reference", "2023-07-08", "-o", out, *MODEL, "-q")
    assert done.returncode == 0, done.stderr
    found = {entry["date"]: entry for entry in dates_of(out)}
    assert [entry["role"] for entry in found.values()] == ["reference", "used", "used", "not used"]
    assert next(iter(found)) == "2023-07-08"
    np.testing.assert_allclose(found["2023-07-03"]["shift_px"], (-0.4, 0.3), atol=0.05)
    assert found["2023-07-03"]["weight"] > 1
    assert 0.8 < found["2023-07-03"]["share"] <= 1
    assert "same ground" in found["2023-08-13"]["reason"]
    assert_valid_item(tmp_path / "out.json")
    item = json.loads((tmp_path / "out.json").read_text())
    assert item["properties"]["processing:expression"]["expression"]["dates"] == dates_of(out)
    sources = [link["href"].rsplit("/")[-1] for link in item["links"] if link["rel"] == "derived_from"]
    assert sorted(sources) == ["2023-07-03.tif", "2023-07-08.tif", "2023-07-13.tif"]
    assert item["properties"]["start_datetime"] == "2023-07-08T00:00:00Z"


def test_without_a_usable_date_it_is_the_product_of_one(tmp_path, frames, series):
    single = tmp_path / "single.tif"
    super_resolve(replace(request(series[:1], single), dates=None))
    cloud = write(tmp_path / "2023-07-20.tif", np.full_like(frames[0], 6000))
    twin = write(tmp_path / "2023-07-21.tif", frames[0])
    out = tmp_path / "out.tif"
    super_resolve(request([series[0], cloud, twin], out))
    np.testing.assert_array_equal(read_raster(out), read_raster(single))
    reasons = [entry["reason"] for entry in dates_of(out)[1:]]
    assert any("no part of it" in one for one in reasons)
    assert any("its pixels are those of the reference" in one for one in reasons)


def test_a_date_of_part_of_the_ground_changes_nothing_elsewhere_and_nodata_is_the_references(tmp_path, frames, series):
    lower = write(tmp_path / "2023-07-20.tif", frames[1][:, 40:], transform=from_origin(LEFT, TOP - 400, 10, 10))
    holes = frames[0].copy()
    holes[:, 50:54, 20:30] = 0
    first = write(tmp_path / "2023-07-01.tif", holes)
    out, single = tmp_path / "out.tif", tmp_path / "single.tif"
    super_resolve(request([first, lower], out))
    super_resolve(replace(request([first], single), dates=None))
    fused, alone = read_raster(out), read_raster(single)
    np.testing.assert_array_equal(fused[:, : 4 * 25], alone[:, : 4 * 25])
    np.testing.assert_array_equal(fused == 0, alone == 0)
    assert (fused[:, 4 * 44 :] != alone[:, 4 * 44 :]).mean() > 0.4


def test_dates_of_another_radiometry_grid_and_order_of_bands_say_the_same(tmp_path, frames, series):
    plain, other = tmp_path / "plain.tif", tmp_path / "other.tif"
    super_resolve(request(series, plain))
    moved = np.pad(frames[1], ((0, 0), (3, 0), (5, 0)))[::-1] + np.uint16(1000)
    moved[:, :3] = moved[:, :, :5] = 0
    changed = write(
        tmp_path / "2023-07-08.tif",
        moved,
        names=BANDS[::-1],
        transform=from_origin(LEFT - 50, TOP + 30, 10, 10),
        offset=-0.1,
    )
    super_resolve(request([series[0], changed, series[2]], other))
    assert np.abs(read_raster(plain).astype(int) - read_raster(other).astype(int)).max() <= 1


def test_a_worker_computes_the_same_chunk(tmp_path, series):
    """All that a chunk needs goes to another process."""
    run = define_run(request(series, tmp_path / "out.tif"))
    run = replace(run, dates=survey_dates_of(run.dates, run.scene, run.plan.area, run.card))
    (tmp_path / "work").mkdir()
    job = ChunkJob(run, tmp_path / "work", run.manifest.digest, Parallel())
    contents = []
    for one in (job, pickle.loads(pickle.dumps(job))):
        chunk = next(iter(run.plan))
        write_encoded(upscale_part(one, read_part(one, chunk)))
        contents.append(chunk_path(job.folder, chunk).read_bytes())
    assert contents[0] == contents[1]


def items(folder: Path, frames, clouds=(3.0, 3.0, 3.0), **options) -> list[Path]:
    return [
        write_item(
            folder,
            f"S2_{day}",
            np.concatenate([pixels, pixels])[[0, 1, 1, 0]],
            left=LEFT,
            top=TOP,
            datetime=f"{day}T10:00:31Z",
            clouds=share,
            **options,
        )
        for day, pixels, share in zip(DAYS, frames, clouds, strict=False)
    ]


def test_items_and_searches(tmp_path, frames):
    found = items(tmp_path / "items", frames, clouds=(20.0, 3.0, 5.0))
    old = write_item(
        tmp_path / "items",
        "S2_old",
        np.concatenate([frames[2], frames[2]])[[0, 1, 1, 0]],
        left=LEFT,
        top=TOP,
        datetime="2022-07-08T10:00:31Z",
        clouds=2.9,
    )
    away = write_item(
        tmp_path / "items",
        "S2_away",
        np.concatenate([frames[0], frames[0]]),
        left=LEFT,
        top=TOP,
        epsg=32632,
        datetime="2023-07-09T10:00:31Z",
    )
    options = ("--bands", "B02,B04", *MODEL, "-q")
    done = run_here("upscale", *found, "--dates", 3, "-o", tmp_path / "items.tif", *options)
    assert done.returncode == 0, done.stderr
    assert dates_of(tmp_path / "items.tif")[0]["id"] == "S2_2023-07-08"
    with serve(tmp_path, *found, old, away) as api:
        box = json.loads(found[0].read_text())["bbox"]
        search = ("--bbox", ",".join(map(str, box)), "--datetime", "2022/2023", "--api", api, *options)
        done = run_here("upscale", "--dates", 3, "--reference", "2023-07-08", *search, "-o", tmp_path / "out.tif")
        assert done.returncode == 0, done.stderr
    report = dates_of(tmp_path / "out.tif")
    assert [entry["id"] for entry in report if entry["role"] != "not used"] == [
        "S2_2023-07-08",
        "S2_2023-07-13",
        "S2_2023-07-03",
    ]
    told = {entry["date"]: entry.get("reason", "") for entry in report}
    assert told["2022-07-08"] == "its pixels are those of 2023-07-13"
    inner = (slice(None), slice(8, -8), slice(8, -8))
    one, other = (read_raster(tmp_path / name)[inner].astype(int) for name in ("items.tif", "out.tif"))
    assert np.abs(one - other).max() <= 1


def linked(path, target):
    path.symlink_to(target)
    return path


@pytest.mark.parametrize(
    ("make", "options", "message", "code"),
    [
        (lambda f, p: write(f / "b.tif", p, crs="EPSG:32634"), [], "dates of one image share a CRS", 1),
        (lambda f, p: write(f / "b.tif", p, transform=from_origin(LEFT + 9000, TOP, 10, 10)), [], "shows none", 1),
        (lambda f, p: write(f / "b.tif", p, transform=from_origin(LEFT, TOP, 20, 20)), [], "share a grid", 1),
        (lambda f, p: write(f / "b.tif", p, names=("B02", "B03")), [], "has no band B04", 1),
        (lambda f, p: write(f / "b.tif", p), ["--dates", "1"], "2 to 16, and not 1", 2),
        (lambda f, p: write(f / "b.tif", p), ["--dates", "0"], "2 to 16, and not 0", 2),
        (lambda f, p: write(f / "b.tif", p), ["--dates", "17"], "2 to 16, and not 17", 2),
        (lambda f, p: write(f / "b.tif", p), ["--reference", "2023-08-01"], "none of the dates: name one of", 2),
        (lambda f, p: write(f / "b.tif", p), ["--reference", ""], "--reference is empty", 2),
        (lambda f, p: write(f / "b.tif", p), ["--fill"], "--fill would have no effect", 2),
        (lambda f, p: write(f / "b.tif", p), ["--crs", "EPSG:3857"], "--crs would have no effect", 2),
        (lambda f, p: write(f / "b.tif", p), ["--plain-image"], "--plain-image would have no effect", 2),
        (lambda f, p: f / "a.tif", [], "is the only date", 2),
        (lambda f, p: linked(f / "link.tif", f / "a.tif"), [], "is the only date", 2),
        (lambda f, p: f / "missing.tif", [], "does not exist", 1),
        (lambda f, p: write_item(f, "item", np.concatenate([p, p])), [], "take dates of one kind", 2),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, frames, make, options, message, code):
    pixels = frames[0][:, :20, :20]
    first = write(tmp_path / "a.tif", pixels)
    other = make(tmp_path, pixels)
    before = sorted(tmp_path.iterdir())
    choice = options if {"--dates", "--reference"} & set(options) else ["--dates", "2", *options]
    done = run_here("upscale", first, other, *choice, "-o", tmp_path / "out.tif", *MODEL, "-q")
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_other_wrong_input(tmp_path, series):
    done = run_here("upscale", *series[:2], "--dates", 2, "-o", tmp_path / "out.tif", "--model", "s2-ten-x4", "-q")
    assert done.returncode != 0
    search = ("--bbox", "14,47,15,48", "--datetime", "2023", "--api", "http://127.0.0.1:9")
    done = run_here("upscale", "--reference", "2023-07-08", *search, "-o", tmp_path / "out.tif", "-q")
    assert (done.returncode, "with --dates" in done.stderr) == (2, True)
    done = run_here("upscale", *series, "--dates", 2, "-o", series[1], "--overwrite", *MODEL, "-q")
    assert (done.returncode, "would replace the source" in done.stderr) == (1, True)
    assert not work_folder(tmp_path / "out.tif").exists()


def test_in_a_batch_each_date_is_the_reference_once_and_new_dates_keep_what_is_made(tmp_path, frames, series):
    """A neighbour of one date is not joined to it, and another place is no date of it."""
    folder, out = series[0].parent, tmp_path / "out"
    series[2].rename(tmp_path / "later.tif")
    write(folder / "elsewhere.tif", frames[0][:, :20, :20], transform=from_origin(LEFT + 9000, TOP, 10, 10))
    write(
        folder / "S2B_MSIL2A_20230703T100031_x.tif",
        frames[0][:, :, :20],
        transform=from_origin(LEFT + 720, TOP, 10, 10),
    )
    command = ("batch", folder, "-o", out, "--dates", 2, *MODEL, "-q")
    done = run_here(*command)
    assert done.returncode == 0, done.stderr
    used = {
        path.stem: [entry["id"] for entry in dates_of(path) if entry["role"] != "not used"]
        for path in sorted(out.glob("*.tif"))
    }
    assert used == {
        "2023-07-03": ["2023-07-03", "2023-07-08"],
        "2023-07-08": ["2023-07-08", "2023-07-03 and 1 more"],
        "S2B_MSIL2A_20230703T100031_x": ["S2B_MSIL2A_20230703T100031_x"],
        "elsewhere": ["elsewhere"],
    }
    assert read_raster(out / "2023-07-03.tif").shape == (2, 288, 288)
    before = {path.name: path.read_bytes() for path in out.glob("2023*.*")}
    (tmp_path / "later.tif").rename(series[2])
    done = run_here(*command)
    assert done.returncode == 0, done.stderr
    assert "1 made, 4 there already, 0 refused" in done.stdout
    assert {name: (out / name).read_bytes() for name in before} == before
    products = [out / f"{day}.tif" for day in DAYS]
    done = run_here("cube", *products, "-o", tmp_path / "cube.zarr", "-q")
    assert done.returncode == 0, done.stderr
    with xr.open_zarr(tmp_path / "cube.zarr", mask_and_scale=False) as cube:
        np.testing.assert_array_equal(cube.time, np.array(DAYS, "datetime64[ns]"))
        for date, product in enumerate(products):
            np.testing.assert_array_equal([cube[band][date] for band in BANDS], read_raster(product))


def test_a_batch_of_a_search_takes_the_dates_that_it_found(tmp_path, frames):
    found = items(tmp_path / "items", frames)
    away = write_item(tmp_path / "items", "S2_away", np.full((4, 20, 20), 900, np.uint16), left=LEFT + 2000, top=TOP)
    contents = [pystac.Item.from_file(str(path)) for path in (*found, away)]
    scenes = scenes_of_items(contents)
    nearest = companions_of(scenes, contents, 1)
    paths = [str(path) for path in found]
    assert nearest == {paths[0]: (paths[1],), paths[1]: (paths[0],), paths[2]: (paths[1],), str(away): ()}
