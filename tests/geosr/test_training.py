"""Training: the degradation is the sensor's, a batch depends on its step alone, and a small run learns and resumes."""

from __future__ import annotations

import json
import time
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from geosr.errors import ResumeError, TrainingError
from geosr.evaluate.chunk_margin import measure_halo
from geosr.evaluate.metrics import effective_resolution_px, psnr, spectral_angle_deg
from geosr.model.generator import Generator
from geosr.model.sensor import Sensor
from geosr.training.config import NetworkConfig, Pairs, read_config
from geosr.training.data import PatchSampler, read_pairs, read_source
from geosr.training.degrade import Degradation, degrade, misregister
from geosr.training.loop import Start, build_generator, learning_rate, train
from geosr.training.losses import Loss
from geosr.training.optimiser import Optimiser
from tests.conftest import REPOSITORY, SAMPLE, run_geosr, run_here, write_raster
from tests.small_training import TINY
from tests.warm import WarmProcess


def test_the_shipped_configuration_is_valid_and_holds_the_held_out_sets_out():
    config = read_config(REPOSITORY / "configs" / "rgbn_x4.yaml")
    california = next(source for source in config.sources if "california" in source.glob)
    assert california.exclude == ("claremont_*", "bishop_*", "*7.tif")
    trained = " ".join(source.glob for source in config.sources)
    assert "qb_c" not in trained
    assert not any(
        fnmatch("qb_c.tif", Path(source.glob).name) for source in config.sources if "toulouse" in source.glob
    )
    assert "austria_b" not in trained
    assert "catalonia_20200128" not in trained
    assert sum(share for source in config.sources for share in source.reduce.values()) == pytest.approx(1, abs=0.02)


def test_unknown_fields_are_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(TINY + "frobnicate: 3\n")
    with pytest.raises(TrainingError, match="frobnicate"):
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
    lr, hr, *_ = PatchSampler(tiny, SAMPLE.parent).batch(0)
    blocks = torch.nn.functional.avg_pool2d(hr, 4)
    for low, high in zip(lr, blocks, strict=True):
        assert np.corrcoef(low.flatten(), high.flatten())[0, 1] > 0.95


def test_the_learning_rate_warms_up_and_falls(tiny):
    rates = [learning_rate(tiny, step) for step in range(tiny.steps)]
    assert rates[0] < rates[4] == pytest.approx(tiny.learning_rate)
    assert rates[-1] < 0.05 * tiny.learning_rate
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_reductions_average_blocks_that_begin_anywhere(tiny):
    source = tiny.sources[0].model_copy(update={"reduce": {2: 1.0}, "gain": (1, 1), "band_gain": 0.0})
    exact = Degradation(shift_hr_px=0)
    config = tiny.model_copy(update={"sources": (source,), "degradation": exact, "missing_bands": 0.0})
    (image,) = read_source(source, config, SAMPLE.parent)
    reference = torch.tensor(tiny.reference_reflectance).reshape(-1, 1, 1)
    _, hr, *_ = PatchSampler(config, SAMPLE.parent).batch(0)
    starts = torch.nn.functional.avg_pool2d(image[None], 2, stride=1)[0]
    for patch in hr * reference:
        corners = [patch[:, y, x] for y in (0, -1) for x in (0, -1)]
        assert all(((starts - corner[:, None, None]).abs().amax(0) < 1e-5).any() for corner in corners)


def test_losses_are_what_they_say():
    hr = torch.rand(2, 4, 16, 16) + 0.1
    gain = torch.tensor([0.5, 2.0]).reshape(2, 1, 1, 1)
    sr = hr + 0.1 * gain
    assert float(Loss("l1")(sr, hr, gain)) == pytest.approx(0.1, rel=1e-4)
    assert float(Loss("l2")(sr, hr, gain)) == pytest.approx(0.01, rel=1e-4)
    assert float(Loss("charbonnier", 0.1)(sr, hr, gain)) == pytest.approx(0.1 * 2**0.5, rel=1e-4)
    # A shift of everything changes no difference between neighbours, and a stretch no spectral angle.
    assert float(Loss(gradient=1)(sr, hr, gain)) == pytest.approx(0.1, rel=1e-3)
    stretched = float(Loss(spectral_angle=1)(2 * hr, hr, gain)) - float(Loss()(2 * hr, hr, gain))
    assert stretched == pytest.approx(0, abs=3e-3)
    assert float(Loss(frequency=1)(sr, hr, gain)) > float(Loss()(sr, hr, gain))


