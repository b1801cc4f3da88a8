"""Sharpness: 0 is the model as it was, above 0 its weights are mixed, and the product says so."""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import pytest
import rasterio
import rioxarray
from safetensors.torch import save_file

import geosr
from catalog import SceneRequest
from geosr.engine import EngineSpec, Parallel
from geosr.engine.openvino_engine import OpenVinoEngine
from geosr.engine.torch_engine import TorchEngine
from geosr.errors import ModelError, ResumeError, UsageError
from geosr.inference.upscaler import ModelSpec
from geosr.model import zoo
from geosr.model.build import build
from geosr.model.rrdb import RRDBNet
from geosr.model.weights import read_weights
from geosr.model.zoo import ModelRef
from geosr.run.cluster import _files_of
from geosr.run.pipeline import super_resolve
from geosr.run.uncertainty_layers import check_calibrated
from geosr.service.jobs.inputs import UpscaleInputs
from geosr.service.jobs.orders import parse_inputs
from geosr.service.settings import ServiceSettings
from tests.conftest import assert_valid_item, call_geosr, read_raster, write_raster
from tests.small_model import SIZE, small_network, write_small_model
from tests.upscaling import upscale_request


@pytest.fixture
def mine(tmp_path):
    return write_small_model(tmp_path)


@pytest.fixture
def crop(tmp_path, sample):
    return write_raster(tmp_path / "in.tif", sample[:, :40, :50], nodata=0)


def without_visual(card):
    """Write the card of a model without its visual weights."""
    content = json.loads(card.read_text())
    del content["visual"]
    path = card.with_name("former.json")
    path.write_text(json.dumps(content))
    return path


def upscaled(source, output, **options):
    super_resolve(upscale_request(SceneRequest(str(source)), output, precision="float32", **options))
    with rasterio.open(output) as raster:
        return raster.read(), raster.tags()


def test_without_sharpness_a_model_is_what_it_was(tmp_path, mine, crop):
    former = without_visual(mine)
    card, old = zoo.read_card(str(mine)), zoo.read_card(str(former))
    assert card.digest == old.digest
    assert card.sharpened(0) is card
    for path in (mine, former):
        super_resolve(upscale_request(SceneRequest(str(crop)), tmp_path / "out.tif", model=str(path), overwrite=True))
        path.with_suffix(".kept").write_bytes((tmp_path / "out.tif").read_bytes())
    assert mine.with_suffix(".kept").read_bytes() == former.with_suffix(".kept").read_bytes()


def test_the_shipped_model_is_what_it_was():
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    assert card.visual is not None
    content = card.model_dump(mode="json")
    assert "sharpness" not in content
    del content["visual"]
    assert type(card).model_validate(content).digest == card.digest


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_weights_are_mixed_linearly(mine, share):
    own, visual = small_network(1).state_dict(), small_network(2).state_dict()
    mixed = read_weights(zoo.read_card(str(mine), share))
    assert mixed.keys() == own.keys()
    for name, values in mixed.items():
        expected = own[name] if name.startswith("width.") else (1 - share) * own[name] + share * visual[name]
        np.testing.assert_allclose(values, expected.numpy(), atol=1e-7, err_msg=name)
    if share == 1:
        assert (mixed["conv_first.weight"] == visual["conv_first.weight"].numpy()).all()


def test_both_engines_mix(mine):
    card = zoo.read_card(str(mine), 0.5)
    mtf, parallel = card.transfers([None] * 4, plain_image=False), Parallel(1, 1)
    lr = np.random.default_rng(0).random((4, 36, 36), dtype=np.float32)
    valid = np.ones(lr.shape, bool)
    engines = (
        OpenVinoEngine(card, mtf, EngineSpec("openvino-cpu", "float32"), parallel),
        TorchEngine(card, build(card, mtf), EngineSpec("torch-cpu", "float32"), parallel),
    )
    one, other = (engine.upscale(lr, valid).polyphase for engine in engines)
    np.testing.assert_allclose(one, other, atol=1e-4)
    plain = zoo.read_card(str(mine))
    before = TorchEngine(plain, build(plain, mtf), EngineSpec("torch-cpu", "float32"), parallel).upscale(lr, valid)
    # Of which the halo is narrower.
    assert np.abs(before.polyphase[..., 2:-2, 2:-2] - other).max() > 1e-3


