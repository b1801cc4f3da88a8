"""Ten bands at 2.5 m: coarse bands sharpened with finer ones, each band held to what was measured of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import torch
from rasterio.transform import Affine
from safetensors.torch import load_file, save_file
from shapely.geometry import box

from catalog import SceneRequest
from geosr.errors import ModelError, ResumeError, TrainingError, UsageError
from geosr.evaluate.band_sharpening import compare_reduced
from geosr.model import zoo
from geosr.model.card import FusionSize, ModelCard, Stack
from geosr.model.fusion import FusionNet
from geosr.model.kernels import MOST_HALO_DN
from geosr.model.sensor import upsample
from geosr.model.stack import COARSE, FINE, build_stack
from geosr.model.stack_uncertainty import StackUncertaintyEstimator
from geosr.release import stack_model
from geosr.release.stack_calibration import calibrate_stack
from geosr.run.pipeline import super_resolve
from geosr.run.scene_of_request import open_for_model
from geosr.training import stack_loop as training
from geosr.training.reduced_scenes import read_scene, read_stack_config, scales
from tests.conftest import RGBN, SAMPLE, read_raster, write_raster
from tests.stac_items import write_item
from tests.upscaling import upscale_request

COARSE_BANDS = ("B05", "B11")
BANDS = (*RGBN, *COARSE_BANDS)
TRANSFERS = (0.26, 0.28, 0.24, 0.26, 0.38, 0.22)
REFERENCE = (0.3, 0.3, 0.3, 0.5, 0.3, 0.5)
SIZES = {step: FusionSize(scale=scale, features=8, growth=4, blocks=1) for step, scale in (("coarse", 2), ("fine", 4))}


@pytest.fixture(scope="module")
def card(tmp_path_factory) -> Path:
    """A small model with weights drawn at random, guided by back-projection alone; the path of its card."""
    folder = tmp_path_factory.mktemp("stack")
    torch.manual_seed(0)
    weights = {}
    for begin, size in ((COARSE, SIZES["coarse"]), (FINE, SIZES["fine"])):
        network = FusionNet(len(RGBN), len(COARSE_BANDS), size)
        torch.nn.init.normal_(network.conv_last.weight, std=0.02)
        weights |= {begin + key: value for key, value in network.state_dict().items()}
    save_file(weights, folder / "small.safetensors")
    made = ModelCard(
        name="small",
        description="For tests.",
        bands=BANDS,
        reference_reflectance=REFERENCE,
        mtf_nyquist=TRANSFERS,
        steps=16,
        stack=Stack(
            guides=4, guide="backprojection", guide_digest=zoo.read_card("backprojection").digest, span=2, **SIZES
        ),
        weights="small.safetensors",
        weights_sha256=hashlib.sha256((folder / "small.safetensors").read_bytes()).hexdigest(),
        halo_px=24,
    )
    path = folder / "small.json"
    path.write_text(made.model_dump_json())
    return path


@pytest.fixture
def item(tmp_path, sample) -> Path:
    """An Item whose 20 m bands follow from its 10 m ones."""
    fine = sample[:, :96, :128].astype(float)
    halved = fine.reshape(4, 48, 2, 64, 2).mean(axis=(2, 4))
    coarse = {"B05": halved[2] * 0.6 + halved[3] * 0.4, "B11": halved[2] * 1.2 + 200}
    return write_item(tmp_path, "ten", sample[:, :96, :128], coarse={k: v.astype(np.uint16) for k, v in coarse.items()})


def scene(item: Path, **more) -> SceneRequest:
    return SceneRequest(str(item), bands=list(BANDS), **more)


def upscaled(item: Path, card: Path, output: Path, **options) -> Path:
    super_resolve(upscale_request(scene(item), output, model=str(card), **options))
    return output


def input_of(sample) -> torch.Tensor:
    pixels = torch.tensor(sample[:, :40, :48].astype(np.float32)) / 10000
    coarse = torch.nn.functional.avg_pool2d(pixels[2:], 2).repeat_interleave(2, 1).repeat_interleave(2, 2)
    return (torch.cat([pixels, coarse]) / torch.tensor(REFERENCE)[:, None, None])[None]


def test_every_band_seen_through_its_own_blur_is_what_was_measured(card, sample):
    model, lr = build_stack(zoo.read_card(str(card))), input_of(sample)
    with torch.inference_mode():
        made = model.make(lr)
        polyphase, observed = made.polyphase, made.observed
        image = model(lr)
    assert image.shape == (1, 6, 160, 192)
    torch.testing.assert_close(torch.nn.functional.pixel_shuffle(polyphase, 4), image)
    # Away from the edge, where observing and its polyphase differ.
    inside = (..., slice(8, -8), slice(8, -8))
    coarse = model.sensor.observe(image[:, 4:]).repeat_interleave(2, 2).repeat_interleave(2, 3)
    seen = torch.cat([model.guide.sensor.observe(image[:, :4]), coarse], 1)
    torch.testing.assert_close(observed[inside], seen[inside], atol=1e-5, rtol=0)
    assert float((observed - lr)[inside].abs().mean()) < 0.002


def test_the_fine_bands_are_those_of_their_own_model(card, sample):
    model, lr = build_stack(zoo.read_card(str(card))), input_of(sample)
    unit = torch.tensor(REFERENCE)[None, :4, None, None]
    with torch.inference_mode():
        alone = model.guide(lr[:, :4] * unit) / unit
        torch.testing.assert_close(model(lr)[:, :4], alone, atol=1e-6, rtol=0)


def test_untrained_networks_add_nothing(sample):
    net = FusionNet(4, 2, SIZES["coarse"])
    made = net(torch.rand(1, 2, 8, 8), torch.rand(1, 4, 8, 8), torch.rand(1, 16, 8, 8))
    assert made.shape == (1, 8, 8, 8)
    assert not made.any()


def test_a_coefficient_injects_the_detail_of_its_guide():
    net = FusionNet(4, 2, SIZES["coarse"])
    # Band 1 takes half of guide 3's detail, everywhere.
    net.conv_last.bias.data[1 * 4 + 3] = 0.5
    detail = torch.rand(1, 16, 8, 8)
    made = net(torch.rand(1, 2, 8, 8), torch.rand(1, 4, 8, 8), detail)
    torch.testing.assert_close(made[:, 4:], 0.5 * detail[:, 12:])
    assert not made[:, :4].any()


def test_a_scene_of_two_grids_end_to_end(card, item, tmp_path):
    output = upscaled(item, card, tmp_path / "out.tif")
    with rasterio.open(output) as raster:
        assert raster.descriptions == BANDS
        assert (raster.height, raster.width) == (384, 512)
        assert raster.transform == Affine(2.5, 0, 300000, 0, -2.5, 5400000)
        assert "estimated" in raster.tags()["GEOSR_DETAIL"]
    low, high = read_raster(tmp_path / "ten_B11.tif")[0].astype(float), read_raster(output)[5].astype(float)
    # An area's mean is what it was.
    blocks = high.reshape(48, 8, 64, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(blocks[4:-4, 4:-4].mean(), low[4:-4, 4:-4].mean(), rtol=0.002)


def test_chunks_meet_without_seams(card, item, tmp_path):
    one = read_raster(upscaled(item, card, tmp_path / "one.tif", core_px=256)).astype(int)
    many = read_raster(upscaled(item, card, tmp_path / "many.tif", core_px=64)).astype(int)
    assert np.abs(one - many).max() <= 1


def test_an_area_begins_and_ends_where_coarse_pixels_do(card, item, tmp_path):
    opened = open_for_model(scene(item), zoo.read_card(str(card)))
    assert opened.area.toslices() == (slice(0, 96), slice(0, 128))
    west, south, east, north = opened.geobox[31:60, 17:51].boundingbox.bbox
    to_degrees = pyproj.Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    inner = box(*to_degrees.transform_bounds(west + 1, south + 1, east - 1, north - 1))
    part = open_for_model(scene(item, area=inner), zoo.read_card(str(card)))
    assert part.area.row_off % 2 == part.area.col_off % 2 == part.area.height % 2 == part.area.width % 2 == 0


def test_a_raster_that_has_all_on_one_grid_is_taken_in_blocks_and_it_is_said(card, tmp_path, sample):
    pixels = np.concatenate([sample[:, :33, :41], sample[2:, :33, :41]])
    source = write_raster(tmp_path / "in.tif", pixels, names=BANDS, nodata=0)
    output = upscaled(source, card, tmp_path / "out.tif")
    with rasterio.open(output) as raster:
        assert (raster.height, raster.width) == (132, 164)
        assert "blocks of 2 × 2" in raster.tags()["GEOSR_NOTES"]


def test_what_was_not_measured_stays_nodata(card, tmp_path, sample):
    pixels = np.concatenate([sample[:, :40, :40], sample[2:, :40, :40]])
    pixels[5, 10:20, 10:20] = 0
    source = write_raster(tmp_path / "in.tif", pixels, names=BANDS, nodata=0)
    made = read_raster(upscaled(source, card, tmp_path / "out.tif"))
    assert (made[5, 40:80, 40:80] == 0).all()
    assert (made[5, :40] > 0).all()
    assert (made[:5] > 0).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"core_px": 63}, UsageError, "multiple of 2"),
        ({"engine": "openvino"}, UsageError, "PyTorch"),
        ({"engine": "winograd"}, UsageError, "PyTorch"),
        ({"precision": "bfloat16"}, UsageError, "float32"),
        ({"uncertainty": True}, UsageError, "half-widths|uncertainty"),
    ],
)
def test_what_a_stack_cannot_do_is_refused(card, item, tmp_path, options, error, message):
    with pytest.raises((error, ModelError), match=message):
        upscaled(item, card, tmp_path / "out.tif", **options)
    assert not (tmp_path / "out.tif").exists()


def test_a_scene_without_the_coarse_bands_is_refused(card, tmp_path):
    with pytest.raises(ModelError, match="has no B05, B11"):
        super_resolve(upscale_request(SceneRequest(str(SAMPLE)), tmp_path / "out.tif", model=str(card)))


def test_another_guide_than_the_one_it_was_made_with_is_refused(card, tmp_path):
    content = json.loads(card.read_text())
    content["stack"]["guide_digest"] = "0" * 64
    content["weights"] = str(card.with_suffix(".safetensors"))
    with pytest.raises(ModelError, match="another backprojection"):
        build_stack(ModelCard.model_validate(content))


def test_a_stack_is_part_of_a_models_identity_and_changes_no_others(card):
    content = json.loads(card.read_text())
    first = ModelCard.model_validate(content).digest
    content["stack"]["fine"]["blocks"] = 2
    assert ModelCard.model_validate(content).digest != first
    known = "ea3bd32e05a82c3d570055913febb1ea"
    assert zoo.read_card("bicubic").digest.startswith(known)


CONFIG = """
name: small
description: For tests.
guide: backprojection
guides: [B02, B03, B04, B08]
bands: [B05, B11]
reference_reflectance: [0.3, 0.3, 0.3, 0.5, 0.3, 0.5]
mtf_nyquist: [0.26, 0.28, 0.24, 0.26, 0.38, 0.22]
coarse: {scale: 2, features: 8, growth: 4, blocks: 1}
fine: {scale: 4, features: 8, growth: 4, blocks: 1}
scenes:
  - {name: one, fine: fine.tif, coarse: coarse.tif}
  - {name: two, fine: both.tif, coarse: both.tif}
