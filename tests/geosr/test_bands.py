"""Bands of a scene and those of a model: what is missing, and what to do about it."""

from __future__ import annotations

import pytest

from geosr.errors import ModelError
from geosr.model.bands import map_bands
from geosr.model.zoo import read_card
from tests.conftest import call_geosr, write_raster


def test_bands_that_the_user_left_out_are_told_apart_from_those_that_the_source_lacks(tmp_path, sample, capsys):
    source = write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    assert call_geosr("upscale", source, "-o", tmp_path / "o.tif", "--bands", "B04,B03,B02") == 1
    said = capsys.readouterr().err
    assert "--bands asks for B04, B03, B02 alone: ask for B08 as well if the source has it, leave --bands out" in said
    source = write_raster(tmp_path / "b.tif", sample[:3, :8, :8], names=("B02", "B03", "B04"))
    assert call_geosr("upscale", source, "-o", tmp_path / "o.tif") == 1
    assert "the source has no B08 among B02, B03, B04" in capsys.readouterr().err


def test_a_message_names_no_more_bands_than_can_be_read():
    with pytest.raises(ModelError) as refused:
        map_bands([f"band {i}" for i in range(1, 101)], read_card("rgbn-x4"), plain_image=False)
    assert "band 15, band 16 and 84 more: name unnamed bands" in str(refused.value)


def test_thousands_of_bands_are_refused_by_models_for_any():
    with pytest.raises(ModelError, match="1001 bands are too many"):
        map_bands([f"band {i}" for i in range(1001)], read_card("backprojection"), plain_image=False)