def test_identity_and_halo_are_those_of_the_mixture(mine):
    cards = [zoo.read_card(str(mine), share) for share in (0, 0.25, 0.5)]
    # Asked of the first before the others are made of it.
    assert len({card.digest for card in cards}) == 3
    assert len({cards[0].sharpened(share).digest for share in (0, 0.25, 0.5)}) == 3
    assert [card.halo_px for card in cards] == [8, 10, 10]
    assert [card.steps for card in cards] == [4, 6, 6]
    assert cards[1].calibration is None
    assert cards[1].effective_resolution_lr_px is None


def test_a_visual_product_says_so(tmp_path, mine, crop):
    plain, former = upscaled(crop, tmp_path / "plain.tif", model=str(mine))
    sharp, tags = upscaled(crop, tmp_path / "sharp.tif", model=str(mine), sharpness=0.5)
    assert (plain != sharp).any()
    assert tags["GEOSR_SHARPNESS"] == "0.5"
    assert tags["GEOSR_VISUAL_WEIGHTS_SHA256"] == zoo.read_card(str(mine)).visual.weights_sha256
    assert "visual product, sharpness 0.5" in tags["GEOSR_DETAIL"]
    assert "not for measuring" in tags["GEOSR_NOTES"]
    assert "GEOSR_EFFECTIVE_RESOLUTION" not in tags
    assert_valid_item(tmp_path / "sharp.json")
    item = (tmp_path / "sharp.json").read_text()
    assert "visual product, sharpness 0.5" in json.loads(item)["properties"]["processing:lineage"]
    assert json.loads(item)["properties"]["processing:expression"]["expression"]["sharpness"] == 0.5
    assert "SHARPNESS" not in " ".join(former)
    assert "sharpness" not in (tmp_path / "plain.json").read_text()


def test_a_visual_product_keeps_to_the_source(tmp_path, mine, crop):
    """Back-projection ends both: what the sensor sees of them is the source."""
    for share in (0.0, 1.0):
        _, tags = upscaled(crop, tmp_path / f"{share}.tif", model=str(mine), sharpness=share)
        values = [float(part.split()[1]) for part in tags["GEOSR_CONSISTENCY_DN"].split(", ")]
        assert max(values) < 40


@pytest.mark.parametrize("share", [-0.1, 1.01, math.nan, math.inf])
def test_a_sharpness_beyond_its_range_is_refused(mine, share):
    with pytest.raises(UsageError, match="from 0 to 1"):
        zoo.read_card(str(mine), share)


def test_a_model_without_visual_weights_is_not_sharpened():
    with pytest.raises(UsageError, match="bicubic has no weights for visual products"):
        zoo.read_card("bicubic", 0.5)


def test_half_widths_do_not_go_with_sharpness(tmp_path, mine, crop):
    check_calibrated(zoo.read_card(str(mine)))
    with pytest.raises(UsageError, match="calibrated for sharpness 0"):
        upscaled(crop, tmp_path / "out.tif", model=str(mine), sharpness=0.5, uncertainty=True)
    assert not (tmp_path / "out.tif").exists()


def test_visual_weights_are_held_against_the_card(mine):
    visual = mine.with_name("visual.safetensors")
    kept = visual.read_bytes()
    visual.write_bytes(kept[:-4] + b"\0\0\0\1")
    with pytest.raises(ModelError, match="changed or damaged"):
        read_weights(zoo.read_card(str(mine), 0.5))
    visual.unlink()
    with pytest.raises(ModelError, match="missing"):
        read_weights(zoo.read_card(str(mine), 0.5))
    # Nobody needs them for the model itself.
    read_weights(zoo.read_card(str(mine)))


def test_visual_weights_of_another_size_are_refused(mine):
    content = json.loads(mine.read_text())
    visual = mine.with_name("visual.safetensors")
    save_file(RRDBNet(4, 4, **{**SIZE, "features": 6}).state_dict(), visual)
    content["visual"]["weights_sha256"] = hashlib.sha256(visual.read_bytes()).hexdigest()
    mine.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="do not fit"):
        read_weights(zoo.read_card(str(mine), 0.5))


