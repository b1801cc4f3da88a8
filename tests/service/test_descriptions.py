"""Descriptions of scenes are made once: lists of them are asked for again and again."""

from __future__ import annotations

import json

from geosr.service import live_scene, scenes
from geosr.service.database import Database
from geosr.service.security.api_keys import Caller
from geosr.service.settings import ServiceSettings
from tests.service.conftest import PLAIN


def test_a_scene_is_described_once_while_it_is_open(tmp_path, monkeypatch):
    made = []
    outline_of = live_scene.outline_of
    monkeypatch.setattr(live_scene, "outline_of", lambda geobox: made.append(geobox) or outline_of(geobox))
    shown = scenes.Scenes(Database(tmp_path), ServiceSettings(data=tmp_path, model=PLAIN))
    shown.add_demo()
    lists = [shown.list(Caller(None))[0] for _ in range(5)]
    assert len(made) == 1
    assert all(json.dumps(one) == json.dumps(lists[0]) for one in lists)
    # Who changes what was given changes nothing of the next.
    lists[0][0]["title"] = "other"
    assert shown.list(Caller(None))[0][0]["title"] != "other"
