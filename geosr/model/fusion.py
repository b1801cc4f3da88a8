"""Sharpening coarse bands with finer ones of the same instrument: what a scene's 20 m bands take from its 10 m bands.

The detail of a coarse band is that of the fine bands, each times a coefficient that the network gives for the place,
and what it adds on its own. So an edge that the fine bands do not have is not made, and the coefficients, which follow
from how the bands go together around the place, hold for ground that was never trained on. Back-projection through each
band's own blur ends it. Images are held as polyphase channels, see :mod:`geosr.model.kernels`.

Sources: Lanaras et al., "Super-resolution of Sentinel-2 images: learning a globally applicable deep neural network",
2018, for learning it from the same scene at coarser scales; Vivone et al., "A critical comparison among pansharpening
algorithms", 2015, section III, for the injection of detail with local coefficients.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geosr.model.card import FusionSize
from geosr.model.rrdb import RRDB
from geosr.model.sensor import Sensor, upsample_polyphase


class FusionNet(nn.Module):
    """RRDB blocks on the coarse grid, from both kinds of bands to the coarse bands' detail."""

    def __init__(self, guides: int, bands: int, size: FusionSize) -> None:
        super().__init__()
        self.guides, self.bands, self.scale = guides, bands, size.scale
        # Coarse bands, the guides at their resolution, and the guides' detail.
        entering = bands + guides + guides * self.scale**2
        self.conv_first = nn.Conv2d(entering, size.features, kernel_size=3, padding=1)
        self.body = nn.Sequential(*(RRDB(size.features, size.growth) for _ in range(size.blocks)))
        self.conv_body = nn.Conv2d(size.features, size.features, kernel_size=3, padding=1)
        self.conv_last = nn.Conv2d(size.features, bands * (guides + self.scale**2), kernel_size=3, padding=1)
        nn.init.zeros_(self.conv_last.weight)
        nn.init.zeros_(self.conv_last.bias)  # type: ignore[arg-type]

    def forward(self, coarse: Tensor, low: Tensor, detail: Tensor) -> Tensor:
        """Residual of the coarse bands' interpolation: ``(n, bands * scale * scale, rows, cols)``.

        ``coarse`` is ``(n, bands, rows, cols)``; ``low`` the guides as seen at that resolution, ``(n, guides, rows,
        cols)``; ``detail`` what they have beyond it, ``(n, guides * scale * scale, rows, cols)``.
        """
        shallow = self.conv_first(torch.cat([coarse, low, detail], dim=1))
        deep = shallow + self.conv_body(self.body(shallow))
        n, _, rows, cols = coarse.shape
        coefficients, own = self.conv_last(deep).split([self.bands * self.guides, self.bands * self.scale**2], dim=1)
        mixed = torch.einsum(
            "nbgrc,ngprc->nbprc",
            coefficients.reshape(n, self.bands, self.guides, rows, cols),
            detail.reshape(n, self.guides, self.scale**2, rows, cols),
        )
        return own + mixed.reshape(own.shape)  # type: ignore[no-any-return]

    def multiply_adds_per_coarse_pixel(self) -> int:
        """Multiply-adds of all convolutions for one pixel of the coarse bands."""
        return sum(module.weight.numel() for module in self.modules() if isinstance(module, nn.Conv2d))


class FusionNetwork(nn.Module):
    """Interpolation, the network's detail, and back-projection: coarse bands on a grid ``scale`` times finer."""

    def __init__(self, network: FusionNet, guides: Sensor, bands: Sensor, steps: int) -> None:
        """``guides`` and ``bands`` are the blurs with which each is seen at the coarse resolution."""
        super().__init__()
        self.network = network
        self.guides = guides
        self.sensor = bands
        self.steps = steps

    @property
    def scale(self) -> int:
        return self.sensor.scale

    def forward(self, coarse: Tensor, fine: Tensor, valid: Tensor | None = None) -> Tensor:
        """``(n, bands, rows, cols)`` and guides ``(n, guides, scale rows, scale cols)`` to the coarse bands on the
        guides' grid.

        ``valid`` is 1 where a coarse pixel was measured, and 0 elsewhere.
        """
        polyphase = F.pixel_unshuffle(fine, self.scale)
        low = self.guides.observe_polyphase(polyphase)
        detail = polyphase - upsample_polyphase(low, self.scale)
        image = upsample_polyphase(coarse, self.scale) + self.network(coarse, low, detail)
        pull, _ = self.sensor.pull(image, coarse, valid, self.steps)
        return F.pixel_shuffle(image + upsample_polyphase(pull, self.scale), self.scale)
