"""The losses between a generator and a discriminator, and of features that a network sees in both images.

Sources: Goodfellow et al., "Generative Adversarial Nets", 2014, with the generator's non-saturating loss; Wang et al.,
"ESRGAN", 2018, section 3.2, for the relativistic average; Wang et al., "High-Resolution Image Synthesis", 2018,
section 3.3, for feature matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: Keeps the relative difference of two layers without features defined.
_EPSILON = 1e-6


@dataclass(frozen=True)
class AdversarialLoss:
    """Binary cross-entropy of what a discriminator says of real and of made images."""

    logits: bool = True
    """True when it gives logits; else probabilities."""
    relativistic: bool = False
    """True when an image is judged by how much more real it is than the others are on average; needs logits."""

    def of_discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Falls as it tells the two apart."""
        if self.relativistic:
            return (self._entropy(real - fake.mean(), 1) + self._entropy(fake - real.mean(), 0)) / 2
        return (self._entropy(real, 1) + self._entropy(fake, 0)) / 2

    def of_generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Falls as what was made is taken for real. ``real`` counts only where it is relativistic."""
        if self.relativistic:
            return (self._entropy(real - fake.mean(), 0) + self._entropy(fake - real.mean(), 1)) / 2
        return self._entropy(fake, 1)

    def score(self, judgement: Tensor) -> Tensor:
        """The mean probability, as the discriminator sees it, that images are real."""
        judgement = judgement.detach().float()
        return (judgement.sigmoid() if self.logits else judgement).mean()

    def _entropy(self, judgement: Tensor, label: int) -> Tensor:
        judgement = judgement.float()
        target = torch.full_like(judgement, float(label))
        if self.logits:
            return F.binary_cross_entropy_with_logits(judgement, target)
        return F.binary_cross_entropy(judgement, target)


def layers_loss(made: Sequence[Tensor], true: Sequence[Tensor], weights: Sequence[float] = ()) -> Tensor:
    """Mean absolute difference of features, relative to the size of the truth's, averaged over layers.

    So all layers, and all networks that features come from, count alike before their ``weights``. No gradient reaches
    ``true``.
    """
    weights = weights or (1.0,) * len(made)
    total = torch.zeros((), device=made[0].device)
    for weight, mine, theirs in zip(weights, made, true, strict=True):
        target = theirs.detach().float()
        total = total + weight * (mine.float() - target).abs().mean() / (target.abs().mean() + _EPSILON)
    return total / sum(weights)


def grid_loss(error: Tensor, scale: int) -> Tensor:
    """Mean size of the part of an error that repeats with every LR pixel.

    ``error`` is ``(n, bands, scale rows, scale cols)``. Each of the ``scale * scale`` places in an LR pixel is averaged
    over the image: what is left is a pattern that real imagery has not got, and that a last layer which gives each
    place its own weights falls into while the discriminator does not yet know better.
    """
    return F.pixel_unshuffle(error, scale).mean(dim=(-2, -1)).abs().mean()
