"""Runs that were killed at an awkward moment go on to their weights, with honest figures."""

from __future__ import annotations

import pytest
from safetensors.torch import save_file

import geosr.training.loop as training
from geosr.training.loop import Start, train
from geosr.training.run_folder import WEIGHTS, RunFolder, read_figures
from tests.conftest import SAMPLE
from tests.small_training import killed_after

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize("lost", [True, False])
def test_a_finished_run_has_its_weights_again(tiny, tmp_path, lost):
    """Those that a kill between checkpoint and weights left missing, or as they were at the checkpoint before."""
    config = tiny.model_copy(update={"steps": 2, "checkpoint_every": 1, "validate_every": 2})
    run = tmp_path / "run"
    with killed_after(1, tmp_path / "before"):
        train(config, SAMPLE.parent, run, quiet=True)
    weights, before = ((folder / WEIGHTS).read_bytes() for folder in (run, tmp_path / "before"))
    assert weights != before
    if lost:
        (run / WEIGHTS).unlink()
    else:
        (run / WEIGHTS).write_bytes(before)
    train(config, SAMPLE.parent, run, quiet=True)
    assert (run / WEIGHTS).read_bytes() == weights


def losses(run):
    """The steps of all figures of the loss, and the figures."""
    lines = [line for line in read_figures(run) if "loss" in line]
    return [line["step"] for line in lines], [line["loss"] for line in lines]


def test_the_loss_of_an_interval_is_the_mean_of_the_steps_in_it(tiny, tmp_path, monkeypatch):
    """That of the first is of the steps after the checkpoint alone, where the run went on in its middle."""
    monkeypatch.setattr(training, "_LOG_EVERY", 4)
    # Losses that say which step they are of, and still have a slope.
    monkeypatch.setattr(training, "tolerant", lambda _, sr, *rest: 0 * sr.mean() + rest[-1])
    monkeypatch.setattr(training.PatchSampler, "slack_hr_px", lambda _, step: step)
    config = tiny.model_copy(update={"steps": 8, "checkpoint_every": 3, "validate_every": 8})
    with killed_after(3, tmp_path / "killed"):
        train(config, SAMPLE.parent, tmp_path / "whole", quiet=True)
    train(config, SAMPLE.parent, tmp_path / "killed", quiet=True)
    assert losses(tmp_path / "whole") == ([4, 8], [1.5, 5.5])
    assert losses(tmp_path / "killed") == ([4, 8], [3.0, 5.5])


class KilledError(Exception):
    """Ends a run."""


@pytest.mark.parametrize("origin", [0, 2])
def test_a_run_without_a_checkpoint_leaves_no_figure_twice(tiny, tmp_path, monkeypatch, origin):
    monkeypatch.setattr(training, "_LOG_EVERY", 1)
    config = tiny.model_copy(update={"steps": 4, "checkpoint_every": 4, "validate_every": 4})
    start = None
    if origin:
        network = training.build_generator(config).network
        save_file(network.state_dict(), tmp_path / "begun.safetensors")
        start = Start(tmp_path / "begun.safetensors", origin)

    def killed(*_):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save", killed)
        with pytest.raises(KilledError):
            train(config, SAMPLE.parent, tmp_path / "run", start, quiet=True)
    assert losses(tmp_path / "run")[0] == list(range(origin + 1, 5))
    train(config, SAMPLE.parent, tmp_path / "run", start, quiet=True)
    assert losses(tmp_path / "run")[0] == list(range(origin + 1, 5))
