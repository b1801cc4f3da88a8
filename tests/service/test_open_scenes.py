"""Scenes that are kept open: the latest that were used, by tiles as well."""

from __future__ import annotations

import numpy as np

from geosr.service import scenes as scenes_module
from geosr.service.database import Database
from geosr.service.scenes import Scenes
from geosr.service.security.api_keys import Caller
from geosr.service.settings import ServiceSettings
from tests.conftest import RGBN, write_raster
from tests.service.conftest import PLAIN


def test_the_latest_that_were_used_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes_module, "_KEPT_OPEN", 2)
    scenes, nobody = Scenes(Database(tmp_path), ServiceSettings(data=tmp_path, model=PLAIN)), Caller(None)
    pixels = np.random.default_rng(1).integers(400, 3000, (len(RGBN), 32, 32)).astype(np.uint16)
    first, second, third = (
        scenes.add_upload(write_raster(tmp_path / f"{name}.tif", pixels), name, nobody).id for name in "abc"
    )
    assert scenes.open_already(first, nobody) is None
    shown = scenes.open_already(second, nobody)
    assert shown is not None
    scenes.get(first, nobody)
    assert scenes.open_already(third, nobody) is None
    assert scenes.open_already(second, nobody) is shown
    assert scenes.open_already(second, Caller("another")) is shown, "what has no key is everybody's"
