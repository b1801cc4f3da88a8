"""Images on which our measures are compared with those of opensr-test: the bundled sample, upscaled well and badly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from geosr.model.kernels import mtf_to_sigma
from geosr.model.sensor import Sensor

SAMPLE = Path(__file__).parent.parent / "geosr" / "data" / "sample.tif"

SCALE = 4

#: Sentinel-2's transfer at Nyquist in B02, B03, B04 and B08.
MTF_NYQUIST = (0.26, 0.28, 0.24, 0.26)


@dataclass(frozen=True)
class Inputs:
    """Reflectance ``(bands, rows, cols)``: the truth, what the sensor sees of it, and images upscaled from that."""

    hr: Tensor
    lr: Tensor
    sr: dict[str, Tensor]


def make_inputs() -> Inputs:
    """Make the inputs, equal at every call, and on every machine but for rounding."""
    with rasterio.open(SAMPLE) as raster:
        hr = torch.from_numpy(raster.read().astype(np.float32) / np.float32(10000))
    sensor = Sensor([mtf_to_sigma(mtf, SCALE) for mtf in MTF_NYQUIST], SCALE)
    lr = sensor.observe(hr[None])[0]
    bicubic = F.interpolate(lr[None], scale_factor=SCALE, mode="bicubic", antialias=True)[0]
    noise = torch.from_numpy(np.random.default_rng(0).uniform(-0.02, 0.02, hr.shape).astype(np.float32))
    sr = {
        "identity": hr,
        "nearest": lr.repeat_interleave(SCALE, dim=1).repeat_interleave(SCALE, dim=2),
        "bilinear": F.interpolate(lr[None], scale_factor=SCALE, mode="bilinear")[0],
        "bicubic": bicubic,
        "sharpened": bicubic + 1.5 * (bicubic - blurred(bicubic)),
        "back-projected": sensor.back_project(bicubic[None], lr[None])[0],
        "noisy": (hr + noise).clamp(min=0),
        "biased": 1.05 * hr + 0.01,
        "shifted": shifted(hr, 1.3, -0.7),
        "shifted far": torch.roll(hr, (24, 8), dims=(1, 2)),
        "false detail": (bicubic + torch.roll(hr - bicubic, (90, 60), dims=(1, 2))).clamp(min=0),
    }
    return Inputs(hr, lr, sr)


def shifted(image: Tensor, dy: float, dx: float) -> Tensor:
    """The image with its content moved down and to the right, pixels."""
    return torch.from_numpy(ndimage.shift(image.numpy(), (0, dy, dx), order=3, mode="nearest"))


def blurred(image: Tensor) -> Tensor:
    """The image through a Gaussian of 2 pixels."""
    return torch.from_numpy(ndimage.gaussian_filter(image.numpy(), (0, 2, 2), mode="nearest"))
