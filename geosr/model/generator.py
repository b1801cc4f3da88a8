"""The whole map from low to high resolution: interpolation, the network's residual, and the sensor's constraint."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geosr.model.card import Base
from geosr.model.sensor import Sensor, upsample


class Generator(nn.Module):
    """``base(lr) + network(lr)``, then ``steps`` of back-projection.

    Every part but the network runs in float32. The network may run in a narrower type: only its residual is rounded.
    Without a network this is a classical interpolator, without steps it is unconstrained.
    """

    def __init__(
        self, sensor: Sensor, *, network: nn.Module | None = None, base: Base = "bicubic", steps: int = 1
    ) -> None:
        super().__init__()
        if network is None and base == "none":
            raise ValueError("a generator needs a base, a network, or both")
        self.sensor = sensor
        self.network = network
        self.base: Base = base
        self.steps = steps

    @property
    def scale(self) -> int:
        return self.sensor.scale

    def forward(self, lr: Tensor, valid: Tensor | None = None) -> Tensor:
        """``(n, bands, rows, cols)`` in units of the bands' reference reflectance to the same, ``scale`` times finer.

        ``valid`` is 1 where a pixel was measured and 0 where it was filled in, shaped as ``lr``.
        """
        residual = None if self.network is None else self._run_network(lr).float()
        # Training may run this under autocast, which is meant for the network alone.
        with torch.autocast(lr.device.type, enabled=False):
            sr = self._interpolate(lr.float())
            if residual is not None:
                sr = residual if sr is None else sr + residual
            assert sr is not None
            for _ in range(self.steps):
                sr = self.sensor.back_project(sr, lr.float(), valid)
        return sr

    def _interpolate(self, lr: Tensor) -> Tensor | None:
        if self.base == "none":
            return None
        if self.base == "bicubic":
            return upsample(lr, self.scale)
        return F.interpolate(lr, scale_factor=self.scale, mode=self.base)

    def _run_network(self, lr: Tensor) -> Tensor:
        assert self.network is not None
        weight = next(self.network.parameters())
        if weight.dtype != lr.dtype:
            lr = lr.to(weight.dtype)
        if lr.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last):
            lr = lr.contiguous(memory_format=torch.channels_last)
        return self.network(lr)  # type: ignore[no-any-return]
