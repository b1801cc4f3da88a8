"""Measured fraction of an image's fine detail: the part that follows from the source alone, against the rest.

The measured part is the best linear estimate of the ground from one band: a Wiener filter through the sensor's blur. It
knows natural images only by their power spectrum, which falls with the square of the frequency (Field, "Relations
between the statistics of natural images and the response properties of cortical cells", JOSA A, 1987). What an image
has beyond it was estimated from the other bands or from what a network has learned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from geosr.model.sensor import Sensor

#: Standard deviation of the source's noise, reflectance.
NOISE = 0.001

#: Root mean square difference between neighbouring source pixels, reflectance: what the 10 m bands of fields and towns
#: have. It sets the strength of the power spectrum; twice or half as much changes little beside so little noise.
_NEIGHBOUR_STEP = 0.01

#: LR pixels that the filter reaches beyond its own: with more it changes by less than the noise.
_REACH_LR_PX = 3

#: Side of the window in which detail is summed up, LR pixels; odd, so that it has a middle.
_WINDOW_LR_PX = 3

#: Side of the periodic grid on which covariances are computed, LR pixels: far beyond the filter's reach.
_GRID_LR_PX = 64


class MeasuredFraction(nn.Module):
    """The share of local detail that is measured, for the bands of one sensor."""

    polyphase: Tensor
    reference: Tensor
    noise_energy: Tensor

    def __init__(self, sensor: Sensor, reference: Sequence[float]) -> None:
        """``reference`` is the reflectance that is 1 in the images, per band."""
        super().__init__()
        self.scale = sensor.scale
        taps = sensor.taps.cpu().numpy().astype(np.float64)
        filters = np.concatenate([wiener_polyphase(band, sensor.scale) for band in taps])
        self.register_buffer("polyphase", torch.tensor(filters[:, None], dtype=torch.float32), persistent=False)
        passed = (filters**2).sum(axis=(1, 2)).reshape(len(taps), -1).mean(axis=1)
        energy = torch.tensor(NOISE**2 * passed, dtype=torch.float32).reshape(1, -1, 1, 1)
        self.register_buffer("noise_energy", energy, persistent=False)
        column = torch.tensor(reference, dtype=torch.float32).reshape(1, -1, 1, 1)
        self.register_buffer("reference", column, persistent=False)

    def measured(self, lr: Tensor) -> Tensor:
        """The best linear estimate: ``(n, bands, rows, cols)`` to ``(n, bands, scale rows, scale cols)``."""
        lr = F.pad(lr, (_REACH_LR_PX,) * 4, mode="replicate")
        return F.pixel_shuffle(F.conv2d(lr, self.polyphase, groups=lr.shape[1]), self.scale)

    def forward(self, sr: Tensor, lr: Tensor, valid: Tensor | None = None) -> Tensor:
        """The measured share of detail, 0 to 1: ``(n, scale rows, scale cols)``.

        ``sr`` is ``(n, bands, scale rows, scale cols)`` and ``lr`` its source; both in units of the bands' reference.
        It is ``E_m / (E_m + E_p + N)`` with ``N`` the variance that the source's noise gives the measured part, ``E_m``
        its local variance beyond that, and ``E_p`` the local mean square of the rest, in squared reflectance over the
        bands that are ``valid`` at the place. Where detail does not exceed the noise, as on water, nothing is measured.
        """
        return share(*self.energies(sr, lr, valid))

    def energies(self, sr: Tensor, lr: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``E_m`` and ``E_m + E_p + N``, sums over bands, squared reflectance: ``(n, 1, scale rows, scale cols)``."""
        measured = self.measured(lr)
        rest = (sr - measured) * self.reference
        # A variance is a difference of squares: about the image's mean it loses no digits.
        measured = (measured - measured.mean(dim=(2, 3), keepdim=True)) * self.reference
        variance = self._local(measured**2) - self._local(measured) ** 2
        measured_energy = (variance - self.noise_energy).clamp(min=0)
        total = measured_energy + self._local(rest**2) + self.noise_energy
        if valid is not None:
            measured_energy, total = measured_energy * valid, total * valid
        return self._enlarge(measured_energy), self._enlarge(total)

    def _local(self, values: Tensor) -> Tensor:
        """The mean over the window around each LR pixel: ``(n, bands, rows, cols)``."""
        blocks = F.avg_pool2d(values, self.scale)
        reach = _WINDOW_LR_PX // 2
        return F.avg_pool2d(F.pad(blocks, (reach,) * 4, mode="replicate"), _WINDOW_LR_PX, stride=1)

    def _enlarge(self, energy: Tensor) -> Tensor:
        """The sum over the bands, at high resolution: ``(n, 1, scale rows, scale cols)``."""
        return F.interpolate(energy.sum(dim=1, keepdim=True), scale_factor=self.scale, mode="bilinear")


def share(measured_energy: Tensor, total: Tensor) -> Tensor:
    """One energy of the other, ``(n, 1, rows, cols)`` to ``(n, rows, cols)``."""
    # Where no band is valid there is nothing to say, and nothing to divide by either.
    return (measured_energy / total.clamp(min=NOISE**2 / 4))[:, 0]


def wiener_polyphase(taps: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """The Wiener filter of each HR pixel of an LR pixel's block: ``(scale * scale, side, side)`` LR weights.

    ``taps`` is the sensor's blur along one axis, as of :func:`geosr.model.sensor.gaussian_taps`. The filters are in the
    order of the block's rows, as pixel shuffle takes them. Their weights sum to one, so a flat image stays what it is,
    and its mean, of which a spectrum without end at low frequencies says nothing, plays no part (ordinary kriging).
    """
    ground_and_source, source = _covariances(taps, scale)
    offsets = np.arange(-_REACH_LR_PX, _REACH_LR_PX + 1)
    y, x = (axis.ravel() for axis in np.meshgrid(offsets, offsets, indexing="ij"))
    count = len(y)
    system = np.ones((count + 1, count + 1))
    system[-1, -1] = 0
    system[:count, :count] = source[scale * (y[:, None] - y), scale * (x[:, None] - x)] + NOISE**2 * np.eye(count)
    phase_y, phase_x = (axis.ravel() for axis in np.meshgrid(np.arange(scale), np.arange(scale), indexing="ij"))
    right = np.ones((count + 1, scale**2))
    right[:count] = ground_and_source[scale * y[:, None] - phase_y, scale * x[:, None] - phase_x]
    weights = np.asarray(np.linalg.solve(system, right)[:count], dtype=np.float64)
    return weights.T.reshape(scale**2, len(offsets), len(offsets))


def _covariances(taps: NDArray[np.float64], scale: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariances of source with ground, and of source with source, by their distance in HR pixels, without noise.

    The first is that of an LR pixel, told by the first HR pixel of its block, with an HR pixel. Negative distances
    count from the end.
    """
    side = _GRID_LR_PX * scale
    frequency = np.fft.fftfreq(side)
    squared = frequency[:, None] ** 2 + frequency**2
    spectrum = np.zeros_like(squared)
    np.divide(1.0, squared, out=spectrum, where=squared > 0)
    blur = np.zeros(side)
    # The taps are centred on the block, not on its first pixel.
    blur[np.arange(len(taps)) - (len(taps) - scale) // 2] = taps
    transfer = np.fft.fft(blur)[:, None] * np.fft.fft(blur)
    source = np.fft.ifft2(spectrum * np.abs(transfer) ** 2).real
    strength = _NEIGHBOUR_STEP**2 / (2 * (source[0, 0] - source[0, scale]))
    return strength * np.fft.ifft2(spectrum * transfer.conj()).real, strength * source
