"""Contenders: models, by name or file, and the interpolations that every model is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rasterio.windows import Window
from torch import Tensor
from torch.nn import functional as F

from catalog.sentinel2 import BANDS
from geosr.errors import ModelError
from geosr.evaluate.esrgan import read_checkpoint
from geosr.inference.scene_calibration import calibration_windows, scene_factors
from geosr.model import zoo
from geosr.model.build import build
from geosr.model.card import Calibration, ModelCard
from geosr.model.esrgan_checkpoint import SUFFIXES
from geosr.model.generator import Generator
from geosr.model.kernels import SQUARE_PIXEL_MTF, mtf_to_sigma
from geosr.model.rrdb import RRDBNet
from geosr.model.scene_calibration import calibration_ratios
from geosr.model.sensor import Sensor

#: Always compared with; the one of them that gains are counted from.
BASELINES = ("nearest", "bilinear", "bicubic", "backprojection")
REFERENCE_NAME = "bicubic"
_OTHER_BICUBIC = "bicubic (a = -3/4)"

#: Names of all that need no weights.
INTERPOLATIONS = (*BASELINES, _OTHER_BICUBIC)

#: All models and the sensor have it.
SCALE = 4


@dataclass(frozen=True)
class ContenderOutput:
    """A result, reflectance ``(bands, 4 rows, 4 cols)``."""

    image: Tensor
    half_width: Tensor | None = None
    """Calibrated half-width of each pixel's interval, reflectance, shaped as the image."""


@dataclass(frozen=True)
class Contender:
    """Something that upscales reflectance ``(bands, rows, cols)`` four times."""

    name: str
    bands: tuple[str, ...]
    """In the order in which ``run`` takes and gives them."""
    run: Callable[[Tensor], ContenderOutput]
    level: float | None = None
    """Share of pixels whose truth lies within the half-width, as promised; None without half-widths."""
    multiply_adds_per_lr_px: int = 0
    digest: str | None = None
    """Identity of the model."""
    for_plain_images: bool = False
    """True for a network for values from 0 to 1: it is then given shares of the set's :func:`white`."""


@dataclass(frozen=True)
class Opened:
    """A model before it is built: what its card says, and its network where no card names its weights."""

    card: ModelCard
    network: RRDBNet | None = None


def open_model(name: str) -> Opened:
    """A shipped model, a card (.json) or a checkpoint of ESRGAN's form. Raises :class:`ModelError`."""
    path = Path(name)
    opened = Opened(*read_checkpoint(path)) if path.suffix in SUFFIXES else Opened(zoo.read_card(name))
    if opened.card.scale != SCALE:
        raise ModelError(f"model {name} is ×{opened.card.scale}: only ×{SCALE} can be evaluated")
    strange = [band for band in opened.card.bands or () if band not in BANDS]
    if strange:
        raise ModelError(
            f"model {name} is for {', '.join(strange)}: only models for Sentinel-2's bands can be evaluated"
        )
    return opened


def transfers_of(bands: Sequence[str], card: ModelCard) -> dict[str, float]:
    """Modulation transfer at Nyquist by band: as the card assumes it, else as published, else that of square pixels."""
    assumed = dict(zip(card.bands or (), card.mtf_nyquist or (), strict=False))
    return {band: assumed.get(band) or BANDS[band].mtf_nyquist or SQUARE_PIXEL_MTF for band in bands}


def sensor_of(bands: Sequence[str], transfers: Mapping[str, float]) -> Sensor:
    """The blur of these bands."""
    return Sensor([mtf_to_sigma(transfers[band], SCALE) for band in bands], SCALE)


def contender(opened: Opened, bands: Sequence[str], sensor: Sensor) -> Contender:
    """A model made ready; one for any bands is given these, and their blur."""
    card = opened.card
    if card.bands is None:
        model = Generator(sensor, base=card.base, steps=card.steps)
    elif opened.network is not None:
        own = sensor_of(card.bands, transfers_of(card.bands, card))
        model = Generator(own, network=opened.network, base=card.base, steps=card.steps)
    else:
        model = build(card, [BANDS[band].mtf_nyquist for band in card.bands])
    made = of_generator(
        card.name, model, card.bands or tuple(bands), card.reference_reflectance, card.halo_px, card.calibration
    )
    return replace(
        made,
        multiply_adds_per_lr_px=card.multiply_adds_per_lr_px,
        digest=card.digest,
        for_plain_images=opened.network is not None,
    )


def of_generator(
    name: str,
    model: Generator,
    bands: tuple[str, ...],
    reference: Sequence[float] | None,
    halo_px: int,
    calibration: Calibration | None = None,
) -> Contender:
    """A generator as a function of a whole reflectance image, mirrored at its edges as products are.

    With a ``calibration`` its half-widths are given too, each image taken as a scene of its own.
    """
    unit = torch.tensor(reference or [1.0] * len(bands)).reshape(-1, 1, 1)
    margin = halo_px * model.scale

    def run(lr: Tensor) -> ContenderOutput:
        padded = np.pad(lr.numpy(), ((0, 0), (halo_px, halo_px), (halo_px, halo_px)), mode="symmetric")
        entering = (torch.from_numpy(padded) / unit)[None]
        with torch.inference_mode():
            if calibration is None:
                return ContenderOutput(_inside(model(entering)[0] * unit, margin))
            image, half_width = (_inside(one[0] * unit, margin) for one in model.with_half_width(entering))
            return ContenderOutput(image, half_width * _factors(model, lr, unit, halo_px, calibration))

    return Contender(name, bands, run, None if calibration is None else calibration.level)


def _factors(model: Generator, lr: Tensor, unit: Tensor, halo_px: int, calibration: Calibration) -> Tensor:
    """Factors on the half-widths of a scene, ``(bands, 1, 1)``."""
    whole = Window(0, 0, lr.shape[2], lr.shape[1])
    squares = [window.toslices() for window in calibration_windows(whole, model.scale, calibration)]
    parts = [
        calibration_ratios(model, lr[:, rows, cols] / unit, unit, halo_px).flatten(1).numpy() for rows, cols in squares
    ]
    ratios = np.concatenate([np.empty((len(lr), 0), np.float32), *parts], axis=1)
    return torch.tensor(scene_factors(list(ratios), calibration.level, calibration.scene_exponent)).reshape(-1, 1, 1)


def baselines(bands: tuple[str, ...], sensor: Sensor) -> list[Contender]:
    """The interpolations, of which two are called bicubic: a = -1/2 (GDAL, Pillow) and a = -3/4 (PyTorch, OpenCV)."""
    made = [contender(Opened(zoo.read_card(name)), bands, sensor) for name in BASELINES]

    def other_bicubic(lr: Tensor) -> ContenderOutput:
        return ContenderOutput(F.interpolate(lr[None], scale_factor=SCALE, mode="bicubic")[0])

    after = 1 + BASELINES.index(REFERENCE_NAME)
    return [*made[:after], Contender(_OTHER_BICUBIC, bands, other_bicubic), *made[after:]]


def white(inputs: Sequence[Tensor]) -> float:
    """Reflectance that is 1 at the input of networks for plain images: 99.9 % of a set's values lie below it.

    One for all bands and images of a set, so that nothing is stretched. Of such networks it asks nothing that they
    were not trained for: with a fixed 0.3, Real-ESRGAN loses 4 dB on imagery that is brighter than that.
    """
    return float(np.quantile(np.concatenate([lr.numpy().ravel() for lr in inputs]), 0.999))


def _inside(image: Tensor, margin: int) -> Tensor:
    return image[:, margin : image.shape[1] - margin, margin : image.shape[2] - margin]
