"""Truth to the source in units of its noise, gain at other blurs than assumed, and compressed plain images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from geosr.evaluate.contenders import SCALE
from geosr.evaluate.metrics import psnr
from geosr.evaluate.real.subject import Subject
from geosr.model.kernels import mtf_to_sigma
from geosr.model.sensor import Sensor, upsample

#: Side of the blocks whose mean is to be kept, source pixels.
_BLOCK_PX = 8

#: Pixels of the source left out at the edges.
_BORDER_PX = 4

#: Qualities at which plain images are compressed; None for without loss.
QUALITIES = (60, 75, 90, None)

#: Noise of simulated sources where blurs are compared, reflectance.
_NOISE = 0.001

_DN = 1e4


@dataclass(frozen=True)
class Residual:
    """Difference between the source and the product seen through the sensor."""

    in_noise: float
    """Root mean square, in standard deviations of the source's noise."""
    in_dn: float
    """Root mean square, DN."""
    blocks_dn: float
    """The largest difference of means over 8 × 8 source pixels, DN."""


def residual(subject: Subject, clean: Tensor, bands: Sequence[str], noise: float, seed: int = 1) -> Residual:
    """Measure the residual to a clean source, reflectance ``(bands, rows, cols)``, with this noise added."""
    rng = torch.Generator().manual_seed(seed)
    lr = (clean + noise * torch.randn(clean.shape, generator=rng))[[bands.index(one) for one in subject.common(bands)]]
    common = subject.common(bands)
    difference = (subject.sensor(common).observe(subject(lr, common)[None])[0] - lr).double()
    inside = difference[:, _BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX]
    rms = float(inside.square().mean().sqrt())
    blocks = F.avg_pool2d(difference, _BLOCK_PX)[:, 1:-1, 1:-1]
    return Residual(rms / noise, rms * _DN, float(blocks.abs().max()) * _DN)


def gain_at_blur(subject: Subject, truths: Sequence[Tensor], bands: Sequence[str], blur_factor: float) -> float:
    """PSNR over bicubic interpolation, dB, where the sensor's blur is a multiple of what the subject assumes."""
    common = subject.common(bands)
    sensor = Sensor([blur_factor * mtf_to_sigma(subject.transfers[one], SCALE) for one in common], SCALE)
    rng = torch.Generator().manual_seed(0)
    gains = []
    for truth in truths:
        hr = truth[[bands.index(one) for one in common]]
        lr = sensor.observe(hr[None])[0]
        lr = lr + _NOISE * torch.randn(lr.shape, generator=rng)
        gains.append(psnr(subject(lr, common), hr) - psnr(upsample(lr[None], SCALE)[0], hr))
    return float(np.mean(gains))


def compressed(subject: Subject, truths: Sequence[Tensor], quality: int | None) -> tuple[float, float] | None:
    """PSNR of the subject and of bicubic interpolation, dB, of plain images saved at a JPEG quality (None: PNG).

    ``truths`` are red, green and blue from 0 to 1, ``(3, rows, cols)``; each is reduced by the mean of 4 × 4 pixels and
    rounded to 8 bits. Returns None for a subject that does not take plain images.
    """
    if subject.for_plain_images is None:
        return None
    plain = Subject(subject.name, subject.bands, subject.for_plain_images, subject.transfers)
    names = ("B04", "B03", "B02")
    ours, interpolated = [], []
    for truth in truths:
        lr = _saved(F.avg_pool2d(truth[None], SCALE)[0], quality)
        ours.append(psnr(plain(lr, names).clamp(0, 1), truth))
        interpolated.append(psnr(upsample(lr[None], SCALE)[0].clamp(0, 1), truth))
    return float(np.mean(ours)), float(np.mean(interpolated))


def _saved(image: Tensor, quality: int | None) -> Tensor:
    """The image as it is read from a file, 8 bits."""
    pixels = np.rint(image.clamp(0, 1).numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
    buffer = io.BytesIO()
    if quality is None:
        Image.fromarray(pixels).save(buffer, format="PNG")
    else:
        Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
    read = np.asarray(Image.open(buffer)).astype(np.float32) / 255
    return torch.from_numpy(read.transpose(2, 0, 1).copy())
