"""Training from pair sets: what is read, what is drawn, and a loss that forgives a shift that is left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save_file

from geosr.errors import TrainingError
from geosr.training.config import TrainingConfig, read_config
from geosr.training.data import PatchSampler
from geosr.training.loop import train
from geosr.training.losses import Loss
from geosr.training.shift_tolerance import tolerant

CONFIG = {
    "name": "tiny",
    "bands": ["B04", "B03", "B02"],
    "descriptions": {"B02": ["B02"], "B03": ["B03"], "B04": ["B04"]},
    "reference_reflectance": [0.3, 0.3, 0.3],
    "mtf_nyquist": [0.24, 0.28, 0.26],
    "network": {"features": 8, "growth": 4, "blocks": 1},
    "sources": [],
    "pair_sets": [{"folder": "set", "share": 1.0}],
    "patch_lr_px": 12,
    "batch": 2,
    "steps": 4,
    "warmup": 2,
}


def write_set(folder: Path, *, scale: int = 4, bands: tuple[str, ...] = ("B02", "B03", "B04")) -> np.ndarray:
    """Three patches of 16 LR pixels; of the second only the right part is measured, of the third no whole crop."""
    (folder / "shards").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lr = rng.integers(2000, 4000, (3, len(bands), 16, 16), dtype=np.uint16)
    valid = np.ones((3, 16, 16), np.uint8)
    valid[1, :, :3] = 0
    valid[2, 8, 8] = 0
    hr = lr.repeat(scale, axis=2).repeat(scale, axis=3)
    save_file({"hr": hr, "lr": lr, "valid": valid}, folder / "shards" / "00000.safetensors")
    about = {"scale": scale, "bands": list(bands), "dn": {"scale": 1e-4, "offset": -0.1}}
    features = [{"assets": {"patch": {"href": "shards/00000.safetensors"}}}] * 3
    (folder / "index.json").write_text(json.dumps({"geosr:pair_set": about, "features": features}))
    return lr


@pytest.fixture
def config() -> TrainingConfig:
    return TrainingConfig.model_validate(CONFIG)


def test_patches_are_drawn_from_what_is_measured_in_the_models_bands(tmp_path, config):
    lr = write_set(tmp_path / "set")
    reflectance = torch.from_numpy(lr[:, ::-1].astype(np.float32) * np.float32(1e-4) - np.float32(0.1)) / 0.3
    sampler = PatchSampler(config, tmp_path)
    drawn = set()
    for step in range(40):
        low, high, *_ = sampler.batch(step)
        torch.testing.assert_close(torch.nn.functional.avg_pool2d(high, 4), low)
        for one in low:
            places = [
                (patch, y, x)
                for patch in range(3)
                for y in range(5)
                for x in range(5)
                # Whichever way it was turned, it has the same values.
                for crop in (reflectance[patch, :, y : y + 12, x : x + 12],)
                if torch.allclose(crop.flatten().sort()[0], one.flatten().sort()[0])
            ]
            assert places
            drawn |= set(places)
    assert {patch for patch, _, _ in drawn} == {0, 1}
    assert min(x for patch, _, x in drawn if patch == 1) == 3
    assert sampler.slack_hr_px(0) == [1, 1]


def test_sets_that_do_not_fit_are_refused(tmp_path, config):
    with pytest.raises(TrainingError, match="geosr pairs build"):
        PatchSampler(config, tmp_path)
    write_set(tmp_path / "set", scale=2)
    with pytest.raises(TrainingError, match="at scale 2"):
        PatchSampler(config, tmp_path)
    write_set(tmp_path / "other" / "set", bands=("B02", "B03"))
    with pytest.raises(TrainingError, match="no band B04"):
        PatchSampler(config, tmp_path / "other")


@pytest.mark.parametrize("pixel", ["l1", "rms", "charbonnier"])
def test_a_shifted_truth_has_the_loss_of_an_unshifted_one(pixel):
    rng = torch.Generator().manual_seed(0)
    hr = torch.rand(1, 3, 40, 40, generator=rng)
    sr = hr + 0.05 * torch.randn(hr.shape, generator=rng)
    loss, gain = Loss(pixel=pixel), torch.ones(1, 1, 1, 1)
    unshifted = tolerant(loss, sr, hr, gain, [2])
    for shift in [(0, 1), (-2, 1), (2, 2)]:
        torch.testing.assert_close(tolerant(loss, sr, hr.roll(shift, (-2, -1)), gain, [2]), unshifted)
    assert tolerant(loss, sr, hr.roll((3, 0), (-2, -1)), gain, [2]) > 2 * unshifted
    assert tolerant(loss, sr, hr.roll((0, 1), (-2, -1)), gain, [0]) > 2 * unshifted


def test_the_loss_can_be_followed_through_the_chosen_shift():
    rng = torch.Generator().manual_seed(0)
    hr = torch.rand(1, 3, 24, 24, generator=rng)
    sr = (hr + 0.05).requires_grad_()
    tolerant(Loss(pixel="l2"), sr, hr.roll((1, -1), (-2, -1)), torch.ones(1, 1, 1, 1), [1]).backward()
    assert sr.grad is not None
    middle = sr.grad[..., 1:-1, 1:-1]
    torch.testing.assert_close(middle, torch.full_like(middle, 2 * 0.05 / middle.numel()), rtol=1e-3, atol=0)


def test_patches_without_slack_are_judged_as_ever_and_all_weigh_alike():
    rng = torch.Generator().manual_seed(0)
    sr, hr = torch.rand(3, 2, 16, 16, generator=rng), torch.rand(3, 2, 16, 16, generator=rng)
    loss, gain = Loss(), torch.ones(3, 1, 1, 1)
    assert tolerant(loss, sr, hr, gain, [0, 0, 0]) == loss(sr, hr, gain)
    apart = [tolerant(loss, sr[i : i + 1], hr[i : i + 1], gain[:1], [slack]) for i, slack in enumerate((0, 1, 0))]
    torch.testing.assert_close(tolerant(loss, sr, hr, gain, [0, 1, 0]), torch.stack(apart).mean())


def test_a_run_on_pairs_alone_goes_to_its_end(tmp_path, config):
    write_set(tmp_path / "set")
    train(config, tmp_path, tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "weights.safetensors").exists()


def test_half_widths_do_not_learn_from_pair_sets(tmp_path):
    path = tmp_path / "x.yaml"
    network = {**CONFIG["network"], "width_features": 8}
    path.write_text(yaml.safe_dump({**CONFIG, "learns": "half_widths", "network": network}))
    with pytest.raises(TrainingError, match="pair_sets teach the image"):
        read_config(path)
