"""A training that takes seconds, for tests in which what it learns need not be good."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from geosr.training.run_folder import RunFolder

TINY = """
name: tiny
seed: 3
bands: [B02, B03, B04, B08]
descriptions: {B02: [B02], B03: [B03], B04: [B04], B08: [B08]}
reference_reflectance: [0.3, 0.3, 0.3, 0.5]
mtf_nyquist: [0.26, 0.28, 0.24, 0.26]
network: {features: 8, growth: 4, blocks: 1}
sources: [{glob: "*.tif", full_scale: 10000, gain: [0.8, 1.2]}]
validation: [{glob: "*.tif", full_scale: 10000, gain: [1, 1]}]
patch_lr_px: 12
batch: 4
steps: 40
learning_rate: 2.0e-3
warmup: 5
validate_every: 20
checkpoint_every: 10
"""


@contextmanager
def killed_after(step: int, copy: Path) -> Iterator[None]:
    """Copy what a run that is killed after this step has. (A schedule of fewer steps would be another.)"""
    save = RunFolder.save

    def keep(self, at, *arguments):
        save(self, at, *arguments)
        if at == step:
            shutil.copytree(self.path, copy)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "save", keep)
        yield
