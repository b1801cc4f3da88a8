"""A small model with calibrated half-widths, and runs with it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from catalog import SceneRequest
from geosr.model.rrdb import RRDBNet
from geosr.run.request import UpscaleRequest
from tests.conftest import RGBN
from tests.upscaling import upscale_request

HALO = 24
FACTORS = (1.0, 0.5, 2.0, 0.75)
REFERENCE = (0.05, 0.08, 0.09, 0.25)
LEFT = ["in.tif", "out.json", "out.tif", "out_measured.tif", "out_uncertainty.tif"]


def write_calibrated_model(folder: Path) -> str:
    """Write the card of a small network with random weights, whose half-widths are declared calibrated."""
    size = {"features": 8, "growth": 4, "blocks": 1, "tail": "shuffle", "width_features": 8}
    torch.manual_seed(7)
    network = RRDBNet(4, 4, **size)
    torch.nn.init.normal_(network.conv_last.weight, std=0.02)
    torch.nn.init.normal_(network.width.conv_last.weight, std=0.3)
    save_file(network.state_dict(), folder / "tiny.safetensors")
    card = {
        "name": "tiny",
        "description": "Random weights.",
        "bands": RGBN,
        "reference_reflectance": REFERENCE,
        "mtf_nyquist": (0.26, 0.28, 0.24, 0.26),
        "network": size,
        "weights": "tiny.safetensors",
        "weights_sha256": hashlib.sha256((folder / "tiny.safetensors").read_bytes()).hexdigest(),
        "halo_px": HALO,
        "calibration": {
            "level": 0.9,
            "factors": FACTORS,
            "dates": {"most": 0.4, "half_at": 0.5},
            "data": {"nowhere": 1000},
        },
    }
    path = folder / "tiny.json"
    path.write_text(json.dumps(card))
    return str(path)


def request(source: Path, model: str, **options) -> UpscaleRequest:
    fixed = {"model": model, "core_px": 20, "uncertainty": True}
    return upscale_request(SceneRequest(str(source)), source.with_name("out.tif"), **{**fixed, **options})


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("out")}


def tree_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
