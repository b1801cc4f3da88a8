"""The consistency that a product claims is that of the DN in its file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import torch

from geosr.inference.written import WrittenImage
from geosr.model.kernels import gaussian_taps, sensor_sigmas
from geosr.model.sensor import Sensor
from tests.conftest import call_geosr, write_raster

MTF = (0.26, 0.28, 0.24, 0.26)


def observed(image: np.ndarray) -> np.ndarray:
    """Blur and sample DN like the sensor, by the other implementation."""
    sensor = Sensor(sensor_sigmas(MTF, 4), 4).double()
    return sensor.observe(torch.from_numpy(image.astype(np.float64))[None])[0].numpy()


@pytest.mark.parametrize("rows", [8, 64, 104])
def test_strips_in_any_order_are_seen_as_the_whole_image(rows):
    random = np.random.default_rng(3)
    image = random.integers(1, 10000, (4, 104, 72)).astype(np.uint16)
    valid = np.ones((4, 26, 18), dtype=bool)
    valid[1, 9, 4] = False
    written = WrittenImage(gaussian_taps(np.asarray(sensor_sigmas(MTF, 4)), 4), valid, 4)
    for first in random.permutation(range(0, 104, rows)):
        written.add(int(first), image[:, first : first + rows])
    seen, known = written.observed()
    assert known[0, 2:-2, 2:-2].all()
    assert known.sum() == 4 * 22 * 14 - 25
    assert np.abs(seen - observed(image))[known].max() < 0.01


@pytest.mark.parametrize(("dtype", "scale"), [("uint8", 1 / 255), ("uint16", 1e-4), ("int16", 1e-4), ("float32", 1.0)])
def test_the_tag_is_what_the_file_shows(tmp_path, sample, capsys, dtype, scale):
    reflectance = sample[:, 100:140, 60:100] * 1e-4
    # As coarse, and in places as bright, as its type can hold.
    pixels = np.clip(reflectance / scale, 1, None)
    if np.dtype(dtype).kind != "f":
        pixels = np.clip(np.rint(pixels * 3), 1, np.iinfo(dtype).max)
    source = write_raster(tmp_path / "a.tif", pixels.astype(dtype), scale=scale, offset=0.0)
    output = tmp_path / "out.tif"
    options = ("--model", "rgbn-x4", "--precision", "float32", "--json", "-q")
    assert call_geosr("upscale", source, "-o", output, *options) == 0
    claimed = json.loads(capsys.readouterr().out)["consistency_dn"]
    with rasterio.open(output) as raster:
        image = raster.read()
    difference = np.abs(observed(image) - pixels.astype(dtype).astype(np.float64))[:, 2:-2, 2:-2].mean(axis=(1, 2))
    assert list(claimed.values()) == pytest.approx(difference, rel=0.15, abs=1e-6)
