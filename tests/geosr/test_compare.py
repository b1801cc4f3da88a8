"""Comparison of two rasters: numbers that are known beforehand, and a page that needs nothing else."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.shutil import copy
from rasterio.transform import Affine, from_origin

from catalog import SourceError
from geosr.errors import UsageError
from geosr.maps.compare import compare
from geosr.maps.compare_page import page_of
from tests.conftest import RGBN, run_here, write_raster


@pytest.fixture
def low(tmp_path):
    """A raster of 10 m with a gradient to the east and a hole."""
    pixels = np.empty((4, 24, 32), np.uint16)
    for i in range(4):
        pixels[i] = 1000 * (i + 1) + 10 * np.arange(32)
    pixels[:, 4, 4] = 0
    return write_raster(tmp_path / "low.tif", pixels, nodata=0, scale=1e-4, offset=-0.1)


@pytest.fixture
def high(tmp_path, low):
    """Raster of ``low`` four times finer, 20 DN brighter, with a pattern that means of 4 × 4 do not show."""
    fine = (1000 * np.arange(1, 5)[:, None, None] + 10 * np.arange(32)).repeat(4, axis=2).repeat(96, axis=1)
    pattern = np.where((np.arange(96)[:, None] + np.arange(128)) % 2, 30, -30)
    pixels = (fine + pattern + 20).astype(np.uint16)
    return write_raster(
        tmp_path / "high.tif",
        pixels,
        nodata=0,
        scale=1e-4,
        offset=-0.1,
        transform=from_origin(359130, 5352340, 2.5, 2.5),
    )


def test_differences_at_both_resolutions(low, high):
    """In reflectance, at 2.5 m with the pattern, at 10 m without."""
    found = {(one.band, one.pixel): one for one in compare(str(low), str(high)).differences}
    assert set(found) == {(band, pixel) for band in RGBN for pixel in (2.5, 10.0)}
    for band in RGBN:
        fine, coarse = found[band, 2.5], found[band, 10.0]
        assert fine.mean == pytest.approx(0.002, abs=1e-6)
        assert fine.rmse == pytest.approx(np.sqrt(0.002**2 + 0.003**2), rel=1e-4)
        assert (coarse.mean, coarse.rmse) == pytest.approx((0.002, 0.002), abs=1e-6)
        assert coarse.correlation == pytest.approx(1, abs=1e-6)
        assert (fine.count, coarse.count) == (96 * 128 - 16, 24 * 32 - 1)


def test_what_was_not_measured_is_left_out_however_a_raster_says_so(tmp_path):
    """By a nodata value of each band, a mask or an alpha band; and rows may run to the north."""
    pixels = (
        1000 + np.arange(24 * 32, dtype=np.uint16).reshape(1, 24, 32) * np.arange(1, 5, dtype=np.uint16)[:, None, None]
    )
    plain = write_raster(tmp_path / "plain.tif", pixels)
    holed = pixels + np.uint16(7)
    holed[2, :, :10] = 65535
    copy(write_raster(tmp_path / "a.tif", holed), tmp_path / "bands.vrt", driver="VRT")
    parts = (tmp_path / "bands.vrt").read_text().split("</VRTRasterBand>")
    ends = [f"<NoDataValue>{value}</NoDataValue></VRTRasterBand>" for value in (0, 0, 65535, 1)]
    (tmp_path / "bands.vrt").write_text("".join(a + b for a, b in zip(parts, [*ends, ""], strict=True)))
    masked = write_raster(tmp_path / "masked.tif", pixels + np.uint16(7))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(masked, "r+") as raster:
        raster.write_mask(np.broadcast_to(np.arange(32) >= 8, (24, 32)))
    alpha = np.full((1, 24, 32), 65535, np.uint16)
    alpha[:, :6] = 0
    clear = write_raster(tmp_path / "alpha.tif", np.concatenate([pixels + np.uint16(7), alpha]), names=(*RGBN, "a"))
    with rasterio.open(clear, "r+") as raster:
        raster.colorinterp = [ColorInterp.undefined] * 4 + [ColorInterp.alpha]
    up = write_raster(
        tmp_path / "up.tif", pixels[:, ::-1] + np.uint16(7), transform=Affine(10, 0, 359130, 0, 10, 5352100)
    )
    for path, counts in (
        (tmp_path / "bands.vrt", [768, 768, 768 - 240, 768]),
        (masked, [24 * 24] * 4),
        (clear, [18 * 32] * 4),
        (up, [768] * 4),
    ):
        for order in ((plain, path), (path, plain)):
            found = compare(*map(str, order)).differences
            assert [one.count for one in found] == counts, path
            assert {abs(one.mean) for one in found} == {7.0}, path


def test_values_of_other_units_and_rotated_grids_are_refused(tmp_path, low):
    pixels = np.full((4, 24, 32), 0.3, np.float32)
    with pytest.raises(UsageError, match=r"around 3e\+03 and those of .* around 0.3, in another unit"):
        compare(
            str(write_raster(tmp_path / "dn.tif", np.full((4, 24, 32), 3000, np.uint16))),
            str(write_raster(tmp_path / "r.tif", pixels)),
        )
    turned = write_raster(tmp_path / "turned.tif", pixels, transform=Affine(8, 6, 359130, 6, -8, 5352340))
    with pytest.raises(SourceError, match="rotated grid: warp it"):
        compare(str(tmp_path / "r.tif"), str(turned))


def test_bands_meet_by_name_in_any_order(tmp_path, low):
    pixels = np.full((2, 24, 32), 5000, np.uint16)
    other = write_raster(tmp_path / "b.tif", pixels, names=("nir", "blue"), scale=1e-4, offset=-0.1)
    assert compare(str(low), str(other)).bands == ("B02", "B08")


def test_grids_of_other_crs_and_part_of_the_ground(tmp_path, low, high):
    """In degrees, of the western half."""
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    with rasterio.open(high) as source:
        left, bottom, right, top = source.bounds
        middle = (left + right) / 2
        transform, width, height = calculate_default_transform(
            source.crs, "EPSG:4326", 64, 96, left, bottom, middle, top
        )
        pixels = np.zeros((4, height, width), np.uint16)
        reproject(
            source.read(),
            pixels,
            src_transform=source.transform,
            src_crs=source.crs,
            dst_transform=transform,
            dst_crs="EPSG:4326",
            src_nodata=0,
            dst_nodata=0,
            resampling=Resampling.average,
        )
    part = write_raster(
        tmp_path / "degrees.tif", pixels, nodata=0, crs="EPSG:4326", transform=transform, scale=1e-4, offset=-0.1
    )
    comparison = compare(str(low), str(part))
    assert comparison.fine.geobox.crs == "EPSG:32633"
    coarse = comparison.differences[-1]
    assert coarse.mean == pytest.approx(0.002, abs=1e-3)
    assert comparison.fine.geobox.boundingbox.right == pytest.approx(middle, abs=15)


def test_profiles_follow_their_line(low, high):
    comparison = compare(str(low), str(high))
    distance, a, b = comparison.profile((359130, 5352340 - 35, 359130 + 320, 5352340 - 35))
    assert distance[-1] == 320
    # The gradient, of 0.001 per source pixel.
    assert a[0, 0] == pytest.approx(0, abs=1e-6)
    assert a[0, -1] == pytest.approx(0.031, abs=1e-6)
    assert np.abs(b[0] - a[0] - 0.002).max() == pytest.approx(0.003, abs=1e-5)
    with pytest.raises(UsageError, match="does not cross"):
        comparison.profile((0, 0, 10, 10))


def test_histograms_share_their_bins(low, high):
    for edges, a, b in compare(str(low), str(high)).histograms():
        assert (np.diff(edges) > 0).all()
        assert 0.9 < a.sum() <= 1
        assert 0.9 < b.sum() <= 1


def test_the_page_needs_nothing_else(tmp_path, low, high):
    done = run_here("compare", low, high, "-o", tmp_path / "page.html", "--json")
    assert done.returncode == 0
    assert {one["band"] for one in json.loads(done.stdout)} == set(RGBN)
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in page
    assert page.count("<svg") == 8
    assert page.count("data:image/png;base64,") == 3
    assert 'id="swipe"' in page


def test_names_of_files_are_no_html(tmp_path, low):
    odd = tmp_path / "<b>.tif"
    odd.write_bytes(low.read_bytes())
    assert "<b>" not in page_of(compare(str(odd), str(low)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing.tif"], "missing.tif"),
        (["other.tif"], "no band is in both"),
        (["far.tif"], "have no ground in common"),
        (["bare.tif"], "has no CRS"),
        (["dn.tif"], "has no scale and offset"),
        (["empty.tif"], "no pixel that was measured in both"),
        (["IN", "-o", "page.pdf"], "has to be a page"),
        (["IN", "-o", "there.html"], "exists: --overwrite"),
        (["IN", "--line", "1,2"], "is no line"),
        (["IN", "--line", "1,2,1,2"], "has no length"),
        (["IN", "--line", "nan,2,1,2"], "give finite numbers"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, low, options, message):
    pixels, form = np.full((4, 24, 32), 500, np.uint16), {"nodata": 0, "scale": 1e-4, "offset": -0.1}
    write_raster(tmp_path / "other.tif", pixels, names=("B05", "B06", "B07", "B8A"), **form)
    write_raster(tmp_path / "far.tif", pixels, transform=from_origin(600000, 5352340, 10, 10), **form)
    write_raster(tmp_path / "bare.tif", pixels, crs=None, **form)
    write_raster(tmp_path / "dn.tif", pixels, nodata=0)
    write_raster(tmp_path / "empty.tif", pixels * 0, **form)
    (tmp_path / "there.html").touch()
    before = sorted(tmp_path.iterdir())
    done = run_here("compare", low, *(low if option == "IN" else option for option in options), cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
