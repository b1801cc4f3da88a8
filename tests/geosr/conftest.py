"""Fixtures of several subjects."""

from __future__ import annotations

import pytest

from geosr.training.config import read_config
from tests.conftest import write_raster
from tests.small_training import TINY


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return read_config(path)


@pytest.fixture
def crop(tmp_path, sample):
    """A crop of the sample as a file without scale."""
    return write_raster(tmp_path / "in.tif", sample[:, :60, :80], nodata=0)
