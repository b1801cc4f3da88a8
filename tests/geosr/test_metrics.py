"""Measures agree with opensr-test, with values worked out by hand, and move the right way."""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache

import pytest
import torch

pytest.importorskip("skimage", reason="the measures need scikit-image")

from geosr.errors import UsageError
from geosr.evaluate.consistency import consistency
from geosr.evaluate.correctness import Correctness, correctness
from geosr.evaluate.gain_and_shift import gain_and_bias, registration_shift_px
from geosr.evaluate.metrics import ergas, ssim
from geosr.model.kernels import mtf_to_sigma
from geosr.model.sensor import Sensor, upsample
from tests.conftest import REPOSITORY
from tests.opensr_inputs import MTF_NYQUIST, SCALE, blurred, make_inputs, shifted

#: Made by scripts/opensr_reference.py.
REFERENCE = json.loads((REPOSITORY / "tests" / "data" / "opensr_reference.json").read_text(encoding="utf-8"))

INPUTS = make_inputs()


@lru_cache
def correctness_of(name: str) -> Correctness:
    return correctness(INPUTS.sr[name], INPUTS.lr, INPUTS.hr)


def measure(sr: torch.Tensor) -> dict[str, float]:
    consistent, correct = consistency(sr, INPUTS.lr), correctness(sr, INPUTS.lr, INPUTS.hr)
    return {**dataclasses.asdict(consistent), **dataclasses.asdict(correct)}


@pytest.mark.parametrize("name", REFERENCE["values"])
def test_measures_are_those_of_opensr_test(name):
    expected = REFERENCE["values"][name]
    found = {**dataclasses.asdict(consistency(INPUTS.sr[name], INPUTS.lr)), **dataclasses.asdict(correctness_of(name))}
    if expected["shift_lr_px"] is None:
        expected = {**expected, "shift_lr_px": float("nan")}
    assert found == pytest.approx(expected, abs=1e-4, rel=0, nan_ok=True)


def test_the_reference_covers_every_image():
    assert REFERENCE["packages"]["opensr-test"] == "1.3.3"
    assert set(REFERENCE["values"]) == set(INPUTS.sr)


def test_the_truth_is_all_improvement_but_for_the_temperature():
    found = correctness(INPUTS.hr, INPUTS.lr, INPUTS.hr)
    assert dataclasses.astuple(found) == pytest.approx((0.9647, 0.0177, 0.0177), abs=5e-5)


def test_right_missing_and_false_detail_are_told_apart():
    scores = {name: correctness_of(name) for name in INPUTS.sr}
    assert scores["bilinear"].omission > scores["back-projected"].omission > scores["identity"].omission
    assert scores["false detail"].hallucination > 3 * scores["back-projected"].hallucination
    assert scores["identity"].improvement > scores["shifted"].improvement > scores["back-projected"].improvement


def test_consistency_rises_with_what_disagrees_with_the_input():
    scores = {name: consistency(sr, INPUTS.lr) for name, sr in INPUTS.sr.items()}
    assert scores["back-projected"].reflectance < scores["bicubic"].reflectance < scores["biased"].reflectance
    assert scores["back-projected"].spectral_deg < scores["biased"].spectral_deg
    assert scores["identity"].shift_lr_px == 0 < scores["shifted"].shift_lr_px


def test_borders_do_not_count():
    sr = INPUTS.sr["bicubic"]
    disturbed = torch.ones_like(sr)
    disturbed[:, 16:-16, 16:-16] = sr[:, 16:-16, 16:-16]
    assert measure(disturbed) == measure(sr)
    assert consistency(disturbed, INPUTS.lr, border_px=12) != consistency(sr, INPUTS.lr, border_px=12)


def test_black_pixels_have_no_spectral_angle():
    sr, lr = INPUTS.sr["bicubic"].clone(), INPUTS.lr.clone()
    lr[:, 20, 20] = 0
    angles = consistency(sr, lr).spectral_deg, consistency(sr, INPUTS.lr).spectral_deg
    assert angles[0] == pytest.approx(angles[1], rel=1e-2)