patch_px: 4
batch: 2
steps: 4
"""


@pytest.fixture
def lessons(tmp_path, sample) -> Path:
    """A configuration and imagery of two scenes, one of them on one grid."""
    fine = sample[:, :128, :128]
    coarse = fine[2:].reshape(2, 64, 2, 64, 2).mean(axis=(2, 4)).astype(np.uint16)
    write_raster(tmp_path / "fine.tif", fine)
    write_raster(tmp_path / "coarse.tif", coarse, names=COARSE_BANDS)
    repeated = coarse.repeat(2, axis=1).repeat(2, axis=2)
    write_raster(tmp_path / "both.tif", np.concatenate([fine, repeated]), names=BANDS)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def test_a_scene_on_one_grid_is_read_as_on_two(lessons):
    config = read_stack_config(lessons / "config.yaml")
    for one, two in zip(*(read_scene(each, config, lessons) for each in config.scenes), strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=0)


def test_an_interrupted_run_ends_with_the_same_weights(lessons, monkeypatch):
    config = read_stack_config(lessons / "config.yaml")
    training.train_stack(config, lessons, lessons / "whole", quiet=True)
    monkeypatch.setattr(training, "_LOG_EVERY", 1)
    batch = training._batch

    def killed(config, step, views, shares, number):
        if (step, number) == ("fine", 2):
            raise KeyboardInterrupt
        return batch(config, step, views, shares, number)

    monkeypatch.setattr(training, "_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        training.train_stack(config, lessons, lessons / "parts", quiet=True)
    monkeypatch.setattr(training, "_batch", batch)
    training.train_stack(config, lessons, lessons / "parts", quiet=True)
    for step in training.STEPS:
        whole, parts = (load_file(lessons / run / f"{step}.safetensors") for run in ("whole", "parts"))
        assert any(value.any() for key, value in whole.items() if key.startswith("conv_last"))
        assert all(torch.equal(whole[key], parts[key]) for key in whole)
    with pytest.raises(ResumeError, match="another run"):
        training.train_stack(config, lessons, lessons / "parts", "one", quiet=True)
    with pytest.raises(TrainingError, match="no scene three"):
        training.train_stack(config, lessons, lessons / "none", "three", quiet=True)


def test_measured_on_a_reduced_scene_perfect_guidance_beats_interpolation(lessons):
    """A band that is a guide's, sharpened with the coefficient 1: nearly the truth."""
    config = read_stack_config(lessons / "config.yaml")
    fine, coarse = read_scene(config.scenes[0], config, lessons)
    view = scales(fine, coarse, config, "coarse", None)[0]
    model = training.untrained(config, "coarse").eval()
    # The truth is the guides' red and infrared, as the test made it.
    model.network.conv_last.bias.data[[0 * 4 + 2, 1 * 4 + 3]] = 1.0
    figures = compare_reduced(model, view.truth[None], view.guides[None], config.units()[1])
    assert figures["fusion"].rmse[1] < 0.6 * figures["bicubic"].rmse[1]
    assert figures["fusion"].spectral_angle_deg < figures["bicubic"].spectral_angle_deg
    assert all(a < b for a, b in zip(figures["fusion"].consistency, figures["bicubic"].consistency, strict=True))


