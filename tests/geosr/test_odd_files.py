"""Odd files end in one clear line: encodings, depth, long names, cards, weights and checkpoints that are none."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from catalog import AreaError, RequestError, SceneRequest, SourceError, open_scene, read_aoi, read_sensor
from geosr.errors import ModelError, TrainingError
from geosr.model.card import read_card_file
from geosr.model.esrgan_checkpoint import read_checkpoint
from geosr.model.rrdb import RRDBNet
from geosr.training.config import read_config
from tests.conftest import call_geosr, run_geosr, write_raster
from tests.small_model import write_small_model

DEEP = "[" * 100_000


def test_documents_nested_too_deeply_are_told_in_one_line(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text(DEEP)
    with pytest.raises(AreaError, match="nested too deeply"):
        read_aoi(path)
    with pytest.raises(ModelError, match="nested too deeply"):
        read_card_file(path)
    path = tmp_path / "deep.yaml"
    path.write_text(DEEP[:20_000])
    with pytest.raises(RequestError, match="nested too deeply"):
        read_sensor(str(path))
    with pytest.raises(TrainingError, match="nested too deeply"):
        read_config(path)


@pytest.mark.parametrize(
    "text", ["a: 2023-13-45", "a: " + "9" * 5000, "1: 2", "- 1", "? [1, 2]\n: 3", "!!python/object:x {}", "\x00"]
)
def test_yaml_of_odd_values_is_told_in_one_line(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match="is not"):
        read_sensor(str(path))
    with pytest.raises(TrainingError, match=r"is not|is wrong"):
        read_config(path)


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": 3},
        {"type": "Polygon"},
        {"type": "Polygon", "coordinates": 7},
        [],
        5,
        {"type": "Polygon", "coordinates": [[[1, "a"]]]},
    ],
)
def test_messages_on_areas_are_not_in_pythons_words(tmp_path, geometry):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"type": "Feature", "geometry": geometry}))
    with pytest.raises(AreaError) as refused:
        read_aoi(path)
    assert not {"Error", "object", "attribute"} & set(str(refused.value).replace("(", " ").split())


def test_names_that_no_file_can_have_are_told_in_one_line(tmp_path, capsys):
    with pytest.raises(SourceError, match=r"cannot open x+…: File name too long"):
        open_scene(SceneRequest("x" * 5000 + ".tif"))
    with pytest.raises(SourceError, match="holds a NUL"):
        open_scene(SceneRequest("a\0.tif"))
    with pytest.raises(SourceError, match="is not UTF-8"):
        open_scene(SceneRequest(os.fsdecode(b"a\xff.tif")))
    for option in ("--aoi", "--sensor", "--model"):
        code = call_geosr("upscale", "a.tif", "-o", tmp_path / "o.tif", option, "x" * 5000 + ".json")
        said = capsys.readouterr().err
        assert code in (1, 2)
        assert said.count("\n") == 1
        assert "internal error" not in said
        assert len(said) < 2100


def test_names_of_bands_that_are_not_utf_8_are_told_in_one_line(tmp_path, sample):
    path = write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    path.write_bytes(path.read_bytes().replace(b">B08<", b">\xdf08<"))
    with pytest.raises(SourceError, match="text that is not UTF-8"):
        open_scene(SceneRequest(str(path)))


def test_results_are_printed_whatever_the_terminals_encoding(tmp_path, sample):
    source = write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    done = run_geosr("upscale", source, "-o", tmp_path / "ü.tif", "--model", "bicubic", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("wrote ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reference_reflectance", [0.3, float("nan"), 0.3, 0.5]),
        ("reference_reflectance", [0.3, float("inf"), 0.3, 0.5]),
        ("reference_reflectance", [1e-30, 0.3, 0.3, 0.5]),
        ("reference_reflectance", [1e30, 0.3, 0.3, 0.5]),
        ("effective_resolution_lr_px", float("nan")),
        ("effective_resolution_lr_px", -1),
        ("gsd_m", float("inf")),
        ("halo_px", 10**9),
        ("steps", 10**9),
        ("scale", 10**6),
        ("bands", ["B02", "B02", "B03", "B04"]),
        ("bands", ["B02", "", "B03", "B04"]),
        ("name", "x" * 1000),
        ("calibration", {"level": 0.9, "factors": [1, 1, float("nan"), 1]}),
        ("calibration", {"level": 0.9, "factors": [1, 1, -1, 1]}),
        ("network", {"features": 10**9, "growth": 4, "blocks": 1}),
        ("network", {"features": 8, "growth": 0, "blocks": 1}),
        ("network", {"features": 8, "growth": 4, "blocks": 10**9}),
    ],
)
def test_values_of_cards_that_are_absurd_are_refused(tmp_path, field, value):
    path = write_small_model(tmp_path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {field: value}))
    with pytest.raises(ModelError, match="is not a model card: "):
        read_card_file(path)


def small_model(tmp_path, change, **fields):
    """A card with weights that ``change`` was done to."""
    from safetensors.torch import load_file

    card = write_small_model(tmp_path)
    weights = {name: change(name, value) for name, value in load_file(tmp_path / "own.safetensors").items()}
    save_file(weights, tmp_path / "own.safetensors")
    digest = hashlib.sha256((tmp_path / "own.safetensors").read_bytes()).hexdigest()
    card.write_text(json.dumps(json.loads(card.read_text()) | {"weights_sha256": digest} | fields))
    return card


@pytest.mark.parametrize(
    ("change", "fields", "said"),
    [
        (lambda _, value: torch.full_like(value, torch.nan), {}, "no finite number"),
        (
            lambda _, value: torch.zeros_like(value),
            {"base": "none", "steps": 0},
            "all of conv_first are 0, so that its images are constant",
        ),
    ],
)
def test_weights_that_make_no_images_are_refused(tmp_path, sample, capsys, change, fields, said):
    card = small_model(tmp_path, change, **fields)
    source = write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    assert call_geosr("upscale", source, "-o", tmp_path / "o.tif", "--model", card) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "o.tif").exists()


def rrdb_state():
    return RRDBNet(3, 3, features=8, growth=4, blocks=1, tail="interpolate").state_dict()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: dict(enumerate(state.values())), "they are numbered"),
        (lambda state: state | {"conv_first.weight": torch.tensor(1.0)}, "not that of a convolution"),
        (lambda state: state | {"body.0.rdb1.conv1.weight": torch.tensor(1.0)}, "not that of a convolution"),
        (
            lambda state: state | {"body.999999999.rdb1.conv1.weight": torch.zeros(1)},
            "blocks: Input should be less than",
        ),
        (lambda state: state | {"conv_last.weight": torch.zeros(3, 8, 5, 5)}, "size mismatch"),
        (lambda state: state | {"conv_hr.weight": torch.full((8, 8, 3, 3), torch.nan)}, "no finite numbers"),
        (lambda state: state | {"conv_hr.weight": torch.zeros(8, 8, 3, 3, dtype=torch.complex64)}, "complex"),
        (lambda state: state | {"conv_hr.weight": torch.zeros(2, 2).to_sparse()}, "sparse"),
        (lambda state: [1, 2], "holds no network's weights"),
        (lambda state: {}, "has no 'conv_first.weight'"),
    ],
)
def test_checkpoints_that_are_none_of_esrgans_are_told_in_one_line(tmp_path, change, said):
    path = tmp_path / "odd.pth"
    torch.save(change(rrdb_state()), path)
    with pytest.raises(ModelError) as refused:
        read_checkpoint(path)
    assert said in str(refused.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_checkpoints_raise_nothing_else(tmp_path, suffix):
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"damaged{suffix}"
    if suffix == ".pth":
        torch.save(rrdb_state(), whole)
    else:
        save_file(rrdb_state(), whole)
    content = whole.read_bytes()
    random = np.random.default_rng(7)
    for _ in range(40):
        damaged = bytearray(content[: int(random.integers(len(content)))] if random.random() < 0.3 else content)
        for place in random.integers(max(1, min(len(damaged), 3000)), size=8):
            if damaged:
                damaged[place] = int(random.integers(256))
        path.write_bytes(damaged)
        with suppress(ModelError):
            read_checkpoint(path)