def test_another_sharpness_is_another_run(tmp_path, mine, crop, monkeypatch):
    from geosr.run.checkpoint import Ledger

    with monkeypatch.context() as patch:
        # As if it had been interrupted after its first chunk.
        patch.setattr(Ledger, "remove", Ledger.close)
        options = {"model": str(mine), "core_px": 20}
        upscaled(crop, tmp_path / "out.tif", sharpness=0.5, **options)
    (tmp_path / "out.tif").unlink()
    (tmp_path / "out.json").unlink()
    with pytest.raises(ResumeError, match=r"sharpness \(0\.5, now 0\.25\)"):
        upscaled(crop, tmp_path / "out.tif", sharpness=0.25, **options)


def test_arrays_are_sharpened_as_files_are(tmp_path, mine, crop):
    sharp, _ = upscaled(crop, tmp_path / "out.tif", model=str(mine), sharpness=0.5)
    da = rioxarray.open_rasterio(crop)
    result = geosr.upscale(da, str(mine), precision="float32", sharpness=0.5)
    assert (result.values == sharp).all()
    assert result.attrs["GEOSR_SHARPNESS"] == 0.5
    assert "not for measuring" in result.attrs["GEOSR_DETAIL"]
    lazy = geosr.upscale(da.chunk({"x": 30}), str(mine), precision="float32", sharpness=0.5)
    assert (lazy.values == sharp).all()
    assert "GEOSR_SHARPNESS" not in geosr.upscale(da, str(mine)).attrs
    with pytest.raises(UsageError, match="from 0 to 1"):
        da.geosr.upscale(str(mine), sharpness=2)
    with pytest.raises(UsageError, match="calibrated for sharpness 0"):
        geosr.upscale(da, str(mine), sharpness=0.5, uncertainty=True)


def test_the_command_sharpens_and_refuses(tmp_path, mine, crop, capsys):
    arguments = ("upscale", crop, "-o", tmp_path / "out.tif", "--model", mine, "--quiet", "--precision", "float32")
    assert call_geosr(*arguments, "--sharpness", "0.5") == 0
    assert (
        read_raster(tmp_path / "out.tif") == upscaled(crop, tmp_path / "x.tif", model=str(mine), sharpness=0.5)[0]
    ).all()
    capsys.readouterr()
    for wrong, code, reason in (
        (("--sharpness", "1.5"), 2, "--sharpness"),
        (("--sharpness", "nan"), 2, "--sharpness"),
        (("--sharpness", "0.5", "--uncertainty"), 2, "calibrated for sharpness 0"),
        (("--sharpness", "0.5", "--model", "bicubic"), 2, "no weights for visual products"),
    ):
        assert call_geosr(*arguments, *wrong, "--overwrite") == code
        told = capsys.readouterr().err
        assert reason in told
        assert told.count("\n") == 1


def test_workers_are_sent_the_visual_weights_they_need(mine):
    plain = ModelSpec.of(ModelRef(str(mine)), EngineSpec("torch-cpu", "float32"), (), plain_image=False)
    sharp = ModelSpec.of(ModelRef(str(mine), 0.5), EngineSpec("torch-cpu", "float32"), (), plain_image=False)
    assert _files_of(plain).weights.keys() == {"own.safetensors"}
    assert _files_of(sharp).weights.keys() == {"own.safetensors", "visual.safetensors"}


def test_jobs_of_the_service_are_sharpened(tmp_path):
    settings = ServiceSettings(data=tmp_path)
    content = {"scene": "demo"}
    plain, sharp = (parse_inputs({**content, **more}, settings) for more in ({}, {"sharpness": 0.5}))
    assert (plain.sharpness, sharp.sharpness) == (0, 0.5)
    assert plain.digest() != sharp.digest()
    # What the store has of before is found again.
    former = plain.model_dump(mode="json", exclude={"priority", "sharpness"})
    assert UpscaleInputs(**former).digest() == plain.digest()
    from geosr.service.problems import Problem

    with pytest.raises(Problem, match="sharpness"):
        parse_inputs({**content, "sharpness": 2}, settings)
    with pytest.raises(Problem, match="calibrated for sharpness 0") as refused:
        parse_inputs({**content, "sharpness": 0.5, "uncertainty": True}, settings)
    assert refused.value.status == 409
    with pytest.raises(Problem, match="no weights for visual products") as refused:
        parse_inputs({**content, "sharpness": 0.5, "model": "bicubic"}, settings)
    assert refused.value.status == 409
