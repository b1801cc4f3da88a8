"""Models of a user's own: the margin that they need, measured, and card and weights put in place together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from safetensors.torch import save
from torch import Tensor

from geosr.errors import ExistsError, UsageError
from geosr.evaluate.halo import DN
from geosr.model.card import ModelCard, NetworkSize, read_card_file
from geosr.model.generator import Generator
from geosr.model.kernels import MOST_HALO_DN, sensor_sigmas
from geosr.model.margins import crop
from geosr.model.rrdb import RRDBNet
from geosr.model.sensor import Sensor
from geosr.training.config import TrainingConfig

#: Margins that are tried, LR pixels. Each layer of a published network reaches a pixel further, hundreds in all, and
#: those trained to invent detail carry far: where the last is too small, the card says by how much.
_MARGINS_PX = (8, 16, 24, 32, 48)

#: Of the bundled sample: the chunk on which the margin is measured.
_SAMPLE = Path(__file__).parent.parent / "data" / "sample.tif"
_CORE_PX = 16
_CENTRE_PX = 150


def places(output: Path, *sources: Path, overwrite: bool) -> Path:
    """Path of a card's weights.

    Refuses, before anything is computed, what cannot be written and what would replace a source: raises
    :class:`UsageError` and :class:`ExistsError`.
    """
    if output.suffix != ".json":
        raise UsageError(f"the output {output} is the model's card: name it .json")
    if not output.parent.is_dir():
        raise UsageError(f"cannot write {output}: the folder {output.parent} does not exist")
    weights = output.with_suffix(".safetensors")
    for path in (output, weights):
        if path.exists() and not (overwrite and path.is_file()):
            raise ExistsError(f"{path} exists: {'it is not a file' if overwrite else '--overwrite replaces it'}")
        if path.exists() and any(source.exists() and source.samefile(path) for source in sources):
            raise ExistsError(f"writing {path} would replace what the model is made of: name another file")
    return weights


def fields_of(config: TrainingConfig) -> dict[str, Any]:
    """Fields of a card that follow from the configuration of the run alone."""
    return {
        "scale": config.scale,
        "bands": config.bands,
        "reference_reflectance": config.reference_reflectance,
        "mtf_nyquist": config.mtf_nyquist,
        "base": config.base,
        "steps": config.back_projection_steps,
        "noise_limit": config.noise_limit,
        "plain_image_noise_limit": config.plain_image_noise_limit,
        "input_limit": config.input_limit,
        "overshoot": config.overshoot,
        "network": NetworkSize(**config.network.model_dump()),
    }


def write(card: ModelCard, weights: Mapping[str, Tensor], output: Path) -> ModelCard:
    """Put a card and its weights in place; returns the card as it is read from there."""
    content = save({name: value.contiguous() for name, value in weights.items()})
    card = ModelCard.model_validate(
        card.model_copy(update={"weights_sha256": hashlib.sha256(content).hexdigest()}).model_dump()
        | {"folder": output.parent.resolve()}
    )
    _replace(output.with_suffix(".safetensors"), content)
    _replace(output, (card.model_dump_json(indent=2) + "\n").encode())
    return read_card_file(output)


def measure_halo(card: ModelCard, network: RRDBNet) -> tuple[int, dict[str, float]]:
    """The smallest margin with which a chunk of the bundled sample is as with the largest and half as much again.

    As in :mod:`geosr.evaluate.halo`, that is by less than half a DN; the largest, when none is. Also returns the
    difference of each that was tried, DN.
    """
    assert card.mtf_nyquist is not None, "a network is made for a sensor's blur"
    assert card.reference_reflectance is not None, "and for a range of reflectance"
    sensor = Sensor(sensor_sigmas(card.mtf_nyquist, card.scale), card.scale)
    model = Generator(
        sensor,
        network=network,
        base=card.base,
        steps=card.steps,
        noise_limits=card.noise_limits(plain_image=False),
        input_limits=card.input_limits,
    ).eval()
    unit = torch.tensor(card.reference_reflectance).reshape(-1, 1, 1)
    far = _MARGINS_PX[-1] * 3 // 2
    with torch.inference_mode():
        whole = crop(model(_chunk(unit, far)), far * model.scale)
    curve: dict[str, float] = {}
    for halo_px in _MARGINS_PX:
        with torch.inference_mode():
            inside = model.inside(_chunk(unit, halo_px), halo_px)
        difference = float(((inside - whole) * unit).abs().max()) / DN
        curve[str(halo_px)] = round(difference, 2)
        if difference < MOST_HALO_DN:
            return halo_px, curve
    return _MARGINS_PX[-1], curve


def _chunk(unit: Tensor, halo_px: int) -> Tensor:
    """A chunk of the sample with its margin, in units of reference reflectance. Its bands are taken in turn."""
    side = _CORE_PX + 2 * halo_px
    corner = _CENTRE_PX - side // 2
    with rasterio.open(_SAMPLE) as raster:
        indexes = [1 + i % raster.count for i in range(len(unit))]
        pixels = raster.read(indexes, window=Window(corner, corner, side, side)).astype(np.float32)
        reflectance = torch.from_numpy(pixels * raster.scales[0] + raster.offsets[0])
    return (reflectance / unit)[None]


def _replace(path: Path, content: bytes) -> None:
    """Put a file in place in one go."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)
