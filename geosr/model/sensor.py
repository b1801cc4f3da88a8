"""What the sensor does to the ground: its blur, its sampling, and the step back from a residual to pixels.

A band's point-spread function is a Gaussian that has the band's published modulation transfer at the Nyquist
frequency. ``observe`` turns a high-resolution image into what the sensor would have recorded; ``back_project`` moves
an image towards one whose observation is the recorded one (Irani and Peleg, 1991).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Modulation transfer at Nyquist of a square pixel that integrates its own footprint and nothing else, sinc(1/2).
#: Used for images whose sensor is unknown: taking the blur too small is mild, taking it too large is not.
SQUARE_PIXEL_MTF = 2 / math.pi

#: Whole LR pixels that the sampled Gaussian reaches beyond its own: 4.4 standard deviations of Sentinel-2's B04 at ×4.
_REACH_LR_PX = 2

#: Whole LR pixels that cubic convolution reaches.
_CUBIC_REACH_LR_PX = 2


def mtf_to_sigma(mtf_nyquist: float, scale: int) -> float:
    """Standard deviation, in high-resolution pixels, of the Gaussian with this transfer at the LR grid's Nyquist.

    From ``exp(-2 (pi f sigma)^2) = mtf`` at ``f = 1 / (2 scale)`` cycles per high-resolution pixel.
    """
    return scale * math.sqrt(-2 * math.log(mtf_nyquist)) / math.pi


def gaussian_taps(sigma: Tensor, scale: int) -> Tensor:
    """The Gaussian around the centre of an LR pixel, sampled at HR pixel centres: ``(..., taps)``, sums to one.

    ``sigma`` has any shape, in HR pixels. There are ``scale * (1 + 2 reach)`` taps, symmetric about the block's centre.
    """
    count = scale * (1 + 2 * _REACH_LR_PX)
    offsets = torch.arange(count, dtype=torch.float32, device=sigma.device) - (count - 1) / 2
    taps = torch.exp(-0.5 * (offsets / sigma.unsqueeze(-1)) ** 2)
    return taps / taps.sum(dim=-1, keepdim=True)


def blur_and_sample(hr: Tensor, taps_y: Tensor, taps_x: Tensor, scale: int) -> Tensor:
    """Blur each channel and sample the centre of each ``scale × scale`` block.

    ``hr`` is ``(n, channels, scale rows, scale cols)``; ``taps_y`` and ``taps_x`` are ``(channels, taps)``. Beyond the
    image its edge repeats. Returns ``(n, channels, rows, cols)``.
    """
    channels = hr.shape[1]
    pad = scale * _REACH_LR_PX
    hr = F.pad(hr, (pad, pad, pad, pad), mode="replicate")
    hr = F.conv2d(hr, taps_x[:, None, None, :], stride=(1, scale), groups=channels)
    return F.conv2d(hr, taps_y[:, None, :, None], stride=(scale, 1), groups=channels)


def upsample(lr: Tensor, scale: int) -> Tensor:
    """Cubic convolution with a = -1/2 (Keys, 1981), pixel centres aligned: the bicubic of GDAL and Pillow."""
    # antialias changes nothing when enlarging, but selects a = -1/2 instead of -3/4.
    return F.interpolate(lr, scale_factor=scale, mode="bicubic", align_corners=False, antialias=True)


class Sensor(nn.Module):
    """The blur of each band of one sensor, on a grid ``scale`` times finer than its own."""

    taps: Tensor
    round_trip_taps: Tensor

    def __init__(self, sigmas: Sequence[float], scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("taps", gaussian_taps(torch.tensor(sigmas, dtype=torch.float32), scale), persistent=False)
        self.register_buffer("round_trip_taps", self._measure_round_trip(), persistent=False)

    def observe(self, hr: Tensor) -> Tensor:
        """What the sensor would record: ``(n, bands, scale rows, scale cols)`` to ``(n, bands, rows, cols)``."""
        return blur_and_sample(hr, self.taps, self.taps, self.scale)

    def back_project(self, hr: Tensor, lr: Tensor, valid: Tensor | None = None, steps: int = 1) -> Tensor:
        """``steps`` of ``hr + U(lr - observe(hr))``; LR pixels that are not ``valid`` pull at nothing.

        What a step leaves of the residual is the residual less its own round trip, ``observe(U(residual))``, which is
        a small filter at low resolution: further steps cost next to nothing, and all are interpolated at once.
        """
        residual = self._masked(lr - self.observe(hr), valid)
        pull = residual
        for _ in range(steps - 1):
            residual = self._masked(residual - self._round_trip(residual), valid)
            pull = pull + residual
        return hr + upsample(pull, self.scale)

    @staticmethod
    def _masked(residual: Tensor, valid: Tensor | None) -> Tensor:
        return residual if valid is None else residual * valid

    def _round_trip(self, lr: Tensor) -> Tensor:
        """``observe(upsample(lr))``, at low resolution; equal to it but for the image's edges."""
        pad = self.round_trip_taps.shape[-1] // 2
        lr = F.pad(lr, (pad, pad, pad, pad), mode="replicate")
        lr = F.conv2d(lr, self.round_trip_taps[:, None, None, :], groups=lr.shape[1])
        return F.conv2d(lr, self.round_trip_taps[:, None, :, None], groups=lr.shape[1])

    def _measure_round_trip(self) -> Tensor:
        """``(bands, taps)``: what becomes of an impulse that is interpolated and observed, along one axis."""
        reach = _REACH_LR_PX + _CUBIC_REACH_LR_PX
        impulse = torch.zeros(1, len(self.taps), 1, 1 + 4 * reach)
        impulse[..., 2 * reach] = 1
        seen = self.observe(upsample(impulse, self.scale))
        return seen[0, :, 0, reach : reach + 2 * reach + 1].contiguous()