def test_muon_moves_the_kernels_themselves(tiny):
    torch.manual_seed(0)
    model = build_generator(tiny).to(memory_format=torch.channels_last)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    optimiser = Optimiser(model, "muon", 1e-2)
    inside, outside = (len(state["param_groups"][0]["params"]) for state in reversed(optimiser.state_dict()))
    kernels = [name for name in before if ".body." in name and name.endswith("weight")]
    assert (inside, outside) == (len(kernels), len(before) - len(kernels))
    for _ in range(2):
        model(torch.rand(1, 4, 8, 8)).square().mean().backward()
        optimiser.step(1e-2)
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == set(before)
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_run_learns_and_goes_on_where_it_was(tmp_path, tiny, optimiser):
    tiny = tiny.model_copy(update={"optimiser": optimiser})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny.model_dump(mode="json")))
    torch.set_num_threads(1)
    train(tiny, SAMPLE.parent, tmp_path / "whole")
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    gains = [value for line in lines for key, value in line.items() if key.endswith("/1")]
    assert gains[-1] > gains[0] > 0

    # Half of the same schedule, in a process that is killed for real.
    (tmp_path / "half.py").write_text(
        "from pathlib import Path; import torch; from geosr.training.config import read_config;"
        "from geosr.training.loop import train; torch.set_num_threads(1);"
        f"run, data = Path({str(tmp_path)!r}), Path({str(SAMPLE.parent)!r});"
        "train(read_config(run / 'run.yaml'), data, run / 'parts')"
    )
    process = WarmProcess(tmp_path / "half.py")
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


@pytest.mark.usefixtures("undrawn")
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


def test_pairs_of_two_sensors_are_taken_as_they_are(tiny, tmp_path):
    """Both halves of every patch come from one place, where a pair's low resolution has one."""
    rows = np.arange(24, dtype=np.uint16) * 100
    low = np.broadcast_to(rows[:, None] + np.arange(24, dtype=np.uint16), (4, 24, 24)).copy()
    write_raster(tmp_path / "a_lr.tif", low)
    write_raster(tmp_path / "a_hr.tif", low.repeat(4, axis=1).repeat(4, axis=2))
    write_raster(tmp_path / "base.tif", np.full((4, 120, 120), 1000, np.uint16))
    source = tiny.sources[0].model_copy(update={"glob": "base.tif", "reduce": {1: 1e-9}})
    pairs = Pairs(lr="*_lr.tif", hr="*_hr.tif", full_scale=10000, share=1.0)
    lr, hr, gain, *_ = PatchSampler(tiny.model_copy(update={"sources": (source,), "pairs": (pairs,)}), tmp_path).batch(
        0
    )
    assert (gain == 1).all()
    torch.testing.assert_close(hr, lr.repeat_interleave(4, -1).repeat_interleave(4, -2))
    assert len({float(patch[0, 0, 0]) for patch in lr}) > 1


def test_pairs_that_do_not_fit_are_refused(tiny, tmp_path):
    pixels = np.full((4, 24, 24), 1000, np.uint16)
    write_raster(tmp_path / "a_lr.tif", pixels)
    write_raster(tmp_path / "a_hr.tif", pixels)
    pairs = Pairs(lr="*_lr.tif", hr="*_hr.tif", full_scale=10000, share=1.0)
    config = tiny.model_copy(update={"pairs": (pairs,)})
    with pytest.raises(TrainingError, match="exactly 4 times"):
        read_pairs(pairs, config, tmp_path)
    with pytest.raises(TrainingError, match="each needs its other"):
        read_pairs(pairs.model_copy(update={"hr": "nothing*"}), config, tmp_path)


