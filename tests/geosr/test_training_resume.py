"""What a run that was killed at an awkward moment leaves, once it has gone on: its weights, and honest figures."""

from __future__ import annotations

import pytest

from geosr.training.run import WEIGHTS
from geosr.training.train import train
from tests.conftest import SAMPLE
from tests.small_training import killed_after


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
