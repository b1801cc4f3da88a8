"""What patches are made of: bands that are left out by what they are for, and nothing that was not measured."""

from __future__ import annotations

import pytest
import torch

from geosr.training.data import PatchSampler, visible_and_infrared
from geosr.training.degrade import Degradation
from tests.conftest import SAMPLE


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
    """How many patches of some batches are grey, and how many hold in each band the mean of the others."""
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
