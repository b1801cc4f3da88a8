"""Layers beside a product of several dates: half-widths that are narrower where dates take part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from scipy import ndimage

import geosr
from catalog import DateChoice
from geosr.errors import UsageError
from geosr.model.zoo import ModelRef
from geosr.run.definition import define_run
from geosr.run.pipeline import super_resolve
from tests.conftest import assert_valid_item, read_raster, run_here
from tests.geosr.test_dates_run import DAYS, LEFT, MODEL, TOP, dates_of, frames, request, write

__all__ = ["frames"]


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_half_widths_are_narrower_where_dates_take_part_and_the_references_elsewhere(tmp_path, sample, model, engine):
    crop = sample[:, 40:88, 40:96].astype(np.float32)
    moved = np.stack([ndimage.shift(band, (0.4, -0.3), order=3, mode="nearest") for band in crop])
    moved[:, :, :16] = 0
    pixels = [np.rint(one).astype(np.uint16) for one in (crop, moved)]
    names = ("B02", "B03", "B04", "B08")
    paths = [
        write(tmp_path / f"{day}.tif", one, names=names, offset=-0.1) for day, one in zip(DAYS, pixels, strict=False)
    ]
    images, tags = {}, {}
    for name, choice in (("one", None), ("two", DateChoice())):
        made = request(paths if choice else paths[:1], tmp_path / f"{name}.tif", model=model, engine=engine)
        super_resolve(replace(made, dates=choice, uncertainty=True))
        images[name] = [read_raster(tmp_path / f"{name}{end}.tif") for end in ("", "_uncertainty", "_measured")]
        with rasterio.open(tmp_path / f"{name}_uncertainty.tif") as raster:
            tags[name] = raster.tags()
    one, two = (images[name][1].astype(int) for name in ("one", "two"))
    # Rounded up, and to be seen where a half-width is some DN.
    near, far = (slice(None), slice(None), slice(0, 56)), (slice(None), slice(40, -40), slice(100, -40))
    assert np.abs(one[near] - two[near]).max() <= 1
    ratio = (two / one)[far][one[far] > 100]
    assert ratio.size > 1000
    assert np.median(ratio) < 0.9
    assert ratio.min() > 0.6
    assert "1 - 0.4 n / (n + 0.5)" in tags["two"]["GEOSR_UNCERTAINTY_DATES"]
    assert "GEOSR_UNCERTAINTY_DATES" not in tags["one"]
    assert "reference alone" not in tags["two"].get("GEOSR_NOTES", "")

    if engine != "torch":
        return
    array = xr.DataArray(
        np.stack(pixels),
        dims=("time", "band", "y", "x"),
        coords={"time": np.array(DAYS[:2], "datetime64[ns]"), "band": list(names)},
    ).assign_coords(y=TOP - 10 * np.arange(48) - 5.0, x=LEFT + 10 * np.arange(56) + 5.0)
    options = {"scale": 1e-4, "offset": -0.1, "engine": engine, "uncertainty": True}
    fused = geosr.fuse(array.chunk({"time": 1}), DAYS[0], model, core_px=48, **options).compute()
    assert np.abs(fused["image"].values.astype(int) - images["two"][0]).max() <= 1
    assert np.abs(np.ceil(fused["half_width"].values) - two).max() <= 1
    assert np.abs(fused["measured"].values.astype(int) - images["two"][2][0]).max() <= 1


def test_half_widths_that_are_calibrated_for_one_date_are_said_to_be_the_references(tmp_path, frames, model):
    card = json.loads(Path(model).read_text())
    del card["calibration"]["dates"]
    own = Path(model).with_name("one_date.json")
    own.write_text(json.dumps(card))
    bands = ("B02", "B03", "B04", "B08")
    paths = [
        write(tmp_path / f"{day}.tif", np.concatenate([one, one]), names=bands)
        for day, one in zip(DAYS, frames, strict=True)
    ]
    made = replace(request(paths, tmp_path / "out.tif", model=str(own)), uncertainty=True)
    assert any("of the reference alone" in note for note in define_run(made).scene.notes)
    narrower = define_run(replace(made, model=ModelRef(model)))
    assert not any("of the reference alone" in note for note in narrower.scene.notes)
    array = xr.DataArray(np.stack([np.concatenate([one, one]) for one in frames]), dims=("time", "band", "y", "x"))
    with pytest.raises(UsageError, match="not calibrated for several dates"):
        geosr.fuse(array, 0, str(own), bands=list(bands), uncertainty=True)


def test_weights_of_dates_are_a_layer_on_request(tmp_path, frames):
    reference, half = frames[0].copy(), frames[1].copy()
    reference[:, 50:54, 20:30] = 0
    half[:, :40] = 0
    cloud = np.full_like(frames[0], 6000)
    days = (*DAYS, "2023-07-18")
    paths = [
        write(tmp_path / f"{day}.tif", one) for day, one in zip(days, (reference, half, frames[2], cloud), strict=True)
    ]
    out = tmp_path / "out.tif"
    command = ("upscale", *paths, "--reference", DAYS[0], "--date-weights", "--core", 48, "-o", out, *MODEL)
    done = run_here(*command, "--style")
    assert done.returncode == 0, done.stderr
    with rasterio.open(tmp_path / "out_weights.tif") as raster:
        assert raster.descriptions == days[1:]
        stored, step = raster.read(), raster.scales[0]
    nodata = read_raster(out)[0] == 0
    np.testing.assert_array_equal((stored == 65535).all(axis=0), nodata)
    weights = np.where(nodata, 0, stored * step)
    assert (weights[0, : 4 * 38] == 0).all()
    assert (weights[0, 4 * 44 : 4 * 48] > 1).all()
    assert (weights[1] > 1).mean() > 0.8
    assert (weights[2] == 0).all()
    for entry, own in zip(dates_of(out)[1:3], weights, strict=False):
        assert (own > 0).sum() / (~nodata).sum() == pytest.approx(entry["share"], abs=2e-4)
    assert_valid_item(tmp_path / "out.json")
    asset = json.loads((tmp_path / "out.json").read_text())["assets"]["weights"]
    assert [band["name"] for band in asset["bands"]] == list(days[1:])
    assert "nothing to do" in run_here(*command).stderr
    done = run_here("upscale", paths[0], "--date-weights", "-o", tmp_path / "one.tif", *MODEL, "-q")
    assert (done.returncode, "--date-weights are of several dates" in done.stderr) == (2, True)
