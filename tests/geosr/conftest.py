"""Fixtures of several subjects."""

from __future__ import annotations

import pytest

from geosr.training import curves
from geosr.training.config import read_config
from tests.conftest import write_raster
from tests.geosr.calibrated_model import write_calibrated_model
from tests.small_training import TINY


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return read_config(path)


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out the pictures of runs that are trained in this process."""
    monkeypatch.setattr(curves, "draw", lambda *_: None)


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    """Card of a small model with calibrated half-widths."""
    return write_calibrated_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def source(tmp_path, sample):
    """A small crop of the sample as a file with scale, offset and nodata."""
    return write_raster(tmp_path / "in.tif", sample[:, :60, :40], nodata=0, scale=1e-4, offset=-0.1)


@pytest.fixture
def crop(tmp_path, sample):
    """A crop of the sample as a file without scale."""
    return write_raster(tmp_path / "in.tif", sample[:, :60, :80], nodata=0)
