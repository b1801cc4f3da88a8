"""A model for bands of two sampling distances: Sentinel-2's ten bands of 10 m and 20 m, all at 2.5 m.

The fine bands are upscaled by a model of their own. The coarse ones come to the fine bands' pixels guided by those
bands as they were measured, and from there to the output's guided by what became of them. Each step sharpens what the
one before left, at a ratio at which the instrument's own coarser images could teach it; at the end every band, seen
through its own blur at its own sampling distance, is drawn to what was measured.

On the way in, coarse bands are on the fine ones' grid, each of their pixels repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from geosr.errors import ModelError
from geosr.model.build import build
from geosr.model.card import FusionSize, ModelCard
from geosr.model.fusion import FusionNet, FusionNetwork
from geosr.model.generator import Generator
from geosr.model.kernels import sensor_sigmas
from geosr.model.layer_margins import crop
from geosr.model.sensor import Sensor, upsample_polyphase
from geosr.model.weights import check_informative, find_weights, misfit
from geosr.model.zoo import read_card

#: How the names of each network's weights begin.
COARSE, FINE = "coarse.", "fine."


@dataclass(frozen=True)
class StackOutput:
    """Output of a stack, with intermediate results that its uncertainty is estimated from."""

    polyphase: Tensor
    """The image, ``(n, bands * scale * scale, rows, cols)``."""
    observed: Tensor
    """The image as the sensor observes it, ``(n, bands, rows, cols)``."""
    guide_input: Tensor
    """The fine bands in the guide's units, ``(n, guides, rows, cols)``."""
    deep: Tensor
    """The guide's features."""
    residual: Tensor
    """Polyphase channels that it adds to the interpolation."""
    measured: Tensor
    """The coarse bands' own pixels, ``(n, coarse bands, rows / span, cols / span)``."""


class StackedGenerator(nn.Module):
    """The fine bands' generator, two steps for the coarse bands, and the constraint of all."""

    ratio: Tensor

    def __init__(
        self, guide: Generator, coarse: FusionNetwork, fine: FusionNetwork, sensor: Sensor, steps: int, ratio: Tensor
    ) -> None:
        """``sensor`` is the coarse bands' blur on the output's grid.

        ``ratio`` is what a unit of each fine band is at the guide's input, ``(1, bands, 1, 1)``.
        """
        super().__init__()
        self.guide, self.coarse, self.fine, self.sensor, self.steps = guide, coarse, fine, sensor, steps
        self.register_buffer("ratio", ratio, persistent=False)

    @property
    def scale(self) -> int:
        """HR pixels per pixel of the fine bands."""
        return self.fine.scale

    @property
    def span(self) -> int:
        """Pixels of the fine bands per pixel of the coarse ones."""
        return self.coarse.scale

    def forward(self, lr: Tensor, valid: Tensor | None = None) -> Tensor:
        """``(n, bands, rows, cols)`` in units of the bands' reference reflectance to the same, ``scale`` times finer.

        ``valid`` is 1 where a pixel was measured and 0 where it was filled in, shaped as ``lr``. The coarse bands'
        pixels are whole blocks of ``span`` from the upper left.
        """
        rows, cols = lr.shape[2:]
        made = self.make(self.whole(lr), None if valid is None else self.whole(valid))
        return F.pixel_shuffle(made.polyphase[..., :rows, :cols], self.scale)

    def inside(self, lr: Tensor, halo_px: int) -> Tensor:
        """Upscale the inside of chunks with a margin of ``halo_px``, computed as engines do."""
        image: Tensor = crop(self(lr), halo_px * self.scale)
        return image

    def make(self, lr: Tensor, valid: Tensor | None = None) -> StackOutput:
        """Upscale whole blocks, and keep the intermediate results."""
        count = self.coarse.network.guides
        fine, measured = lr[:, :count], F.avg_pool2d(lr[:, count:], self.span)
        fine_valid = coarse_valid = None
        if valid is not None:
            # A block is measured where all of it is.
            fine_valid, coarse_valid = valid[:, :count], -F.max_pool2d(-valid[:, count:], self.span)
        guide, own = self.guide, fine * self.ratio
        deep = residual = own[:, :0]
        if guide.network is not None:
            deep = guide.network.features(guide.entering(own))
            residual = guide.network.to_polyphase(deep)
        polyphase, seen = guide.constrain(own, None if guide.network is None else residual, fine_valid)
        polyphase, seen = polyphase / _each(self.ratio, polyphase), seen / self.ratio
        sharper = self.coarse(measured, fine, coarse_valid)
        image = self.fine(sharper, F.pixel_shuffle(polyphase, self.scale))
        blocks = F.pixel_unshuffle(image, self.sensor.scale)
        pull, coarse_seen = self.sensor.pull(blocks, measured, coarse_valid, self.steps)
        image = F.pixel_shuffle(blocks + upsample_polyphase(pull, self.sensor.scale), self.sensor.scale)
        return StackOutput(
            polyphase=torch.cat([polyphase, F.pixel_unshuffle(image, self.scale)], dim=1),
            observed=torch.cat([seen, _repeated(coarse_seen, self.span)], dim=1),
            guide_input=own,
            deep=deep,
            residual=residual,
            measured=measured,
        )

    def whole(self, image: Tensor) -> Tensor:
        """With the last row and column repeated where blocks of ``span`` would not be whole."""
        down, right = (-side % self.span for side in image.shape[2:])
        return F.pad(image, (0, right, 0, down), mode="replicate") if down or right else image