def test_a_reduced_scene_is_its_own_bicubic_reference(lessons):
    config = read_stack_config(lessons / "config.yaml")
    fine, coarse = read_scene(config.scenes[0], config, lessons)
    model = training.untrained(config, "coarse").eval()
    truth = scales(fine, coarse, config, "coarse", None)[0].truth[None]
    expected = upsample(model.sensor.observe(truth), 2) - truth
    figures = compare_reduced(model, truth, torch.zeros(1, 4, *truth.shape[2:]), torch.ones(1, 2, 1, 1))
    inside = expected[..., 8:-8, 8:-8].square().mean(dim=(0, 2, 3)).sqrt()
    np.testing.assert_allclose(figures["bicubic"].rmse, inside, rtol=1e-5)


@pytest.fixture(scope="module")
def calibrated(card) -> Path:
    """Card of the model with half-widths."""
    content = json.loads(card.read_text())
    content["calibration"] = {"level": 0.9, "factors": [1, 1, 1, 1, 1, 2]}
    path = card.with_name("calibrated.json")
    path.write_text(json.dumps(content))
    return path


def test_uncertainty_goes_beside_a_product_of_ten_bands(calibrated, item, tmp_path):
    output = upscaled(item, calibrated, tmp_path / "out.tif", uncertainty=True, core_px=64)
    widths = read_raster(tmp_path / "out_uncertainty.tif")
    measured = read_raster(tmp_path / "out_measured.tif")
    assert widths.shape == read_raster(output).shape
    assert measured.shape == (1, *widths.shape[1:])
    assert measured.max() <= 100
    # Half-widths are at least the noise, and largest where most was added.
    assert (widths[4:] >= 10).all()
    whole = upscaled(item, calibrated, tmp_path / "whole.tif", uncertainty=True, core_px=256)
    np.testing.assert_array_equal(read_raster(whole), read_raster(upscaled(item, calibrated, tmp_path / "plain.tif")))
    assert np.abs(read_raster(tmp_path / "whole_uncertainty.tif").astype(int) - widths).max() <= 1
    assert np.abs(read_raster(tmp_path / "whole_measured.tif").astype(int) - measured).max() <= 1


