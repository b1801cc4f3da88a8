"""Half-widths: learned beside an image that stays, on imagery of their own, and calibrated on what neither has seen."""

from __future__ import annotations

import json
from fnmatch import fnmatch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from geosr.errors import ModelError, TrainingError
from geosr.evaluate.contenders import of_generator
from geosr.evaluate.held_out import observe
from geosr.model.rrdb import RRDBNet
from geosr.release.calibration import calibrate, conformal_quantile
from geosr.release.zoo_model import _check_image
from geosr.training.config import NetworkConfig, read_config
from geosr.training.data import read_source
from geosr.training.loop import Start, build_generator, load_network, train
from geosr.training.losses import half_width_loss
from tests.conftest import DATA, REPOSITORY, SAMPLE, data_file
from tests.small_training import TINY


def test_what_calibrates_is_neither_trained_on_nor_tested_on():
    image, widths = _shipped()
    used = [
        {(name, row) for source in sources for name in _names(source) for row in range(*_twentieths(source.rows))}
        for sources in (image.sources, widths.sources, widths.calibration, image.validation)
    ]
    assert all(used)
    trained, learned, calibrated, tested = used
    assert not trained & (calibrated | tested)
    assert not learned & (calibrated | tested)
    assert not calibrated & tested
    # Some of what the half-widths are learned from, the image's weights were not trained on.
    assert len({name for name, _ in learned - trained}) > 30


def _shipped():
    """The configurations of the shipped model's image and of its half-widths."""
    return [read_config(REPOSITORY / "configs" / f"{name}.yaml") for name in ("rgbn_x4", "rgbn_x4_half_widths")]


def _names(source):
    """Files of the development data that a source takes."""
    data_file("README.md")
    names = [path.name for path in DATA.glob(source.glob)]
    return [name for name in names if not any(fnmatch(name, one) for one in source.exclude)]


def _twentieths(rows):
    return tuple(round(20 * part) for part in rows)


def test_the_half_widths_loss_is_least_at_the_quantile():
    error = torch.linspace(-1, 1, 2001)
    losses = [
        [float(half_width_loss(size * error, torch.tensor(size * width), 0.9)) for width in (0.7, 0.85, 0.9, 0.95, 1.0)]
        for size in (1, 0.01)
    ]
    assert np.argmin(losses[0]) == 2
    # Small errors pull as hard as large ones.
    np.testing.assert_allclose(np.diff(losses[0]), np.diff(losses[1]), atol=1e-4)


def test_the_conformal_quantile_holds_for_what_is_to_come():
    rng = np.random.default_rng(0)
    scores = rng.exponential(size=20_000).astype(np.float32)
    factor = conformal_quantile([scores], 0.9)
    assert (rng.exponential(size=20_000) <= factor).mean() == pytest.approx(0.9, abs=0.01)
    # Of nine scores, a tenth stays below the largest in nine cases of ten, and below any other less often.
    assert conformal_quantile([np.arange(9, dtype=np.float32)], 0.9) == 8


def test_kinds_of_imagery_count_alike_in_the_conformal_quantile():
    rng = np.random.default_rng(0)
    few, many = (scale * rng.exponential(size=size).astype(np.float32) for scale, size in ((3, 2_000), (1, 50_000)))
    factor = conformal_quantile([few, many], 0.9)
    assert ((few <= factor).mean() + (many <= factor).mean()) / 2 == pytest.approx(0.9, abs=1e-3)
    assert factor > conformal_quantile([np.concatenate([few, many])], 0.9)


def test_the_half_widths_are_learned_beside_an_image_that_stays(tiny, tmp_path):
    train(tiny.model_copy(update={"steps": 10}), SAMPLE.parent, tmp_path / "image", quiet=True)
    network = NetworkConfig(features=8, growth=4, blocks=1, width_features=4)
    second = tiny.model_copy(update={"network": network, "learns": "half_widths", "steps": 30, "learning_rate": 1e-2})
    start = Start(tmp_path / "image" / "weights.safetensors", 0)
    train(second, SAMPLE.parent, tmp_path / "widths", start, quiet=True)
    image, both = (load_file(tmp_path / run / "weights.safetensors") for run in ("image", "widths"))
    for key, weight in image.items():
        assert (both[key] == weight).all(), key
    losses = [json.loads(line) for line in (tmp_path / "widths" / "metrics.jsonl").read_text().splitlines()]
    untrained = build_generator(second).network.state_dict()
    assert not torch.equal(both["width.conv_last.weight"], untrained["width.conv_last.weight"])
    assert losses[-1]["*.tif/1"] == losses[0]["*.tif/1"]


def test_half_widths_are_not_learned_beside_an_untrained_image(tiny, tmp_path):
    network = NetworkConfig(features=8, growth=4, blocks=1, width_features=4)
    alone = tiny.model_copy(update={"network": network, "learns": "half_widths"})
    with pytest.raises(TrainingError, match="--from-weights"):
        train(alone, SAMPLE.parent, tmp_path / "run", quiet=True)


def test_an_image_goes_on_from_weights_that_have_half_widths(tiny, tmp_path):
    network = RRDBNet(4, 4, features=8, growth=4, blocks=1, tail="shuffle", width_features=4)
    torch.nn.init.normal_(network.conv_last.weight)
    former = {"conv_width.weight": torch.zeros(4, 8, 3, 3)}
    save_file({**network.state_dict(), **former}, tmp_path / "both.safetensors")
    model = build_generator(tiny)
    load_network(model, tmp_path / "both.safetensors")
    assert torch.equal(model.network.conv_last.weight, network.conv_last.weight)


def test_half_widths_of_another_image_are_not_released(tiny, tmp_path):
    model = build_generator(tiny)
    save_file(model.network.state_dict(), tmp_path / "same.safetensors")
    _check_image(model, tmp_path / "same.safetensors")
    save_file(build_generator(tiny).network.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="not learned beside"):
        _check_image(model, tmp_path / "other.safetensors")


@pytest.mark.parametrize(("learns", "features"), [("image", 4), ("half_widths", 0)])
def test_a_head_is_there_when_it_is_trained_and_only_then(tmp_path, learns, features):
    path = tmp_path / "odd.yaml"
    path.write_text(TINY.replace("blocks: 1}", f"blocks: 1, width_features: {features}}}") + f"learns: {learns}\n")
    with pytest.raises(TrainingError, match="width_features is above 0 where half_widths are learned"):
        read_config(path)


def test_the_shipped_half_widths_are_the_shipped_networks():
    image, widths = _shipped()
    assert image.network == widths.network.model_copy(update={"width_features": 0})


def test_calibrated_half_widths_cover_what_they_promise(tiny):
    """Those of an untrained head, too, cover as they should where they were calibrated."""
    network = NetworkConfig(features=8, growth=4, blocks=1, width_features=4)
    config = tiny.model_copy(update={"network": network, "calibration": tiny.validation})
    model = build_generator(config).eval()
    calibration = calibrate(model, config, 8, SAMPLE.parent, "a command")
    model.set_width_factors(calibration.factors)
    (truth,) = read_source(config.calibration[0], config, SAMPLE.parent)
    (lr,) = observe([truth], model.sensor)
    result = of_generator("x", model, config.bands, config.reference_reflectance, 8, calibration).run(lr)
    covered = ((result.image - truth).abs() <= result.half_width).float().mean(dim=(1, 2))
    torch.testing.assert_close(covered, torch.full((4,), 0.9), atol=1e-3, rtol=0)
