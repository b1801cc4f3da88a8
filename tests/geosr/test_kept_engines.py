"""Engines of a process: of a picture as of a scene they agree, and there are no more of them than were meant."""

from __future__ import annotations

import dask
import dask.array
import numpy as np
import pytest
import rasterio
from PIL import Image

import geosr
from catalog import SceneRequest
from geosr import hardware
from geosr.engine.chunking import bytes_of_chunk, choose_core, choose_parallel
from geosr.engine.start import start_engine
from geosr.inference import upscaler
from geosr.model import zoo
from geosr.run.pipeline import super_resolve
from tests.conftest import RGBN
from tests.geosr.test_engines import FLOAT32
from tests.small_model import write_small_model
from tests.upscaling import upscale_request

OURS = [
    "openvino",
    pytest.param("winograd", marks=pytest.mark.skipif(not hardware.has_winograd(), reason="needs AVX2")),
]


@pytest.mark.slow
@pytest.mark.parametrize("engine", OURS)
@pytest.mark.parametrize("colours", [(2, 1, 0), (2,)])
def test_engines_agree_on_what_they_do_not_know_of_a_picture(tmp_path, sample, engine, colours):
    """A picture's camera has square pixels and no other blur, for half-widths, measured fraction and image."""
    pixels = (sample[list(colours), :32, :32].astype(float) / 12).clip(0, 255).astype(np.uint8)
    plain_image = np.moveaxis(pixels, 0, -1) if len(colours) > 1 else pixels[0]
    Image.fromarray(plain_image).save(tmp_path / "in.png")
    for name in (engine, "torch"):
        request = upscale_request(
            SceneRequest(str(tmp_path / "in.png")),
            tmp_path / f"{name}.tif",
            engine=name,
            precision="float32",
            uncertainty=True,
        )
        super_resolve(request)
    for suffix in ("", "_uncertainty", "_measured"):
        made = []
        for name in (engine, "torch"):
            with rasterio.open(tmp_path / f"{name}{suffix}.tif") as raster:
                made.append(raster.read().astype(int))
        assert np.abs(made[0] - made[1]).max() <= 1, suffix


def test_threads_that_ask_at_once_get_one_engine(tmp_path, sample, monkeypatch):
    model, started = str(write_small_model(tmp_path)), []

    def counted(*arguments, **options):
        started.append(arguments)
        return start_engine(*arguments, **options)

    monkeypatch.setattr(upscaler, "start_engine", counted)
    upscaler._build.cache_clear()
    upscaler._engine.cache_clear()
    low = opened_sample(sample)
    with dask.config.set(scheduler="threads", num_workers=4):
        made = geosr.upscale(low, model, core_px=24).compute()
    assert len(started) == 1
    assert (made.values == geosr.upscale(low.compute(), model, core_px=24).values).all()
    # Of another baseline, say: the same engine.
    geosr.upscale(low.compute(), model, core_px=24, offset=-0.1)
    assert len(started) == 1


def opened_sample(sample):
    import xarray as xr

    array = dask.array.from_array(sample[:, :48, :48], chunks=(4, 24, 24))
    return xr.DataArray(array, dims=("band", "y", "x"), coords={"band": list(RGBN)})


def test_chunks_share_the_memory_with_those_computed_at_the_same_time(monkeypatch):
    monkeypatch.setattr(hardware, "memory_bytes", lambda: int(24e9))
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    for cores in (2, 16, 64):
        monkeypatch.setattr(hardware, "cores", lambda cores=cores: cores)
        side = choose_core(card, FLOAT32, 4)
        concurrent_chunks = choose_parallel(FLOAT32, 99).concurrent_chunks
        assert concurrent_chunks * bytes_of_chunk(card, FLOAT32, 4, side) < 0.5 * 24e9


def test_half_widths_take_memory_too(monkeypatch):
    monkeypatch.setattr(hardware, "memory_bytes", lambda: int(64e9))
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    sides = [choose_core(card, FLOAT32, 4, uncertainty=wanted) for wanted in (False, True)]
    assert sides[1] < sides[0]
    assert bytes_of_chunk(card, FLOAT32, 4, 512, uncertainty=True) > 1.5 * bytes_of_chunk(card, FLOAT32, 4, 512)
