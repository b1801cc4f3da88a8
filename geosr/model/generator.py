"""The whole map from low to high resolution: interpolation, the network's residual, and the sensor's constraint."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geosr.model.card import Base
from geosr.model.rrdb import RRDBNet
from geosr.model.sensor import Sensor, upsample


class Generator(nn.Module):
    """``base(lr) + network(lr)``, then ``steps`` of back-projection.

    Every part but the network runs in float32. The network may run in a narrower type: only its residual is rounded.
    Without a network this is a classical interpolator, without steps it is unconstrained.
    """

    width_factors: Tensor

    def __init__(
        self,
        sensor: Sensor,
        *,
        network: RRDBNet | None = None,
        base: Base = "bicubic",
        steps: int = 1,
        width_factors: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__()
        if network is None and base == "none":
            raise ValueError("a generator needs a base, a network, or both")
        self.sensor = sensor
        self.network = network
        self.base: Base = base
        self.steps = steps
        self.register_buffer("width_factors", torch.empty(0), persistent=False)
        self.set_width_factors(width_factors)

    def set_width_factors(self, factors: Sequence[float]) -> None:
        """Calibrate the half-widths: one factor per band, or one for all."""
        self.width_factors = torch.tensor(factors, dtype=torch.float32).reshape(1, -1, 1, 1)

    @property
    def scale(self) -> int:
        return self.sensor.scale

    def forward(self, lr: Tensor, valid: Tensor | None = None) -> Tensor:
        """``(n, bands, rows, cols)`` in units of the bands' reference reflectance to the same, ``scale`` times finer.

        ``valid`` is 1 where a pixel was measured and 0 where it was filled in, shaped as ``lr``.
        """
        residual = None if self.network is None else self.network(self._entering(lr))
        return self._constrain(lr, residual, valid)

    def with_half_width(self, lr: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Also the calibrated half-width of each pixel's interval, in the same units and shaped as the image.

        Raises ``ValueError`` when the network has no head for it.
        """
        if self.network is None:
            raise ValueError("without a network there are no half-widths")
        residual, half_width = self.network.with_half_width(self._entering(lr), lr.float())
        return self._constrain(lr, residual, valid), half_width * self.width_factors

    def _constrain(self, lr: Tensor, residual: Tensor | None, valid: Tensor | None) -> Tensor:
        """Interpolation, the network's residual, back-projection: all in float32."""
        # Training may run this under autocast, which is meant for the network alone.
        with torch.autocast(lr.device.type, enabled=False):
            sr = self._interpolate(lr.float())
            if residual is not None:
                residual = residual.float()
                sr = residual if sr is None else sr + residual
            assert sr is not None
            if self.steps:
                sr = self.sensor.back_project(sr, lr.float(), valid, self.steps)
        return sr

    def _interpolate(self, lr: Tensor) -> Tensor | None:
        if self.base == "none":
            return None
        if self.base == "bicubic":
            return upsample(lr, self.scale)
        return F.interpolate(lr, scale_factor=self.scale, mode=self.base)

    def _entering(self, lr: Tensor) -> Tensor:
        """The input in the type and the memory order of the network's weights."""
        assert self.network is not None
        weight = next(self.network.parameters())
        if weight.dtype != lr.dtype:
            lr = lr.to(weight.dtype)
        if lr.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last):
            lr = lr.contiguous(memory_format=torch.channels_last)
        return lr
