"""Half-widths and measured_fraction of what a stack makes.

Of the fine bands the half-widths are the guide's own. A coarse band has no head for them: its half-widths are a
multiple of the local detail that was added to it, which is where it can be wrong, and the multiple is calibrated
(locally weighted split-conformal prediction: Lei et al., "Distribution-Free Predictive Inference for Regression", 2018,
section 5.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from geosr.model.measured_fraction import NOISE, MeasuredFraction, share
from geosr.model.scene_calibration import calibration_ratios
from geosr.model.sensor import upsample
from geosr.model.stack import StackedGenerator, StackOutput

#: Side of the window in which a coarse band's added detail is summed up, pixels of the fine bands; odd.
_WINDOW_PX = 3


class StackUncertaintyEstimator:
    """Estimator of a stack's errors."""

    def __init__(self, model: StackedGenerator, reference: Sequence[float], factors: Sequence[float]) -> None:
        """``reference`` and ``factors`` have one value for each band: reflectance that is 1, and the calibration."""
        self._model = model
        count = model.coarse.network.guides
        device = model.sensor.taps.device
        self._unit = torch.tensor(reference, device=device).reshape(1, -1, 1, 1)
        self._factors = torch.tensor(factors, device=device).reshape(1, -1, 1, 1)
        self._fine = MeasuredFraction(model.guide.sensor, reference[:count]).to(device)
        self._coarse = MeasuredFraction(model.sensor, reference[count:]).to(device)
        self._count = count
        self._has_head = model.guide.network is not None and model.guide.network.width is not None

    def half_width(self, made: StackOutput) -> Tensor:
        """Calibrated half-widths ``(n, bands, scale rows, scale cols)`` in units of the reference."""
        return self.uncalibrated(made) * self._factors

    def uncalibrated(self, made: StackOutput) -> Tensor:
        """Half-widths before calibration."""
        guide, count = self._model.guide, self._count
        image = F.pixel_shuffle(made.polyphase, self._model.scale)
        interpolated = upsample(made.measured, self._model.sensor.scale)
        coarse = self._detail(image[:, count:] - interpolated, self._unit[:, count:])
        if self._has_head:
            own = guide.half_width(made.guide_input, made.deep, made.residual) / guide.width_factors
            return torch.cat([own / self._model.ratio, coarse], dim=1)
        fine = self._detail(
            image[:, :count] - upsample(made.guide_input / self._model.ratio, self._model.scale), self._unit[:, :count]
        )
        return torch.cat([fine, coarse], dim=1)

    def measured_fraction(self, made: StackOutput, valid: Tensor | None) -> Tensor:
        """The measured share of detail over all bands, 0 to 1: ``(n, scale rows, scale cols)``."""
        image, count = F.pixel_shuffle(made.polyphase, self._model.scale), self._count
        fine_valid = coarse_valid = None
        if valid is not None:
            fine_valid, coarse_valid = valid[:, :count], -F.max_pool2d(-valid[:, count:], self._model.span)
        fine = self._fine.energies(image[:, :count], made.guide_input / self._model.ratio, fine_valid)
        coarse = self._coarse.energies(image[:, count:], made.measured, coarse_valid)
        return share(fine[0] + coarse[0], fine[1] + coarse[1])

    def calibration_ratios(self, lr: Tensor, halo_px: int) -> Tensor:
        """``|error| / half-width`` of the fine bands made from themselves; NaN for the coarse ones, which are not.

        ``lr`` is ``(bands, rows, cols)``.
        """
        count = self._count
        ratios = torch.full_like(lr, torch.nan)
        if self._has_head:
            own = self._unit[:, :count] / self._model.ratio
            ratios[:count] = calibration_ratios(self._model.guide, lr[:count] * self._model.ratio[0], own, halo_px)
        return ratios

    def _detail(self, added: Tensor, unit: Tensor) -> Tensor:
        """Root mean square of what was added around each place, never below the noise."""
        blocks = F.avg_pool2d(added**2, self._model.scale)
        reach = _WINDOW_PX // 2
        around = F.avg_pool2d(F.pad(blocks, (reach,) * 4, mode="replicate"), _WINDOW_PX, stride=1)
        floor = (NOISE / unit) ** 2
        return F.interpolate(around + floor, scale_factor=self._model.scale, mode="bilinear").sqrt()
