"""Requests for runs, from options with the command's names."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from catalog import SceneRequest
from geosr.engine import EngineChoice
from geosr.model.zoo import ModelRef
from geosr.run.request import Cluster, UpscaleRequest

_PARTS = {"engine": EngineChoice, "cluster": Cluster}


def upscale_request(scene: SceneRequest | Path | str, output, **options) -> UpscaleRequest:
    """The request to upscale a scene, or the raster at a path; ``model`` is a name."""
    scene = scene if isinstance(scene, SceneRequest) else SceneRequest(str(scene))
    chosen = {
        part: cls(**{field.name: options.pop(field.name) for field in fields(cls) if field.name in options})
        for part, cls in _PARTS.items()
    }
    model = {new: options.pop(old) for old, new in (("model", "name"), ("sharpness", "sharpness")) if old in options}
    return UpscaleRequest(scene, output, ModelRef(**model), **chosen, **options)
