"""Training: the degradation is the sensor's, a batch depends on its step alone, and a small run learns and resumes."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from geosr.evaluate.halo import measure_halo
from geosr.evaluate.metrics import effective_resolution_px, psnr, spectral_angle_deg
from geosr.model.generator import Generator
from geosr.model.sensor import Sensor
from geosr.training.config import read_config
from geosr.training.data import PatchSampler
from geosr.training.degrade import Degradation, degrade, misregister
from geosr.training.train import Start, learning_rate, train
from tests.conftest import REPOSITORY, SAMPLE

TINY = """
name: tiny
seed: 3
bands: [B02, B03, B04, B08]
descriptions: {B02: [B02], B03: [B03], B04: [B04], B08: [B08]}
reference_reflectance: [0.3, 0.3, 0.3, 0.5]
mtf_nyquist: [0.26, 0.28, 0.24, 0.26]
network: {features: 8, growth: 4, blocks: 1}
sources: [{glob: "*.tif", full_scale: 10000, gain: [0.8, 1.2]}]
validation: [{glob: "*.tif", full_scale: 10000, gain: [1, 1]}]
patch_lr_px: 12
batch: 4
steps: 40
learning_rate: 2.0e-3
warmup: 5
validate_every: 20
checkpoint_every: 10
"""


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return read_config(path)


def test_the_shipped_configuration_is_valid_and_holds_the_held_out_sets_out():
    config = read_config(REPOSITORY / "configs" / "rgbn_x4.yaml")
    california = next(source for source in config.sources if "california" in source.glob)
    assert california.exclude == "claremont_*"
    trained = " ".join(source.glob for source in config.sources)
    assert "qb_[abd]" in trained
    assert "austria_b" not in trained
    assert "catalonia_20200128" not in trained
    assert sum(share for source in config.sources for share in source.reduce.values()) == pytest.approx(1, abs=0.02)


def test_unknown_fields_are_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(TINY + "frobnicate: 3\n")
    with pytest.raises(ValidationError, match="frobnicate"):
        read_config(path)


def test_degradation_without_chance_is_the_sensor():
    rng = torch.Generator().manual_seed(0)
    exact = Degradation(sigma=(2.09, 2.09), sigma_band_jitter=0, anisotropy=0, shift_hr_px=0, noise=(1e-9, 1e-9))
    hr = torch.rand(2, 4, 48, 48)
    torch.testing.assert_close(degrade(hr, 4, exact, rng), Sensor([2.09] * 4, 4).observe(hr), atol=1e-6, rtol=0)


def test_noise_has_its_size():
    rng = torch.Generator().manual_seed(0)
    noisy = Degradation(noise=(0.002, 0.002))
    lr = degrade(torch.full((1, 4, 400, 400), 0.3), 4, noisy, rng)
    assert float(lr.std()) == pytest.approx(0.002, rel=0.02)


def test_bands_are_shifted_together_with_their_truth():
    rng = torch.Generator().manual_seed(1)
    hr = torch.arange(20.0).expand(64, 3, 20, 20)
    shifted = misregister(hr, Degradation(shift_hr_px=1), rng)
    assert shifted.shape == (64, 3, 18, 18)
    offsets = shifted[..., 0, 0] - 1
    assert set(offsets.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_a_batch_depends_on_its_step_alone(tiny):
    sampler, again = (PatchSampler(tiny, SAMPLE.parent) for _ in range(2))
    sampler.batch(0)
    for first, second in zip(sampler.batch(7), again.batch(7), strict=True):
        assert (first == second).all()
    assert not (sampler.batch(8)[0] == sampler.batch(7)[0]).all()


def test_low_and_high_resolution_show_the_same_ground(tiny):
    lr, hr, _ = PatchSampler(tiny, SAMPLE.parent).batch(0)
    blocks = torch.nn.functional.avg_pool2d(hr, 4)
    for low, high in zip(lr, blocks, strict=True):
        assert np.corrcoef(low.flatten(), high.flatten())[0, 1] > 0.95


def test_the_learning_rate_warms_up_and_falls(tiny):
    rates = [learning_rate(tiny, step) for step in range(tiny.steps)]
    assert rates[0] < rates[4] == pytest.approx(tiny.learning_rate)
    assert rates[-1] < 0.05 * tiny.learning_rate
    assert rates[4:] == sorted(rates[4:], reverse=True)


@pytest.mark.slow
def test_a_run_learns_and_goes_on_where_it_was(tmp_path, tiny):
    torch.set_num_threads(1)
    train(tiny, SAMPLE.parent, tmp_path / "whole")
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    gains = [value for line in lines for key, value in line.items() if key.endswith("/1")]
    assert gains[-1] > gains[0] > 0

    # Half of the same schedule, in a process that is killed for real.
    script = (
        "from pathlib import Path; import torch; from geosr.training.config import read_config;"
        "from geosr.training.train import train; torch.set_num_threads(1);"
        f"run, data = Path({str(tmp_path)!r}), Path({str(SAMPLE.parent)!r});"
        "train(read_config(run / 'tiny.yaml'), data, run / 'parts')"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
    while not (tmp_path / "parts" / "weights.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    train(tiny, SAMPLE.parent, tmp_path / "parts")
    whole, parts = (load_file(tmp_path / run / "weights.safetensors") for run in ("whole", "parts"))
    for key in whole:
        assert (whole[key] == parts[key]).all(), key


def test_psnr_and_angle():
    truth = torch.rand(4, 16, 16)
    assert psnr(truth + 0.01, truth) == pytest.approx(40)
    assert spectral_angle_deg(3 * truth, truth) == pytest.approx(0, abs=1e-2)
    assert spectral_angle_deg(torch.tensor([[[1.0]], [[0.0]]]), torch.tensor([[[1.0]], [[1.0]]])) == pytest.approx(45)


def test_effective_resolution_finds_where_detail_ends():
    """Detail is right up to a known frequency and unrelated beyond: half its period is the answer."""
    rng = np.random.default_rng(0)
    for cutoff in (0.1, 0.2, 0.35):
        fields = np.fft.fft2(rng.normal(size=(2, 256, 256)))
        frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None])
        mixed = np.where(frequency < cutoff, fields[0], fields[1])
        truth, image = (torch.tensor(np.fft.ifft2(spectrum).real)[None] for spectrum in (fields[0], mixed))
        assert effective_resolution_px(image, truth) == pytest.approx(1 / (2 * cutoff), rel=0.05)
    assert effective_resolution_px(truth, truth) == 1


def test_the_halo_of_interpolation_is_its_reach():
    scene = torch.rand(2, 96, 96) * 0.5
    model = Generator(Sensor([2.09] * 2, 4), steps=1)
    halo, curve = measure_halo(model, [scene], [0.3, 0.3], core_px=32)
    # Two pixels of cubic convolution, and four more of the step.
    assert 2 < halo <= 8
    assert curve[0] > 100
    assert curve[halo] < 0.5


def test_a_run_goes_on_from_weights_alone(tiny, tmp_path):
    """The first step is as if it had been the run's own, but for the optimiser, which warms up again."""
    train(tiny.model_copy(update={"steps": 20}), SAMPLE.parent, tmp_path / "first")
    start = Start(tmp_path / "first" / "weights.safetensors", 20)
    train(tiny, SAMPLE.parent, tmp_path / "second", start)
    lines = [json.loads(line) for line in (tmp_path / "second" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [40]
    assert learning_rate(tiny, 20, origin=20) == pytest.approx(learning_rate(tiny, 20) / tiny.warmup)
    assert learning_rate(tiny, 30, origin=20) == learning_rate(tiny, 30)
    # A step of no length stays where it began.
    barely = tiny.model_copy(update={"steps": 21, "learning_rate": 1e-9})
    train(barely, SAMPLE.parent, tmp_path / "third", start)
    before, after = (load_file(tmp_path / run / "weights.safetensors") for run in ("first", "third"))
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)