@pytest.mark.parametrize("shape", [(4, 298, 300), (3, 300, 300), (4, 150, 300), (4, 40, 40)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(UsageError, match="does not fit"):
        consistency(torch.rand(shape), INPUTS.lr)
    with pytest.raises(UsageError, match="does not fit"):
        correctness(torch.rand(shape), INPUTS.lr, INPUTS.hr)


def test_images_that_are_all_border_are_refused():
    with pytest.raises(UsageError, match="all border: 4 pixels"):
        consistency(torch.rand(4, 32, 32), torch.rand(4, 8, 8))


def test_ssim_of_flat_bands_compares_their_means():
    image = torch.stack((torch.full((20, 20), 0.2), torch.full((20, 20), 0.3)))
    truth = torch.stack((torch.full((20, 20), 0.4), torch.full((20, 20), 0.3)))
    # (2ab + C1) / (a² + b² + C1) with C1 = 0.01², and 1 for equal bands.
    assert ssim(image, truth) == pytest.approx((1 + (0.16 + 1e-4) / (0.2 + 1e-4)) / 2, abs=1e-6)


def test_ergas_by_hand():
    truth = torch.stack((torch.full((8, 8), 0.2), torch.full((8, 8), 0.4)))
    # Relative errors of 10 % and 5 %.
    assert ergas(truth + 0.02, truth, 4) == pytest.approx(25 * ((0.01 + 0.0025) / 2) ** 0.5, rel=1e-5)
    assert ergas(truth + 0.02, truth, 2) == pytest.approx(2 * ergas(truth - 0.02, truth, 4), rel=1e-5)


def test_ssim_and_ergas_worsen_with_distance_from_the_truth():
    hr = INPUTS.hr
    steps = [hr, INPUTS.sr["back-projected"], INPUTS.sr["bicubic"], blurred(blurred(INPUTS.sr["bicubic"]))]
    similarities = [ssim(step, hr) for step in steps]
    errors = [ergas(step, hr, SCALE) for step in steps]
    assert similarities[0] == pytest.approx(1)
    assert errors[0] == 0
    assert similarities == sorted(similarities, reverse=True)
    assert errors == sorted(errors)
    assert len(set(similarities)) == len(set(errors)) == len(steps)


def test_gain_and_bias_are_recovered():
    gains = torch.tensor([1.05, 1.0, 0.9, 1.05]).reshape(-1, 1, 1)
    biases = torch.tensor([0.01, -0.02, 0.0, 0.0]).reshape(-1, 1, 1)
    lines = gain_and_bias(gains * INPUTS.hr + biases, INPUTS.hr)
    assert [line.gain for line in lines] == pytest.approx([1.05, 1.0, 0.9, 1.05], abs=1e-5)
    assert [line.bias for line in lines] == pytest.approx([0.01, -0.02, 0, 0], abs=1e-6)


def test_gain_of_a_smooth_image_is_seen_best_as_the_sensor_observes_it():
    sensor = Sensor([mtf_to_sigma(mtf, SCALE) for mtf in MTF_NYQUIST], SCALE)
    smooth = 1.05 * INPUTS.sr["back-projected"] + 0.01
    observed = gain_and_bias(sensor.observe(smooth[None])[0], INPUTS.lr)
    for line, unobserved in zip(observed, gain_and_bias(smooth, INPUTS.hr), strict=True):
        assert line.gain == pytest.approx(1.05, abs=0.025)
        assert line.bias == pytest.approx(0.01, abs=0.006)
        assert unobserved.gain < 1


@pytest.mark.parametrize(("dy", "dx"), [(0.5, 0.0), (0.5, -0.3), (-1.3, 0.7)])
def test_shifts_are_recovered(dy, dx):
    assert registration_shift_px(shifted(INPUTS.hr, dy, dx), INPUTS.hr) == pytest.approx((dy, dx), abs=0.03)


def test_shifts_of_smooth_images_are_recovered():
    """Phase correlation with equal weights, as opensr-test has it, sees next to no shift here."""
    sensor = Sensor([mtf_to_sigma(mtf, SCALE) for mtf in MTF_NYQUIST], SCALE)
    smooth = upsample(sensor.observe(shifted(INPUTS.hr, 0.5, -0.3)[None]), SCALE)[0]
    assert registration_shift_px(smooth, INPUTS.hr) == pytest.approx((0.5, -0.3), abs=0.05)


def test_images_in_place_have_no_shift():
    assert registration_shift_px(INPUTS.hr, INPUTS.hr) == (0, 0)
    assert registration_shift_px(INPUTS.sr["biased"], INPUTS.hr) == (0, 0)
