"""Published networks in ESRGAN's form, as contenders: without our sensor, for three bands."""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from geosr.errors import ModelError
from geosr.model.card import ModelCard, NetworkSize
from geosr.model.rrdb import RRDBNet

#: Files taken for checkpoints.
SUFFIXES = (".safetensors", ".pth", ".pt")

#: Bands by their number: red, green and blue, as such networks are published, and infrared after them.
_BANDS = {3: ("B04", "B03", "B02"), 4: ("B04", "B03", "B02", "B08")}

#: LR pixels mirrored around an image, as Real-ESRGAN's own tiles have (``tile_pad`` of its inference script).
_HALO_PX = 10

#: Where training scripts put the weights inside a ``.pth`` file, the averaged ones first.
_NESTED = ("params_ema", "params")


def read_checkpoint(path: Path) -> tuple[ModelCard, RRDBNet]:
    """A checkpoint's network, its size told by its shapes, and a card that says how it is run.

    It is neither added to an interpolation nor followed by back-projection. No reflectance is named that would be 1 at
    its input: such networks are made for pictures from 0 to 1. Raises :class:`ModelError`.
    """
    state = read_state(path)
    size, bands = _size(state, path)
    network = RRDBNet(len(bands), len(bands), **size.model_dump())
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{path} is not a network of ESRGAN's form: {' '.join(str(error).split())[:200]}") from error
    card = ModelCard(
        name=path.stem,
        description="Checkpoint of ESRGAN's form, run without back-projection",
        bands=bands,
        base="none",
        steps=0,
        network=size,
        weights=path.name,
        weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        halo_px=_HALO_PX,
        multiply_adds_per_lr_px=network.multiply_adds_per_lr_pixel(),
        licence="unknown",
        folder=path.parent.resolve(),
    )
    return card, network.eval()


def read_state(path: Path) -> dict[str, Tensor]:
    """Weights by name, from a file of safetensors or of PyTorch's form. Raises :class:`ModelError`."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Only tensors: a pickle can run any code.
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ModelError(f"{path} is not a checkpoint of tensors alone: {str(error).splitlines()[0]}") from error
    for key in _NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path} holds no network's weights")
    return content


def _size(state: dict[str, Tensor], path: Path) -> tuple[NetworkSize, tuple[str, ...]]:
    try:
        features, entering = state["conv_first.weight"].shape[:2]
        growth = len(state["body.0.rdb1.conv1.weight"])
        leaving = len(state["conv_last.weight"])
        found = ("conv_up1.weight" in state, "conv_up2.weight" in state)
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"{path} is not a network of ESRGAN's form: it has no {error}; a model of ours is named by its card (.json)"
        ) from error
    if not all(found):
        raise ModelError(f"{path} is not a ×4 network of ESRGAN's form; a model of ours is named by its card (.json)")
    if entering != leaving or entering not in _BANDS:
        raise ModelError(
            f"{path} takes {entering} bands and gives {leaving}: "
            "of ESRGAN's form, ×4 networks for red, green and blue are known, or those and infrared"
        )
    blocks = 1 + max(int(match[1]) for key in state if (match := re.match(r"body\.(\d+)\.", key)))
    return NetworkSize(features=features, growth=growth, blocks=blocks, tail="interpolate"), _BANDS[entering]
