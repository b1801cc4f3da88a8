"""The head that gives each pixel the half-width of its interval: how far the image may be from the truth there.

What the network learns to add depends on content; how wrong it is goes with the local contrast, which spans decades
from water to roofs and differs between sensors. The head is therefore given the logarithm of the local detail, at
several sizes, and learns what the half-width is as a multiple of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geosr.model.layer_margins import crop
from geosr.model.sensor import upsample_polyphase

#: Added to mean squares before their logarithm, (units of reference reflectance)²: below Sentinel-2's noise.
_FLOOR = 1e-6

#: Logarithm of the half-width that an untrained head gives, as a multiple of the local detail.
_FIRST_LOG_MULTIPLE = 0.5

#: Sides of square windows, LR pixels: what the mean over the first has more than that over the second, averaged over
#: the third.
_DETAIL = ((1, 3, 3), (1, 3, 7), (3, 9, 9), (9, 21, 15))

#: Of ``_DETAIL``, what the half-width is a multiple of.
_BASE = 1

#: Maps of each band that the head is given beside the network's features: detail, residual, brightness.
_MAPS = len(_DETAIL) + 2


class HalfWidthHead(nn.Module):
    """Three convolutions at low resolution on the network's features and on maps of the local detail."""

    def __init__(self, features: int, bands: int, hidden: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv_in = nn.Conv2d(features + _MAPS * bands, hidden, kernel_size=3, padding=1)
        self.conv_wide = nn.Conv2d(hidden, hidden, kernel_size=3, padding=2, dilation=2)
        self.conv_last = nn.Conv2d(hidden, bands * scale**2, kernel_size=3, padding=1)
        nn.init.zeros_(self.conv_last.weight)
        nn.init.constant_(self.conv_last.bias, _FIRST_LOG_MULTIPLE)  # type: ignore[arg-type]

    def forward(self, lr: Tensor, deep: Tensor, residual: Tensor) -> Tensor:
        """Half-widths, positive, by phase, shaped as ``residual``.

        ``lr`` is the network's input in float32, ``deep`` its features, ``residual`` what it adds to the
        interpolation, ``(n, bands * scale * scale, rows, cols)``. The input may have more of a margin.
        """
        # Mean squares of small differences: reduced types have no digits left for them.
        with torch.autocast(lr.device.type, enabled=False):
            maps, base = _describe(lr.float(), residual.float(), self.scale)
        hidden = torch.cat([deep, maps.to(deep.dtype)], dim=1)
        for conv in (self.conv_in, self.conv_wide):
            hidden = F.leaky_relu(conv(hidden), negative_slope=0.2)
        multiple: Tensor = self.conv_last(hidden)
        return (multiple.float() + base).exp()


def _describe(lr: Tensor, residual: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """The maps at low resolution, and polyphase channels of the logarithm of the detail that is the base."""
    margin = (lr.shape[2] - residual.shape[2]) // 2
    details = [
        crop(_log_rms(_mean((_mean(lr, fine) - _mean(lr, coarse)).square(), over)), margin)
        for fine, coarse, over in _DETAIL
    ]
    lr = crop(lr, margin)
    blocks = residual.reshape(len(lr), -1, scale**2, *residual.shape[2:])
    added = _log_rms(blocks.square().mean(dim=2))
    brightness = _log_rms(lr.square())
    base = upsample_polyphase(details[_BASE], scale, "bilinear")
    # About one in size, as the network's features are.
    return torch.cat([*details, added, brightness], dim=1) / 2, base


def _mean(image: Tensor, side: int) -> Tensor:
    """Over a square window around each pixel, an odd number of pixels wide."""
    if side == 1:
        return image
    reach = side // 2
    # Along one axis after the other: a window of 21 × 21 costs 42 additions, not 441.
    rows = F.avg_pool2d(F.pad(image, (0, 0, reach, reach), mode="replicate"), (side, 1), stride=1)
    return F.avg_pool2d(F.pad(rows, (reach, reach, 0, 0), mode="replicate"), (1, side), stride=1)


def _log_rms(mean_square: Tensor) -> Tensor:
    return 0.5 * (mean_square + _FLOOR).log()
