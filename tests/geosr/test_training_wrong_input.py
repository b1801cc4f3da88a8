"""Wrong configurations of trainings and pair sets, and what is no checkpoint: one line each, and an exit code."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

import geosr.training.loop as training
from geosr.errors import TrainingError
from geosr.release.stack_model import release
from geosr.training.config import read_config
from geosr.training.loop import Start, learning_rate, train
from geosr.training.reduced_scenes import read_stack_config
from geosr.training.run_folder import WEIGHTS
from geosr.training.stack_loop import _rate, train_stack
from tests.conftest import REPOSITORY, SAMPLE, call_geosr
from tests.small_training import TINY

SOURCE = {"glob": "*.tif", "full_scale": 10000, "gain": [1, 1]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"warmup": -1}, "wrong at warmup"),
        ({"checkpoint_every": 0}, "wrong at checkpoint_every"),
        ({"validate_every": 0}, "wrong at validate_every"),
        ({"scale": 2}, "wrong at scale: Input should be 4"),
        ({"sources": []}, "nothing to train on"),
        ({"sources": [{**SOURCE, "reduce": {1: 0}}]}, "nothing to train on"),
        ({"sources": [{**SOURCE, "reduce": {0: 1}}]}, "wrong at sources.0.reduce.0"),
        ({"sources": [{**SOURCE, "gain": [0, 1]}]}, "wrong at sources.0.gain.0"),
        ({"sources": [{**SOURCE, "full_scale": 0}]}, "wrong at sources.0.full_scale"),
        ({"sources": [{**SOURCE, "rows": [0.5, 0.5]}]}, "wrong at sources.0: Value error, rows are"),
        ({"descriptions": {"B02": ["B02"]}}, "descriptions says nothing of B03, B04, B08"),
        ({"mtf_nyquist": [1.2, 0.28, 0.24, 0.26]}, "wrong at mtf_nyquist.0"),
        ({"mtf_nyquist": [0.3]}, "mtf_nyquist has one number for each of the 4 bands, not 1"),
        ({"reference_reflectance": [0.3]}, "reference_reflectance has one number for each of the 4 bands, not 1"),
        ({"reference_reflectance": [0.3, 0.3, 0, 0.5]}, "wrong at reference_reflectance.2"),
        ({"bands": []}, "wrong at bands"),
        ({"bands": ["B02", "B03", "B04", "B04"]}, "bands names one twice"),
        ({"steps": 0}, "wrong at steps"),
        ({"batch": 0}, "wrong at batch"),
        ({"patch_lr_px": 0}, "wrong at patch_lr_px"),
        ({"learning_rate": 0}, "wrong at learning_rate"),
        ({"network": {"features": 0}}, "wrong at network.features"),
        ({"noise_pairs": 1}, "noise_pairs and loss.noise_passed go together"),
        ({"noise_pairs": 5, "batch": 8, "loss": {"noise_passed": 0.1}}, "noise_pairs is at most half of the batch, 4"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, changes, said):
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(TINY), **changes}))
    with pytest.raises(TrainingError) as refused:
        read_config(path)
    assert said in str(refused.value)


@pytest.mark.parametrize("pattern", [str(SAMPLE), "**.tif", "", "."])
def test_what_is_no_pattern_of_files_is_told_in_one_line(tmp_path, capsys, pattern):
    def refused(code, *arguments):
        assert call_geosr(*arguments) == code
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    train, pairs = tmp_path / "train.yaml", tmp_path / "pairs.yaml"
    train.write_text(yaml.safe_dump({**yaml.safe_load(TINY), "sources": [{**SOURCE, "glob": pattern}]}))
    said = refused(1, "train", train, "--data", SAMPLE.parent, "-o", tmp_path / "run")
    assert f"{pattern!r} is not a pattern of files" in said or "no imagery matches ." in said
    if pattern in ("**.tif", "."):
        said = refused(2, "evaluate", "bicubic", SAMPLE.parent, "--full-scale", 10000, "--glob", pattern)
        assert f"{pattern!r} is not a pattern of files" in said or "no imagery matches ." in said
    if pattern == "**.tif":
        imagery = {"sources": [pattern]}
        pairs.write_text(yaml.safe_dump({"name": "x", "bands": ["B04"], "lr": imagery, "hr": imagery}))
        said = refused(1, "pairs", "build", pairs, "--data", SAMPLE.parent, "-o", tmp_path / "set")
        assert "'**.tif' is not a pattern of files" in said


def test_without_a_warm_up_the_first_step_is_at_the_height(tiny):
    assert learning_rate(tiny.model_copy(update={"warmup": 0}), 0) == pytest.approx(tiny.learning_rate)
    stack = read_stack_config(REPOSITORY / "configs" / "s2_ten_x4.yaml")
    assert _rate(stack.model_copy(update={"warmup": 0}), 0) == pytest.approx(stack.learning_rate)


def test_weights_that_have_had_all_steps_are_not_trained(tiny, tmp_path):
    start = Start(tmp_path / "weights.safetensors", tiny.steps)
    with pytest.raises(TrainingError, match="40 steps already, of the configuration's 40"):
        train(tiny, SAMPLE.parent, tmp_path / "run", start, quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_is_noticed_before_it_is_kept(tiny, tmp_path, monkeypatch):
    """Whichever step of an interval it is."""
    config = tiny.model_copy(update={"steps": 4, "checkpoint_every": 1, "validate_every": 4})
    monkeypatch.setattr(training, "tolerant", lambda _, sr, *rest: sr.mean() * (math.nan if rest[-1] == 2 else 1))
    monkeypatch.setattr(training.PatchSampler, "slack_hr_px", lambda _, step: step)
    with pytest.raises(TrainingError, match="no longer a number at step 3: lower learning_rate"):
        train(config, SAMPLE.parent, tmp_path / "run", quiet=True)
    assert all(bool(value.isfinite().all()) for value in load_file(tmp_path / "run" / WEIGHTS).values())


def test_a_stack_without_scenes_is_refused(tmp_path):
    stack = read_stack_config(REPOSITORY / "configs" / "s2_ten_x4.yaml")
    one = stack.model_copy(update={"scenes": stack.scenes[:1]})
    with pytest.raises(TrainingError, match="it is the only scene"):
        train_stack(one, tmp_path, tmp_path / "run", one.scenes[0].name, quiet=True)
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump({**stack.model_dump(mode="json"), "scenes": []}))
    with pytest.raises(TrainingError, match="wrong at scenes"):
        read_stack_config(path)


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"xx", b"\x80\x02", b"not a checkpoint at all\n", bytes(64)])
def test_what_is_no_checkpoint_is_told_in_one_line(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    command = ("models", "adapt", tmp_path / name, "--bands", "B02,B03,B04", "-o", tmp_path / "card.json")
    assert call_geosr(*command) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{name} is not a checkpoint of tensors alone: " in said


def test_a_checkpoint_that_holds_code_is_refused_without_advice_to_run_it(tmp_path, capsys):
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Path(tmp_path)))
    assert call_geosr("models", "adapt", tmp_path / "a.pth", "--bands", "B02,B03,B04", "-o", tmp_path / "c.json") == 1
    said = capsys.readouterr().err
    assert said.endswith("a.pth is not a checkpoint of tensors alone: its pickle is damaged or holds code\n")


def test_a_stack_is_released_with_its_own_configuration_alone(tmp_path):
    path, run, zoo = REPOSITORY / "configs" / "s2_ten_x4.yaml", tmp_path / "run", tmp_path / "zoo"
    for folder in (run, zoo):
        folder.mkdir()
    content = read_stack_config(path).model_dump(mode="json")
    (run / "run.json").write_text(json.dumps({"config": {**content, "seed": 8, "warmup": 1}, "leave_out": None}))
    with pytest.raises(TrainingError, match="another configuration, which differs in seed, warmup"):
        release(path, run, {}, tmp_path, zoo)
    (run / "run.json").unlink()
    with pytest.raises(TrainingError, match="does not say how the run was trained"):
        release(path, run, {}, tmp_path, zoo)
    assert not list(zoo.iterdir())


def test_a_training_without_imagery_leaves_no_folder(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    with pytest.raises(TrainingError, match="no imagery matches"):
        train(read_config(path), tmp_path, tmp_path / "run", quiet=True)
    assert [one.name for one in tmp_path.iterdir()] == ["tiny.yaml"]