def test_a_configuration_that_extends_another_is_blamed_for_its_own(tmp_path):
    (tmp_path / "base.yaml").write_text(TINY)
    (tmp_path / "empty.yaml").write_text("")
    path = tmp_path / "more.yaml"
    path.write_text("extends: base.yaml\nsteps: 7\n")
    assert read_config(path).steps == 7
    path.write_text("extends: base.yaml\nfrob: 3\n")
    with pytest.raises(TrainingError, match=r"more\.yaml is wrong at frob"):
        read_config(path)
    (tmp_path / "further.yaml").write_text("extends: more.yaml\nbatch: 3\n")
    path.write_text("extends: base.yaml\nsteps: 7\n")
    further = read_config(tmp_path / "further.yaml")
    assert (further.steps, further.batch) == (7, 3)
    path.write_text("extends: further.yaml\n")
    with pytest.raises(TrainingError, match=r"further\.yaml extends itself through .*more\.yaml"):
        read_config(tmp_path / "further.yaml")
    path.write_text("extends: empty.yaml\n")
    with pytest.raises(TrainingError, match=r"empty\.yaml, which .*more\.yaml extends, holds no fields"):
        read_config(path)
    path.write_text("extends: missing.yaml\n")
    with pytest.raises(TrainingError, match=r"missing\.yaml"):
        read_config(path)


@pytest.mark.usefixtures("undrawn")
def test_a_run_of_another_configuration_is_left_alone(tiny, tmp_path):
    short = tiny.model_copy(update={"steps": 10})
    train(short, SAMPLE.parent, tmp_path / "run", quiet=True)
    before = (tmp_path / "run" / "weights.safetensors").read_bytes()
    with pytest.raises(ResumeError, match=r"differs in learning_rate.*another folder"):
        train(short.model_copy(update={"learning_rate": 1e-3}), SAMPLE.parent, tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == before


@pytest.mark.slow
def test_the_command_trains_and_says_what_is_wrong(tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY.replace("steps: 40", "steps: 50").replace("validate_every: 20", "validate_every: 50"))

    done = run_geosr("train", config, "--data", SAMPLE.parent, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "step 50/50: loss" in done.stderr
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"checkpoint.pt", "weights.safetensors", "metrics.jsonl", "curves.png", "samples.png"}

    config.write_text(TINY + "loss: {pixel: l7}\n")
    wrong = run_here("train", config, "--data", SAMPLE.parent, "-o", tmp_path / "other")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert "loss" in wrong.stderr
    config.write_text(TINY.replace("*.tif", "*.jp2"))
    missing = run_here("train", config, "--data", SAMPLE.parent, "-o", tmp_path / "other")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "no imagery matches *.jp2" in missing.stderr
    assert not (tmp_path / "other").exists() or not list((tmp_path / "other").iterdir())


def test_the_large_configuration_is_the_published_generator():
    small, large = (read_config(REPOSITORY / "configs" / f"{name}.yaml") for name in ("rgbn_x4", "rgbn_x4_large"))
    assert large.sources == small.sources
    network = build_generator(large).network
    assert network is not None
    assert 17e6 < network.multiply_adds_per_lr_pixel() < 19e6
    assert "conv_up2.weight" in network.state_dict()


@pytest.mark.usefixtures("undrawn")
def test_the_large_generator_trains(tiny, tmp_path):
    """Its form, at a size that can be trained here."""
    network = NetworkConfig(features=8, growth=4, blocks=2, tail="interpolate")
    config = tiny.model_copy(update={"network": network, "steps": 20, "optimiser": "muon", "learning_rate": 1e-3})
    train(config, SAMPLE.parent, tmp_path / "run", quiet=True)
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["*.tif/1"] > 0
