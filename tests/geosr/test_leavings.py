"""Files that runs leave: overviews of measured pixels, numbers that their type holds, layers of one run only."""

from __future__ import annotations

import errno
import fcntl
import os

import numpy as np
import pytest
import rasterio

import geosr
from catalog import SceneRequest
from geosr.run.checkpoint import work_folder
from geosr.run.pipeline import super_resolve
from tests.conftest import write_raster
from tests.geosr.test_api import opened
from tests.geosr.test_resume import Recorder
from tests.upscaling import upscale_request
from tiling import OutputError


def run(source, **options):
    recorder = Recorder()
    options = {"model": "bicubic", **options}
    request = upscale_request(SceneRequest(str(source)), source.with_name("out.tif"), **options)
    return super_resolve(request, recorder), recorder


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "hole"), [("uint16", 0), ("float32", np.nan)])
@pytest.mark.parametrize("core_px", [64, 256])
def test_overviews_leave_out_what_is_not_measured_even_if_undeclared(tmp_path, dtype, hole, core_px):
    """Made with the chunks and after them; a full overview of a constant scene with holes is that constant."""
    rng = np.random.default_rng(2)
    value = 4000 if dtype == "uint16" else 0.5
    pixels = np.full((1, 520, 520), value, dtype)
    pixels[0][rng.random((520, 520)) < 0.05] = hole
    run(write_raster(tmp_path / "in.tif", pixels, names=["B02"]), core_px=core_px)
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.nodata is None
        levels = len(raster.overviews(1))
    assert levels == 3
    for level in range(levels):
        with rasterio.open(tmp_path / "out.tif", overview_level=level) as overview:
            found = overview.read(1)
        measured = found[~np.isnan(found) & (found != 0)]
        assert measured.size > 0.94 * found.size
        np.testing.assert_allclose(measured, value, atol=1e-5)


def test_a_finished_run_is_known_again_whatever_its_bands_are_called(tmp_path, sample):
    names = ["NIR, 842 nm", "B, 3, 4", "", "x 1"]
    source = write_raster(tmp_path / "in.tif", sample[:, :30, :30], names=names)
    first, _ = run(source)
    again, recorder = run(source)
    assert not recorder.computed
    assert list(again.consistency_dn) == list(first.consistency_dn)
    np.testing.assert_allclose(list(again.consistency_dn.values()), list(first.consistency_dn.values()), rtol=1e-3)


def test_a_replaced_products_layers_go_with_it(tmp_path, sample):
    source = write_raster(tmp_path / "in.tif", sample[:, :30, :30])
    options = {"model": "rgbn-x4", "precision": "float32"}
    run(source, uncertainty=True, **options)
    (tmp_path / "precious_uncertainty.tif").write_bytes((tmp_path / "out_uncertainty.tif").read_bytes())
    write_raster(source, sample[:, 5:35, :30])
    run(source, overwrite=True, **options)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["in.tif", "out.json", "out.tif", "precious_uncertainty.tif"]


def test_what_another_program_wrote_is_no_layer_to_remove(tmp_path, sample):
    source = write_raster(tmp_path / "in.tif", sample[:, :30, :30])
    run(source)
    (tmp_path / "out_measured.tif").write_text("precious")
    write_raster(source, sample[:, 5:35, :30])
    run(source, overwrite=True)
    assert (tmp_path / "out_measured.tif").read_text() == "precious"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_there_are_no_locks_the_message_says_so(tmp_path, sample, monkeypatch, code):
    """Stands in for file systems without locks, which cannot be mounted here."""

    def refused(*_):
        raise OSError(code, os.strerror(code))

    source = write_raster(tmp_path / "in.tif", sample[:, :30, :30])
    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(OutputError, match="file system that has locks"):
        run(source)
    assert not work_folder(tmp_path / "out.tif").exists()


@pytest.mark.parametrize("model", ["bicubic", "rgbn-x4"])
@pytest.mark.parametrize("dtype", [">u2", ">i2", ">i4", ">f4"])
def test_the_order_of_bytes_does_not_matter(crop, model, dtype):
    native = opened(crop).isel(y=slice(30), x=slice(40)).astype(dtype[1:])
    if dtype == ">f4":
        native = native / 10000
    expected = geosr.upscale(native, model)
    found = geosr.upscale(native.astype(dtype), model)
    np.testing.assert_array_equal(found.values, expected.values)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32"])
def test_what_a_type_does_not_hold_is_its_largest_or_smallest(tmp_path, dtype):
    """Sharpened, an edge between its ends goes beyond both."""
    limits = np.iinfo(dtype)
    span = int(limits.max) - int(limits.min)
    # Not all the same: one value at the low end, in mass, would be taken for a fill that nothing declares.
    low = int(limits.min) + 1 + np.arange(24 * 24, dtype=np.int64).reshape(1, 24, 24) * 7919 % (span // 200 + 1)
    pixels = low.astype(dtype)
    pixels[:, :, 12:] = limits.max
    scale = 1 / (float(limits.max) - limits.min)
    offset = -float(limits.min) * scale
    source = write_raster(tmp_path / "in.tif", pixels, names=["B02"], scale=scale, offset=offset, nodata=limits.min)
    run(source, model="backprojection")
    with rasterio.open(tmp_path / "out.tif") as raster:
        found = raster.read(1).astype(np.float64)
    middle = (float(limits.max) + limits.min) / 2
    assert found[:, :40].max() < middle < found[:, 56:].min()
    assert found[:, 48:].max() >= limits.max * (1 - 1e-6)
