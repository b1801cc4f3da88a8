"""A small model that has all that a shipped one has, for tests in which its pixels need not be good."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from geosr.model.rrdb import RRDBNet

SIZE: dict[str, Any] = {"features": 8, "growth": 4, "blocks": 1, "tail": "shuffle", "width_features": 4}


def small_network(seed: int) -> RRDBNet:
    """A network of random weights."""
    torch.manual_seed(seed)
    made = RRDBNet(4, 4, **SIZE)
    torch.nn.init.normal_(made.conv_last.weight, std=0.02)
    return made


def write_small_model(folder: Path) -> Path:
    """Its card: with half-widths, and with visual weights, which lack them."""
    own, visual = small_network(1).state_dict(), small_network(2).state_dict()
    visual = {key: value for key, value in visual.items() if not key.startswith("width.")}
    sums = {}
    for name, state in (("own", own), ("visual", visual)):
        save_file(state, folder / f"{name}.safetensors")
        sums[name] = hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest()
    content = {
        "name": "mine",
        "description": "small",
        "bands": ["B02", "B03", "B04", "B08"],
        "reference_reflectance": [0.3, 0.3, 0.3, 0.5],
        "mtf_nyquist": [0.26, 0.28, 0.24, 0.26],
        "steps": 4,
        "network": SIZE,
        "calibration": {"level": 0.9, "factors": [1, 1, 1, 1]},
        "weights": "own.safetensors",
        "weights_sha256": sums["own"],
        "halo_px": 8,
        "effective_resolution_lr_px": 0.5,
        "visual": {"weights": "visual.safetensors", "weights_sha256": sums["visual"], "halo_px": 10, "steps": 6},
    }
    (folder / "mine.json").write_text(json.dumps(content))
    return folder / "mine.json"
