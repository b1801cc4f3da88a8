"""Content of patches: bands left out by their purpose, and measured pixels only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geosr.errors import TrainingError
from geosr.release.calibration import calibrate
from geosr.training.config import Pairs
from geosr.training.data import PatchSampler, read_bands, visible_and_infrared
from geosr.training.degrade import Degradation
from geosr.training.loop import build_generator
from geosr.training.validation import Validator
from tests.conftest import RGBN, SAMPLE, write_raster


def of_bands(config, bands, **changes):
    """The configuration for these bands, with patches as they are in the imagery."""
    source = config.sources[0].model_copy(update={"gain": (1, 1), "band_gain": 0.0})
    held = {"B02": ("B02",), "B03": ("B03",), "B04": ("B04",), "B08": ("B08",), "B5": ("B08",), "ir": ("B08", "nir")}
    return config.model_copy(
        update={
            "bands": bands,
            "descriptions": {band: held[band] for band in bands},
            "reference_reflectance": (1.0,) * len(bands),
            "mtf_nyquist": (0.26,) * len(bands),
            "sources": (source,),
            "degradation": Degradation(shift_hr_px=0),
            **changes,
        }
    )


def kinds(config):
    """Count the patches of some batches that are grey, and those that hold the mean of the other bands, by band."""
    sampler = PatchSampler(config, SAMPLE.parent)
    patches = torch.cat([sampler.batch(step)[1] for step in range(8)])
    grey = sum(bool((patch == patch[:1]).all()) for patch in patches)
    means = [0] * len(config.bands)
    for patch in patches:
        for band in range(len(patch)):
            others = torch.cat([patch[:band], patch[band + 1 :]]).mean(dim=0)
            means[band] += bool(torch.allclose(patch[band], others, atol=1e-6) and not (patch == patch[:1]).all())
    return len(patches), grey, means


@pytest.mark.parametrize(("bands", "at"), [(("B02", "B03", "B04", "B08"), 3), (("ir", "B04", "B03", "B02"), 0)])
def test_infrared_is_left_out_wherever_it_stands(tiny, bands, at):
    count, grey, means = kinds(of_bands(tiny, bands, missing_bands=1.0))
    assert means[at] > 5
    assert grey > 5
    assert grey + means[at] == count == 4 * 8
    assert sum(means) == means[at]


def test_colours_alone_are_grey_or_whole(tiny):
    count, grey, means = kinds(of_bands(tiny, ("B04", "B03", "B02"), missing_bands=0.5))
    assert 5 < grey < count - 5
    assert means == [0, 0, 0]


def test_one_band_alone_is_never_missing(tiny):
    for band in ("B04", "B08"):
        whole, missing = (
            PatchSampler(of_bands(tiny, (band,), missing_bands=share), SAMPLE.parent).batch(0)[1]
            for share in (0.0, 1.0)
        )
        assert torch.equal(whole, missing)


def test_infrared_is_told_by_names_and_descriptions(tiny):
    assert visible_and_infrared(of_bands(tiny, ("B5", "B04", "ir", "B02"))) == ([1, 3], [0, 2])
    assert visible_and_infrared(of_bands(tiny, ("ir", "B08"))) == ([0, 1], [])


@pytest.fixture(params=["nodata", "NaN", "one band"])
def holed(request, tmp_path, sample):
    """A folder with the sample, half of it without measurement, as files say it in several ways."""
    pixels = sample[:, :240, :240].astype(np.float32)
    pixels[slice(None) if request.param != "one band" else 2, 60:180, 130:] = np.nan if request.param == "NaN" else -9e3
    (tmp_path / "data").mkdir()
    write_raster(tmp_path / "data" / "holed.tif", pixels, nodata=None if request.param == "NaN" else -9e3)
    return tmp_path / "data"


@pytest.mark.parametrize("reduce", [{1: 1.0}, {2: 1.0}])
def test_patches_hold_measured_pixels_alone(tiny, holed, reduce):
    source = tiny.sources[0].model_copy(update={"reduce": reduce})
    sampler = PatchSampler(tiny.model_copy(update={"sources": (source,), "patch_lr_px": 6}), holed)
    for step in range(12):
        lr, hr, *_ = sampler.batch(step)
        assert lr.isfinite().all()
        assert hr.min() > 0
        assert hr.max() < 9


def test_a_hole_that_no_patch_meets_changes_none(tiny, tmp_path, sample):
    """Patches that are drawn elsewhere stay as they were."""
    sample[:, :3, :3] = 0
    for name, nodata in (("whole", None), ("holed", 0)):
        (tmp_path / name).mkdir()
        write_raster(tmp_path / name / "a.tif", sample, nodata=nodata)
    whole, holed = (PatchSampler(tiny, tmp_path / name) for name in ("whole", "holed"))
    for step in range(5):
        assert all(torch.equal(one, other) for one, other in zip(whole.batch(step), holed.batch(step), strict=True))


def test_an_image_without_places_is_refused_with_its_name(tiny, tmp_path, sample):
    sample[:, ::20] = 0
    write_raster(tmp_path / "striped.tif", sample, nodata=0)
    with pytest.raises(TrainingError, match=r"striped\.tif holds hardly any place"):
        PatchSampler(tiny, tmp_path)


def test_pairs_are_taken_from_what_both_sensors_measured(tiny, tmp_path, sample):
    low = sample[:, :60, :60].copy()
    high = low.repeat(4, axis=1).repeat(4, axis=2)
    low[:, 20:, :10] = 0
    high[:, :, 150:] = 0
    write_raster(tmp_path / "a_lr.tif", low, nodata=0)
    write_raster(tmp_path / "a_hr.tif", high, nodata=0)
    pairs = Pairs(lr="*_lr.tif", hr="*_hr.tif", full_scale=10000, share=1)
    config = tiny.model_copy(update={"sources": (), "pairs": (pairs,)})
    sampler = PatchSampler(config, tmp_path)
    for step in range(12):
        lr, hr, *_ = sampler.batch(step)
        assert lr.min() > 0
        assert hr.min() > 0
    write_raster(tmp_path / "a_hr.tif", np.zeros_like(high), nodata=0)
    with pytest.raises(TrainingError, match=r"a_lr\.tif holds hardly any place"):
        PatchSampler(config, tmp_path)


def test_no_figure_is_of_pixels_without_data(tiny, holed):
    with pytest.raises(TrainingError, match=r"holed\.tif has pixels without data"):
        Validator(tiny, holed)
    with pytest.raises(TrainingError, match=r"holed\.tif has pixels without data"):
        calibrate(build_generator(tiny), tiny.model_copy(update={"calibration": tiny.validation}), 8, holed, "x")
    with pytest.raises(TrainingError, match=r"holed\.tif has pixels without data"):
        read_bands(holed / "holed.tif", RGBN, 10000)
