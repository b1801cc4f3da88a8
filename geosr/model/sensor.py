"""Sensor model: its blur, its sampling, and the step back from a residual to pixels.

A band's point-spread function is a Gaussian that has the band's published modulation transfer at the Nyquist
frequency. ``observe`` turns a high-resolution image into what the sensor would have recorded; ``back_project`` moves
an image towards one whose observation is the recorded one (Irani and Peleg, 1991).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geosr.model import kernels
from geosr.model.kernels import BLUR_REACH, Base


def blur_and_sample(hr: Tensor, taps_y: Tensor, taps_x: Tensor, scale: int) -> Tensor:
    """Blur each channel and sample the centre of each ``scale × scale`` block.

    ``hr`` is ``(n, channels, scale rows, scale cols)``; ``taps_y`` and ``taps_x`` are ``(channels, taps)``. Beyond the
    image its edge repeats. Returns ``(n, channels, rows, cols)``.
    """
    channels = hr.shape[1]
    pad = scale * BLUR_REACH
    hr = F.pad(hr, (pad, pad, pad, pad), mode="replicate")
    hr = F.conv2d(hr, taps_x[:, None, None, :], stride=(1, scale), groups=channels)
    return F.conv2d(hr, taps_y[:, None, :, None], stride=(scale, 1), groups=channels)


def upsample(lr: Tensor, scale: int, base: Base = "bicubic") -> Tensor:
    """Interpolate, see :func:`geosr.model.kernels.interpolation`; beyond the image its edge repeats."""
    return F.pixel_shuffle(upsample_polyphase(lr, scale, base), scale)


def upsample_polyphase(lr: Tensor, scale: int, base: Base = "bicubic") -> Tensor:
    """Interpolate ``(n, bands, rows, cols)`` to polyphase channels ``(n, bands * scale * scale, rows, cols)``."""
    kernel = torch.from_numpy(kernels.interpolation(base, scale)).to(lr.device)
    return _convolve(lr, kernel[:, None].repeat(lr.shape[1], 1, 1, 1))


class Sensor(nn.Module):
    """The blur of each band of one sensor, on a grid ``scale`` times finer than its own."""

    taps: Tensor
    observation: Tensor
    upsample_observe_taps: Tensor

    def __init__(self, sigmas: Sequence[float], scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.sigmas = tuple(float(one) for one in sigmas)
        taps = kernels.gaussian_taps(np.asarray(sigmas), scale)
        for name, values in (
            ("taps", taps),
            ("observation", kernels.observation(taps, scale)),
            ("upsample_observe_taps", kernels.upsample_observe(taps, scale)),
        ):
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def observe(self, hr: Tensor) -> Tensor:
        """Observe an image: ``(n, bands, scale rows, scale cols)`` to ``(n, bands, rows, cols)``."""
        return blur_and_sample(hr, self.taps, self.taps, self.scale)

    def observe_polyphase(self, polyphase: Tensor) -> Tensor:
        """Like :meth:`observe`, of polyphase channels ``(n, bands * scale * scale, rows, cols)``; edges differ."""
        return _convolve(polyphase, self.observation)

    def back_project(self, hr: Tensor, lr: Tensor, valid: Tensor | None = None, steps: int = 1) -> Tensor:
        """``steps`` of ``hr + U(lr - observe(hr))``; LR pixels that are not ``valid`` pull at nothing."""
        polyphase = F.pixel_unshuffle(hr, self.scale)
        pull, _ = self.pull(polyphase, lr, valid, steps)
        return F.pixel_shuffle(polyphase + upsample_polyphase(pull, self.scale), self.scale)

    def pull(self, polyphase: Tensor, lr: Tensor, valid: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
        """Sum of the back-projection steps at low resolution, and the observation of the corrected image.

        A step leaves of the residual the residual minus its own step, ``observe(U(residual))``, which is
        a small filter at low resolution: further steps cost next to nothing, and all are interpolated at once.
        """
        pull, left = self.pull_by(lr - self.observe_polyphase(polyphase), valid, steps)
        return pull, lr - left

    def pull_by(self, residual: Tensor, valid: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
        """Sum of the back-projection steps that a residual asks for, and what they leave of it."""
        pull = torch.zeros_like(residual)
        for _ in range(steps):
            step = residual if valid is None else residual * valid
            pull = pull + step
            residual = residual - self._upsample_observe(step)
        return pull, residual

    def fine_noise(self, noise: Tensor) -> Tensor:
        """An estimate of noise, ``(n, bands, rows, cols)``, without its coarse part, which is radiometry.

        What :data:`geosr.model.kernels.COARSE_STEPS` round trips leave of it is coarse: a wave of 16 pixels nearly
        whole, of one of 4 pixels a fifth.
        """
        coarse = noise
        for _ in range(kernels.COARSE_STEPS):
            coarse = self._upsample_observe(coarse)
        return noise - coarse

    def _upsample_observe(self, lr: Tensor) -> Tensor:
        """``observe(upsample(lr))``, at low resolution; equal to it but for the image's edges."""
        lr = _convolve(lr, self.upsample_observe_taps[:, None, None, :])
        return _convolve(lr, self.upsample_observe_taps[:, None, :, None])


def _convolve(image: Tensor, kernel: Tensor) -> Tensor:
    """Convolve ``(n, channels, rows, cols)`` with ``(out, channels / groups, …)``, one group per band.

    Beyond the image its edge repeats.
    """
    y, x = (side // 2 for side in kernel.shape[2:])
    return F.conv2d(F.pad(image, (x, x, y, y), mode="replicate"), kernel, groups=image.shape[1] // kernel.shape[1])