def test_half_widths_are_multiplied_by_their_calibration(calibrated, sample):
    model, lr = build_stack(zoo.read_card(str(calibrated))), input_of(sample)
    estimator = StackUncertaintyEstimator(model, REFERENCE, (1, 1, 1, 1, 1, 2))
    with torch.inference_mode():
        made = model.make(lr)
        ratio = estimator.half_width(made) / estimator.uncalibrated(made)
    torch.testing.assert_close(ratio[:, :5], torch.ones_like(ratio[:, :5]))
    torch.testing.assert_close(ratio[:, 5], 2 * torch.ones_like(ratio[:, 5]))


def test_a_calibration_holds_on_the_scenes_that_it_is_of(card, lessons):
    config = read_stack_config(lessons / "config.yaml")
    runs = {}
    for name in ("one", "two"):
        training.train_stack(config, lessons, lessons / name, name, quiet=True)
        runs[name] = lessons / name
    content = zoo.read_card(str(card)).model_copy(update={"reference_reflectance": config.reference_reflectance})
    made = calibrate_stack(content, config, runs, lessons, "test")
    assert len(made.calibration.factors) == len(BANDS)
    # Both scenes are the same ground: what was calibrated on one holds on the other.
    for shares in made.coverage.values():
        assert set(shares) == set(COARSE_BANDS)
        assert all(0.85 < share < 0.95 for share in shares.values())


