"""The whole map from low to high resolution: interpolation, the network's residual, and the sensor's constraint."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geosr.model.kernels import PLAUSIBLE_REACH_PX, UNDERSHOOT, Base
from geosr.model.layer_margins import crop, kept_margin
from geosr.model.rrdb import RRDBNet
from geosr.model.sensor import Sensor, upsample_polyphase


class Generator(nn.Module):
    """``base(lr) + network(lr)``, then ``steps`` of back-projection.

    Every part but the network runs in float32. The network may run in reduced precision: only its residual is
    rounded. Without a network this is a classical interpolator, without steps it is unconstrained.
    """

    width_factors: Tensor
    noise_limits: Tensor
    input_limits: Tensor

    def __init__(
        self,
        sensor: Sensor,
        *,
        network: RRDBNet | None = None,
        base: Base = "bicubic",
        steps: int = 1,
        width_factors: Sequence[float] = (1.0,),
        noise_limits: Sequence[float] = (),
        input_limits: Sequence[float] = (),
        overshoot: float | None = None,
    ) -> None:
        """``noise_limits`` bound the network's estimate of each band's noise, which the constraint leaves out, and
        ``input_limits`` the band as it enters the network; both in units of the band's reference reflectance, and empty
        for none.

        ``overshoot`` is that of :attr:`geosr.model.card.ModelCard.overshoot`; only whole images are bounded by it, not
        what :meth:`constrain` returns.
        """
        super().__init__()
        if network is None and base == "none":
            raise ValueError("a generator needs a base, a network, or both")
        self.sensor = sensor
        self.network = network
        self.base: Base = base
        self.steps = steps
        self.overshoot = overshoot
        self.register_buffer("width_factors", torch.empty(0), persistent=False)
        for name, values in (("noise_limits", noise_limits), ("input_limits", input_limits)):
            per_band = torch.tensor(tuple(values), dtype=torch.float32).reshape(1, -1, 1, 1)
            self.register_buffer(name, per_band, persistent=False)
        self.set_width_factors(width_factors)

    def set_width_factors(self, factors: Sequence[float]) -> None:
        """Calibrate the half-widths: one factor per band, or one for all."""
        self.width_factors = torch.tensor(factors, dtype=torch.float32).reshape(1, -1, 1, 1)

    @property
    def scale(self) -> int:
        return self.sensor.scale

    def forward(self, lr: Tensor, valid: Tensor | None = None, noise_limits: Tensor | None = None) -> Tensor:
        """``(n, bands, rows, cols)`` in units of the bands' reference reflectance to the same, ``scale`` times finer.

        ``valid`` is 1 where a pixel was measured and 0 where it was filled in, shaped as ``lr``; ``noise_limits``,
        ``(n, bands, 1, 1)``, replace the generator's own.
        """
        residual = None if self.network is None else self.network.polyphase(self.entering(lr))
        return self._bounded(self._shuffled(self.constrain(lr, residual, valid, noise_limits)[0]), lr)

    def inside(self, lr: Tensor, halo_px: int) -> Tensor:
        """Upscale the inside of chunks with a margin of ``halo_px``, computed as engines do.

        Of the margin, the network keeps only what the layers that follow need; see :mod:`geosr.model.layer_margins`.
        """
        residual, margin = None, halo_px
        if self.network is not None:
            margin = kept_margin(halo_px)
            residual = self.network.to_polyphase(self.network.features(self.entering(lr), halo_px))
        polyphase, _ = self.constrain(crop(lr, halo_px - margin), residual)
        image: Tensor = crop(self._shuffled(polyphase), margin * self.scale)
        return image

    def with_half_width(self, lr: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Also the calibrated half-width of each pixel's interval, in the same units and shaped as the image.

        Raises ``ValueError`` when the network has no head for it.
        """
        if self.network is None:
            raise ValueError("without a network there are no half-widths")
        deep = self.network.features(self.entering(lr))
        residual = self.network.to_polyphase(deep)
        polyphase, _ = self.constrain(lr, residual, valid)
        return self._bounded(self._shuffled(polyphase), lr), self.half_width(lr, deep, residual)

    def half_width(self, lr: Tensor, deep: Tensor, residual: Tensor) -> Tensor:
        """The calibrated half-widths that belong to what the network made of ``lr``."""
        if self.network is None:
            raise ValueError("without a network there are no half-widths")
        return self._shuffled(self.network.half_width(lr.float(), deep, residual)) * self.width_factors

    def constrain(
        self, lr: Tensor, residual: Tensor | None, valid: Tensor | None = None, noise_limits: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Interpolation, the network's residual, back-projection: all in float32.

        ``residual`` and the image that is returned are polyphase channels, ``(n, bands * scale * scale, rows, cols)``;
        after the residual's may follow a channel for each band, from which its noise is estimated. Also returns what
        the sensor sees of the image, shaped as ``lr``.
        """
        # Training may run this under autocast, which is meant for the network alone.
        with torch.autocast(lr.device.type, enabled=False):
            lr = lr.float()
            source = lr
            if residual is not None and residual.shape[1] > lr.shape[1] * self.scale**2:
                count = lr.shape[1] * self.scale**2
                residual, estimate = residual[:, :count], residual[:, count:].float()
                source = lr - self._noise(estimate, valid, self.noise_limits if noise_limits is None else noise_limits)
            polyphase = None if self.base == "none" else upsample_polyphase(lr, self.scale, self.base)
            if residual is not None:
                residual = residual.float()
                polyphase = residual if polyphase is None else polyphase + residual
            assert polyphase is not None
            pull, observed = self.sensor.pull(polyphase, source, valid, self.steps)
            return (polyphase + upsample_polyphase(pull, self.scale) if self.steps else polyphase), observed

    def _noise(self, estimate: Tensor, valid: Tensor | None, limits: Tensor) -> Tensor:
        """The fine part of the network's estimate of the source's noise, within its limits."""
        noise = limits * estimate / (1 + estimate.abs())
        return self.sensor.fine_noise(noise if valid is None else noise * valid)

    def entering(self, lr: Tensor) -> Tensor:
        """The input within its limits, in the type and the memory order of the network's weights."""
        assert self.network is not None
        if self.input_limits.numel():
            lr = torch.minimum(lr, self.input_limits)
        weight = next(self.network.parameters())
        if weight.dtype != lr.dtype:
            lr = lr.to(weight.dtype)
        if lr.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last):
            lr = lr.contiguous(memory_format=torch.channels_last)
        return lr

    def _bounded(self, image: Tensor, lr: Tensor) -> Tensor:
        """The image within its plausible range, as :mod:`geosr.inference.plausible` bounds products."""
        if self.overshoot is None:
            return image
        size = 2 * PLAUSIBLE_REACH_PX + 1
        around = F.pad(lr.float(), (PLAUSIBLE_REACH_PX,) * 4, mode="replicate")
        most, least = F.max_pool2d(around, size, 1), -F.max_pool2d(-around, size, 1)
        low, high = least - UNDERSHOOT * least.abs(), most + self.overshoot * most.abs()
        low, high = (one.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2) for one in (low, high))
        return torch.minimum(torch.maximum(image, low), high)

    def _shuffled(self, polyphase: Tensor) -> Tensor:
        return F.pixel_shuffle(polyphase, self.scale)
