"""The RRDB generator of ESRGAN and Real-ESRGAN, for any number of bands.

Module names are those of the published checkpoints (``conv_first``, ``body.N.rdbM.convK``, ``conv_body``,
``conv_up1``, ``conv_up2``, ``conv_hr``, ``conv_last``), so their weights load as they are. The network only maps
features to pixels; what it is added to, and the sensor's constraint, live in :mod:`geosr.model.generator`.

Sources: Wang et al., "ESRGAN", 2018, section 3.1; Wang et al., "Real-ESRGAN", 2021, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geosr.model.card import Tail
from geosr.model.half_width import HalfWidthHead
from geosr.model.kernels import RESIDUAL_SCALE
from geosr.model.layer_margins import crop, margins


class RRDBNet(nn.Module):
    """Residual-in-residual dense network, ×4.

    ``tail="interpolate"`` is the published upsampler: two nearest-neighbour doublings with convolutions at high
    resolution. ``tail="shuffle"`` computes everything at low resolution and ends in one pixel shuffle, which costs
    a tenth; its last layer starts at zero, so an untrained network adds nothing.

    ``width_features`` above 0 adds a head for the half-width of each pixel's interval, ``width``.

    ``estimates_noise`` adds a channel for each band to the last layer, after the image's: an unbounded number from
    which :class:`geosr.model.generator.Generator` takes its estimate of the source's noise.
    """

    scale = 4

    def __init__(
        self,
        in_bands: int,
        out_bands: int,
        *,
        features: int = 64,
        growth: int = 32,
        blocks: int = 23,
        tail: Tail = "interpolate",
        width_features: int = 0,
        estimates_noise: bool = False,
    ) -> None:
        super().__init__()
        self.conv_first = _conv3x3(in_bands, features)
        self.body = nn.Sequential(*(RRDB(features, growth) for _ in range(blocks)))
        self.conv_body = _conv3x3(features, features)
        self.tail = tail
        self.phase_channels = out_bands * self.scale**2
        if tail == "interpolate":
            if estimates_noise:
                raise ValueError("an estimate of noise needs the shuffle tail")
            self.conv_up1 = _conv3x3(features, features)
            self.conv_up2 = _conv3x3(features, features)
            self.conv_hr = _conv3x3(features, features)
            self.conv_last = _conv3x3(features, out_bands)
        else:
            self.conv_last = _conv3x3(features, self.phase_channels + (out_bands if estimates_noise else 0))
            nn.init.zeros_(self.conv_last.weight)
            nn.init.zeros_(self.conv_last.bias)  # type: ignore[arg-type]
        self.width = HalfWidthHead(features, out_bands, width_features, self.scale) if width_features else None

    def forward(self, lr: Tensor) -> Tensor:
        """``(n, in_bands, rows, cols)`` to ``(n, out_bands, 4 rows, 4 cols)``."""
        return F.pixel_shuffle(self.polyphase(lr)[:, : self.phase_channels], self.scale)

    def polyphase(self, lr: Tensor) -> Tensor:
        """Image as polyphase channels, see :mod:`geosr.model.kernels`: ``(n, 16 out_bands, rows, cols)``.

        With ``estimates_noise`` the channels of the estimate follow.
        """
        return self.to_polyphase(self.features(lr))

    def features(self, lr: Tensor, halo_px: int = 0) -> Tensor:
        """Features from which pixels and half-widths are made: ``(n, features, rows, cols)``.

        Of a margin of ``halo_px`` no more is kept than :func:`geosr.model.layer_margins.kept_margin`.
        """
        shallow: Tensor = self.conv_first(lr)
        deep = shallow
        needed = margins(len(self.body), halo_px)
        now = halo_px
        for number, block in enumerate(self.body):
            deep = block(crop(deep, now - needed[3 * number]), needed[3 * number : 3 * number + 3])
            now = needed[3 * number + 2]
        # With a tail at high resolution this may be in reduced precision, see geosr/model/reduced_precision.py.
        body: Tensor = self.conv_body(crop(deep, now - needed[-1]).to(self.conv_body.weight.dtype))
        near: Tensor = crop(shallow, halo_px - needed[-1])
        return near + body.to(shallow.dtype)

    def to_polyphase(self, deep: Tensor) -> Tensor:
        """The last layers."""
        if self.tail == "shuffle":
            shuffled: Tensor = self.conv_last(deep)
            return shuffled
        deep = deep.to(self.conv_hr.weight.dtype)
        for conv in (self.conv_up1, self.conv_up2):
            deep = _leaky(conv(F.interpolate(deep, scale_factor=2, mode="nearest")))
        return F.pixel_unshuffle(self.conv_last(_leaky(self.conv_hr(deep))), self.scale)

    def half_width(self, exact: Tensor, deep: Tensor, polyphase: Tensor) -> Tensor:
        """The half-width of each pixel's interval in float32, by phase, positive and shaped as ``polyphase``.

        ``exact`` is the input in float32; ``deep`` and ``polyphase`` are what became of it, which may have less of a
        margin. No gradient reaches the image's weights from the half-width.
        """
        if self.width is None:
            raise ValueError("this network has no head for half-widths")
        half_width: Tensor = self.width(exact, deep.detach(), polyphase[:, : self.phase_channels].detach())
        return half_width

    def multiply_adds_per_lr_pixel(self) -> int:
        """Multiply-adds of all convolutions for one low-resolution pixel."""
        upscaled = {"conv_up1": 4, "conv_up2": 16, "conv_hr": 16}
        if self.tail == "interpolate":
            upscaled["conv_last"] = 16
        return sum(
            module.weight.numel() * upscaled.get(name, 1)
            for name, module in self.named_modules()
            if isinstance(module, nn.Conv2d)
        )


class RRDB(nn.Module):
    """Three dense blocks inside one residual."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(features, growth)
        self.rdb2 = DenseBlock(features, growth)
        self.rdb3 = DenseBlock(features, growth)

    def forward(self, x: Tensor, needed: Sequence[int] = (0, 0, 0)) -> Tensor:
        """``needed`` are the margins of the dense blocks' inputs; the result has the last."""
        first, second, last = needed
        residual: Tensor = self.rdb2(crop(self.rdb1(x), first - second))
        residual = self.rdb3(crop(residual, second - last))
        near: Tensor = crop(x, first - last)
        return near + RESIDUAL_SCALE * residual


class DenseBlock(nn.Module):
    """Five convolutions, each reading everything before it."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(features, growth)
        self.conv2 = _conv3x3(features + growth, growth)
        self.conv3 = _conv3x3(features + 2 * growth, growth)
        self.conv4 = _conv3x3(features + 3 * growth, growth)
        self.conv5 = _conv3x3(features + 4 * growth, features)
        # Small initial residuals keep a deep stack stable (ESRGAN, section 3.1).
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data.mul_(0.1)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.kept = nn.Identity()
        """All features that layers read pass it; it does nothing: hooks may."""

    def forward(self, x: Tensor) -> Tensor:
        dense = [self.kept(x.to(self.conv1.weight.dtype))]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            dense.append(self.kept(_leaky(conv(torch.cat(dense, dim=1)))))
        residual: Tensor = self.conv5(torch.cat(dense, dim=1))
        return x + RESIDUAL_SCALE * residual.to(x.dtype)


def _conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, negative_slope=0.2, inplace=True)