@pytest.mark.slow
def test_a_finished_run_becomes_a_model_with_its_figures(lessons, item, tmp_path, monkeypatch):
    monkeypatch.setattr(stack_model, "_HALO_SIDE_PX", 80)
    config = read_stack_config(lessons / "config.yaml")
    training.train_stack(config, lessons, lessons / "run", quiet=True)
    training.train_stack(config, lessons, lessons / "left", "one", quiet=True)
    zoo_folder = tmp_path / "zoo"
    zoo_folder.mkdir()
    made = stack_model.release(lessons / "config.yaml", lessons / "run", {"one": lessons / "left"}, lessons, zoo_folder)
    told = zoo.read_card(str(zoo_folder / "small.json"))
    assert told.digest == made.digest
    assert set(told.figures["left_out"]["one"]) == {"coarse", "fine"}
    differences = told.figures["halo_difference_dn"]
    assert differences[str(told.halo_px)] < MOST_HALO_DN
    with rasterio.open(upscaled(item, zoo_folder / "small.json", tmp_path / "out.tif")) as raster:
        assert raster.descriptions == BANDS
    with pytest.raises(TrainingError, match="did not leave two out"):
        stack_model.release(lessons / "config.yaml", lessons / "run", {"two": lessons / "left"}, lessons, zoo_folder)
