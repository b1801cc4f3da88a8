"""Bands of one name are told apart by their place, or refused where a model asks for the name."""

from __future__ import annotations

import numpy as np
import pytest

from catalog import SceneRequest
from geosr.errors import ModelError
from geosr.model import zoo
from geosr.model.bands import map_bands
from geosr.run.pipeline import super_resolve
from tests.conftest import read_raster, write_raster
from tests.upscaling import upscale_request


def test_models_of_any_bands_keep_each_in_its_place():
    mapping = map_bands(("refl", "x", "refl"), zoo.read_card("bicubic"), plain_image=False)
    pixels = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    assert mapping.keep == ("refl", "x", "refl")
    assert (mapping.enter(pixels) == pixels).all()
    assert (mapping.leave(pixels) == pixels).all()


def test_a_band_that_the_model_needs_and_the_source_has_twice_is_refused():
    with pytest.raises(ModelError, match="B03 more than once"):
        map_bands(("B02", "B03", "B03", "B04", "B08"), zoo.read_card(zoo.DEFAULT_MODEL), plain_image=False)


def test_colours_are_known_by_their_names_in_any_order():
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    pixels = np.arange(3, dtype=np.float32).reshape(3, 1, 1)
    mapping = map_bands(("blue", "green", "red"), card, plain_image=True)
    entered = dict(zip(card.bands, mapping.enter(pixels).ravel(), strict=True))
    assert (entered["B02"], entered["B03"], entered["B04"]) == (0, 1, 2)
    assert (mapping.leave(mapping.enter(pixels)) == pixels).all()


def test_bands_of_one_name_are_not_added_up(tmp_path, sample):
    path = write_raster(tmp_path / "in.tif", sample[:2, :20, :20], names=("refl", "refl"))
    super_resolve(upscale_request(SceneRequest(str(path)), tmp_path / "out.tif", model="bicubic", device="cpu"))
    high = read_raster(tmp_path / "out.tif").reshape(2, 20, 4, 20, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(high.mean(axis=(1, 2)), sample[:2, :20, :20].mean(axis=(1, 2)), rtol=0.02)
