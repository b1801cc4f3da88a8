"""Patches of sets that ``geosr pairs build`` made, for training: reflectance, and where in each a crop may lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor

from catalog.radiometry import reflectance_of
from geosr.errors import TrainingError

if TYPE_CHECKING:
    from geosr.training.config import PairSet, TrainingConfig


def read_pair_set(
    pair_set: PairSet, config: TrainingConfig, data: Path
) -> list[tuple[Tensor, Tensor, list[tuple[int, int]]]]:
    """LR and HR ``(bands, rows, cols)`` of every patch, and the first row and column of each crop that is all measured.

    Crops have the side of the configuration's patches. Patches that hold none are left out.

    Raises :class:`TrainingError` for a set that is missing, damaged, or of other bands or another scale.
    """
    folder = data / pair_set.folder
    about, shards = _index(folder)
    if about["scale"] != config.scale:
        raise TrainingError(f"{folder} holds pairs at scale {about['scale']}, and {config.scale} is trained")
    missing = [band for band in config.bands if band not in about["bands"]]
    if missing:
        raise TrainingError(f"{folder} has no band {', '.join(missing)}: its bands are {', '.join(about['bands'])}")
    order = [about["bands"].index(band) for band in config.bands]
    scale, offset = float(about["dn"]["scale"]), float(about["dn"]["offset"])
    patches = []
    for name in shards:
        try:
            shard = load_file(folder / name)
        except (OSError, SafetensorError) as error:
            raise TrainingError(f"cannot read {folder / name}: {error}; build the set again") from error
        for lr, hr, valid in zip(shard["lr"], shard["hr"], shard["valid"], strict=True):
            places = _whole_crops(valid, config.patch_lr_px)
            if places:
                patches.append((_reflectance(lr[order], scale, offset), _reflectance(hr[order], scale, offset), places))
    if not patches:
        raise TrainingError(f"{folder} holds no patch with {config.patch_lr_px} measured LR pixels along each side")
    return patches


def _index(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Description of a set, and its shards."""
    path = folder / "index.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        shards = {feature["assets"]["patch"]["href"] for feature in content["features"]}
        return content["geosr:pair_set"], sorted(shards)
    except OSError as error:
        raise TrainingError(f"{folder} holds no pair set (no index.json): make one with geosr pairs build") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is not the index of a pair set: build the set again") from error


def _reflectance(dn: NDArray[np.uint16], scale: float, offset: float) -> Tensor:
    return torch.from_numpy(reflectance_of(dn, scale, offset))


def _whole_crops(valid: NDArray[np.uint8], side: int) -> list[tuple[int, int]]:
    """First row and column of every square of this side in which all is measured."""
    if min(valid.shape) < side:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(valid, (side, side))
    rows, cols = np.nonzero(windows.all(axis=(2, 3)))
    return list(zip(rows.tolist(), cols.tolist(), strict=True))
