"""Pieces of ``scripts/gpu.sh``: small on a processor, refused where there is neither CUDA nor the small form."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from geosr.training.draw_ahead import draw_ahead
from tests.conftest import REPOSITORY, SAMPLE
from tests.small_training import TINY


def piece(tmp_path, name, *arguments, **environment):
    return subprocess.run(
        ["sh", REPOSITORY / "scripts" / "gpu.sh", name, tmp_path / "work", *arguments],
        env={**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_machine_without_cuda_is_told_so(tmp_path):
    run = piece(tmp_path, "engines")
    assert run.returncode == 1
    assert run.stderr == "PyTorch finds no CUDA device: run this on a machine that has one, or with SMOKE=1\n"


def test_an_unknown_piece_and_missing_imagery_are_refused(tmp_path):
    unknown, missing = piece(tmp_path, "frob", SMOKE="1"), piece(tmp_path, "train", SMOKE="1")
    assert (unknown.returncode, missing.returncode) == (2, 2)
    assert "PIECE: tests, engines" in unknown.stderr
    assert missing.stderr == "train needs the folder of the training imagery as the third argument\n"


@pytest.mark.slow
def test_training_goes_on_from_piece_to_piece(tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY.replace("steps: 40", "steps: 10").replace("every: 20", "every: 10"))
    environment = {"SMOKE": "1", "CONFIG": str(config)}
    first = piece(tmp_path, "train", SAMPLE.parent, MINUTES="0.0001", **environment)
    assert first.returncode == 0, first.stderr
    assert "at step 1 of 10: the same command goes on from there" in first.stdout
    second = piece(tmp_path, "train", SAMPLE.parent, **environment)
    assert second.returncode == 0, second.stderr
    assert "from step 1" in second.stderr
    assert "weights.safetensors, metrics.jsonl" in second.stdout


@pytest.mark.slow
def test_the_engines_are_measured_small(tmp_path):
    run = piece(tmp_path, "engines", SMOKE="1")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "work" / "engines.json").is_file()


class _CountingSampler:
    """Stands for a sampler: a batch is its step."""

    def batch(self, step):
        return (step,)


def test_batches_come_in_the_order_of_their_steps():
    assert list(draw_ahead(_CountingSampler(), 3, 8, "cpu")) == [(3,), (4,), (5,), (6,), (7,)]