def build_stack(card: ModelCard) -> StackedGenerator:
    """The model of a card with a stack.

    Raises :class:`ModelError` when weights are missing or are not those of the card, or the guide is another one.
    """
    stack = card.stack
    assert stack is not None
    guide_card = read_card(stack.guide)
    if guide_card.digest != stack.guide_digest:
        raise ModelError(f"{card.name} was made with another {stack.guide} than the one installed: reinstall geosr")
    model = assemble(card, build_guide(guide_card, card.mtf_nyquist or (), stack.guides), guide_card)
    try:
        weights = load_file(find_weights(card))
        for prefix in (COARSE, FINE):
            check_informative(card, weights, prefix)
        for begin, part in ((COARSE, model.coarse), (FINE, model.fine)):
            own = {key.removeprefix(begin): value for key, value in weights.items() if key.startswith(begin)}
            part.network.load_state_dict(own)
    except (SafetensorError, RuntimeError, KeyError, TypeError) as error:
        raise misfit(card, error) from error
    return model


def build_guide(card: ModelCard, transfers: Sequence[float], count: int) -> Generator:
    """The fine bands' model, for the first of these modulation transfers where its card has none of its own."""
    return build(card, card.mtf_nyquist or transfers[:count])


def assemble(card: ModelCard, guide: Generator, guide_card: ModelCard) -> StackedGenerator:
    """Build a stack with untrained networks for the coarse bands."""
    stack, transfers, reference = card.stack, card.mtf_nyquist, card.reference_reflectance
    assert stack is not None
    assert transfers is not None
    assert reference is not None
    count = stack.guides
    own = guide_card.reference_reflectance or (1.0,) * count
    ratio = torch.tensor(reference[:count]) / torch.tensor(own)
    fine, coarse = transfers[:count], transfers[count:]
    return StackedGenerator(
        guide,
        fusion(stack.coarse, fine, coarse, card.steps),
        fusion(stack.fine, fine, coarse, card.steps),
        Sensor(sensor_sigmas(coarse, stack.span * card.scale), stack.span * card.scale),
        card.steps,
        ratio.reshape(1, -1, 1, 1),
    ).eval()


def fusion(size: FusionSize, guides: tuple[float, ...], bands: tuple[float, ...], steps: int) -> FusionNetwork:
    """One step, for bands of these modulation transfers at Nyquist."""
    return FusionNetwork(
        FusionNet(len(guides), len(bands), size),
        Sensor(sensor_sigmas(guides, size.scale), size.scale),
        Sensor(sensor_sigmas(bands, size.scale), size.scale),
        steps,
    )


def multiply_adds_per_lr_pixel(model: StackedGenerator) -> int:
    """Multiply-adds of all convolutions of networks for one pixel of the fine bands."""
    guide = 0 if model.guide.network is None else model.guide.network.multiply_adds_per_lr_pixel()
    coarse = model.coarse.network.multiply_adds_per_coarse_pixel() / model.span**2
    return round(guide + coarse + model.fine.network.multiply_adds_per_coarse_pixel())


def _each(ratio: Tensor, polyphase: Tensor) -> Tensor:
    """One ratio for each of the bands' polyphase channels."""
    return ratio.repeat_interleave(polyphase.shape[1] // ratio.shape[1], dim=1)


def _repeated(image: Tensor, span: int) -> Tensor:
    return image.repeat_interleave(span, dim=2).repeat_interleave(span, dim=3)
