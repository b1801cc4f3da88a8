"""A user's own run becomes a model, with which the command upscales as the run's generator does."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import rasterio
import torch

from geosr.errors import TrainingError
from geosr.model.card import read_card_file
from geosr.release.zoo_model import TrainingStage, release
from geosr.training.config import read_config
from geosr.training.loop import Start, build_generator, load_network, train
from geosr.training.run_folder import WEIGHTS
from tests.conftest import SAMPLE, call_geosr, run_here
from tests.small_training import TINY

HALF_WIDTHS = TINY.replace("blocks: 1}", "blocks: 1, width_features: 4}") + "learns: half_widths\n"
CALIBRATION = 'calibration: [{glob: "*.tif", full_scale: 10000, gain: [1, 1]}]\n'


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a configuration and its run, and those of half-widths beside it."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "image.yaml").write_text(TINY.replace("steps: 40", "steps: 20"))
    (folder / "widths.yaml").write_text(HALF_WIDTHS.replace("steps: 40", "steps: 20") + CALIBRATION)
    (folder / "uncalibrated.yaml").write_text(HALF_WIDTHS.replace("steps: 40", "steps: 20"))
    image = (folder / "image.yaml").read_text()
    (folder / "other_order.yaml").write_text(image.replace("[B02, B03, B04, B08]", "[B04, B03, B02, B08]", 1))
    (folder / "other_blur.yaml").write_text(image.replace("0.24, 0.26]", "0.24, 0.3]"))
    train(read_config(folder / "image.yaml"), SAMPLE.parent, folder / "image", quiet=True)
    start = Start(folder / "image" / WEIGHTS, 0)
    train(read_config(folder / "widths.yaml"), SAMPLE.parent, folder / "widths", start, quiet=True)
    (folder / "weights").mkdir()
    shutil.copy(folder / "image" / WEIGHTS, folder / "weights")
    return folder


@pytest.mark.slow
def test_a_run_becomes_a_model_that_upscales(runs, tmp_path):
    card = tmp_path / "mine.json"
    made = run_here("models", "trained", runs / "image.yaml", runs / "image", "-o", card)
    assert made.returncode == 0, made.stderr
    read = read_card_file(card)
    assert (read.name, read.sensor, read.gsd_m) == ("mine", "sentinel-2", 10)
    assert read.training["image"]["steps"] == 20
    assert read.figures["halo_difference_dn"][str(read.halo_px)] < 0.5
    done = run_here("upscale", SAMPLE, "-o", tmp_path / "out.tif", "--model", card, "--precision", "float32")
    assert done.returncode == 0, done.stderr

    config = read_config(runs / "image.yaml")
    model = build_generator(config).eval()
    load_network(model, runs / "image" / WEIGHTS)
    with rasterio.open(SAMPLE) as source, rasterio.open(tmp_path / "out.tif") as product:
        unit = torch.tensor(config.reference_reflectance).reshape(-1, 1, 1)
        reflectance = torch.from_numpy(source.read() * source.scales[0] + source.offsets[0]).float()
        with torch.inference_mode():
            expected = (model((reflectance / unit)[None])[0] * unit - source.offsets[0]) / source.scales[0]
        # DN hold nothing below 1, as 0 is nodata; and beyond the scene's edges the command sees it mirrored.
        expected = expected.clip(min=1)
        inside = np.s_[:, 4 * read.halo_px : -4 * read.halo_px, 4 * read.halo_px : -4 * read.halo_px]
        assert np.abs(product.read()[inside] - expected.numpy()[inside]).max() <= 1.0
        assert product.tags()["GEOSR_MODEL"].startswith("mine")


def test_half_widths_are_calibrated_on_the_way(runs, tmp_path):
    card = tmp_path / "mine.json"
    command = ("models", "trained", runs / "widths.yaml", runs / "widths", "-o", card, "--data", SAMPLE.parent)
    assert call_geosr(*command, "--name", "own") == 0
    read = read_card_file(card)
    assert read.name == "own"
    assert read.calibration is not None
    assert read.calibration.command == "geosr models trained"
    assert list(read.calibration.data) == ["*.tif"]
    output = tmp_path / "out.tif"
    assert call_geosr("upscale", SAMPLE, "-o", output, "--model", card, "--uncertainty") == 0
    with rasterio.open(tmp_path / "out_uncertainty.tif") as widths:
        assert widths.read(1).max() > 0


@pytest.mark.parametrize(
    ("config", "run", "more", "code", "said"),
    [
        ("widths.yaml", "widths", [], 2, "--data"),
        ("uncalibrated.yaml", "widths", ["--data", SAMPLE.parent], 2, "`calibration`"),
        ("widths.yaml", "image", ["--data", SAMPLE.parent], 1, "which differs in learns, network:"),
        ("other_order.yaml", "image", [], 1, "which differs in bands:"),
        ("other_blur.yaml", "image", [], 1, "which differs in mtf_nyquist:"),
        ("image.yaml", "weights", [], 1, "holds no checkpoint.pt"),
        ("image.yaml", "nowhere", [], 1, "not a run of geosr train"),
        ("absent.yaml", "image", [], 1, "cannot read the configuration"),
        ("image.yaml", "image", ["--sensor", "landsat-oli"], 2, "landsat-oli has no band"),
        ("image.yaml", "image", ["--data", "nowhere"], 2, "is not a folder"),
    ],
)
def test_what_cannot_become_a_model_is_refused_and_leaves_nothing(
    runs, tmp_path, capsys, config, run, more, code, said
):
    command = ("models", "trained", runs / config, runs / run, "-o", tmp_path / "mine.json", *more)
    assert call_geosr(*command) == code
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_another_model_is_not_replaced_unless_told(runs, tmp_path, capsys):
    (tmp_path / "mine.json").write_text("{}")
    command = ("models", "trained", runs / "image.yaml", runs / "image", "-o", tmp_path / "mine.json")
    assert call_geosr(*command) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "mine.json").read_text() == "{}"
    assert call_geosr(*command, "--overwrite") == 0
    assert read_card_file(tmp_path / "mine.json").name == "mine"


def test_a_stage_is_released_with_its_own_configuration_alone(runs, tmp_path):
    stages = [
        TrainingStage(runs / "other_order.yaml", runs / "image"),
        TrainingStage(runs / "widths.yaml", runs / "widths"),
    ]
    with pytest.raises(TrainingError, match="another configuration, which differs in bands"):
        release(stages, SAMPLE.parent, tmp_path)
    assert not list(tmp_path.iterdir())
