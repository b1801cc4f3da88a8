"""The perceptual stage's other side: a discriminator that learns beside the generator, and what that is told by it.

The loop of :mod:`geosr.training.loop` asks for the generator's loss, and then lets the discriminator learn. Images are
judged in units of the contrast of their patch's truth, so that calm fields are as hard to imitate as roofs, and without
the patch's edges, where back-projection has seen no neighbours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geosr.model.discriminator import build_discriminator
from geosr.training.adversarial import AdversarialLoss, grid_loss, layers_loss
from geosr.training.config import Perceptual, TrainingConfig
from geosr.training.feature_networks import RRDBFeatures, VGG19Features
from geosr.training.optimiser import Optimiser

#: LR pixels of each side of a patch that are not judged.
_EDGE_LR_PX = 2

#: Contrast of a patch's band at least, units of reference reflectance: below it there is little but noise.
_LEAST_CONTRAST = 0.01

#: The discriminator's gradients are bounded at this norm, as the generator's.
_MAX_NORM = 1.0


class Adversary:
    """A discriminator, its optimiser, and the features that the perceptual loss compares."""

    def __init__(self, config: TrainingConfig, stage: Perceptual, data: Path, device: str) -> None:
        """Raises :class:`geosr.errors.ModelError` when a file of features is not what it is said to be."""
        self._config, self._stage, self._device = config, stage, device
        self._edge_px = _EDGE_LR_PX * config.scale
        # Its first weights depend on the seed alone, not on how many numbers the generator took.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network: nn.Module = build_discriminator(stage.discriminator, len(config.bands), stage.features)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimiser = Optimiser(self.network, "adam", stage.learning_rate, stage.betas)
        self._loss = AdversarialLoss(logits=stage.discriminator == "unet", relativistic=stage.relativistic)
        self._features = read_features(stage, data) if stage.perceptual else None
        self._compares = bool(stage.feature_matching or (stage.perceptual and self._features is None))
        if self._features is not None:
            self._features.to(device)
            self._rgb = [config.bands.index(band) for band in stage.rgb]
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def of_generator(self, sr: Tensor, hr: Tensor, gain: Tensor, step: int, *, bfloat16: bool) -> Tensor:
        """The generator's loss of ``(n, bands, rows, cols)`` at a step, with each patch's gain ``(n, 1, 1, 1)``."""
        stage = self._stage
        pixel = self._config.loss(sr, hr, gain)
        if step < stage.ahead:
            self._note(pixel=pixel)
            return stage.pixel * pixel
        made, true = self._judged(sr, hr), self._judged(hr, hr)
        self.network.requires_grad_(False)
        with torch.autocast(self._device, dtype=torch.bfloat16, enabled=bfloat16):
            fake, fake_layers = self.network(made)
            with torch.no_grad():
                # Half of the work is not done where nothing is compared with it.
                real, real_layers = self.network(true) if self._compares or stage.relativistic else (fake, fake_layers)
            perceptual = self._perceptual(sr / gain, hr / gain)
        self.network.requires_grad_(True)
        adversarial = self._loss.of_generator(real, fake)
        grid = grid_loss(made - true, self._config.scale)
        loss = stage.pixel * pixel + stage.adversarial * adversarial + stage.grid * grid
        self._note(pixel=pixel, adversarial=adversarial, grid=grid)
        if self._compares:
            matching = layers_loss(fake_layers, real_layers)
            own = stage.perceptual if perceptual is None else 0.0
            loss = loss + (stage.feature_matching + own) * matching
            self._note(feature_matching=matching)
        if perceptual is not None:
            loss = loss + stage.perceptual * perceptual
            self._note(perceptual=perceptual)
        return loss

    def learn(self, sr: Tensor, hr: Tensor, share: float, *, bfloat16: bool) -> None:
        """One step of the discriminator at this share of its learning rate; ``sr`` is detached."""
        with torch.autocast(self._device, dtype=torch.bfloat16, enabled=bfloat16):
            real, _ = self.network(self._judged(hr, hr))
            fake, _ = self.network(self._judged(sr, hr))
        loss = self._loss.of_discriminator(real, fake)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_NORM)
        self._optimiser.step(share * self._stage.learning_rate)
        self._note(discriminator=loss, real=self._loss.score(real), fake=self._loss.score(fake))

    def figures(self) -> dict[str, float]:
        """The mean of each loss, and of how real real and made images seemed, since the last call."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        """State from which a run goes on."""
        return {"network": self.network.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])

    def _judged(self, image: Tensor, truth: Tensor) -> Tensor:
        """Input of the discriminator: an image's inside, less the truth's mean, in units of its contrast."""
        edge = self._edge_px
        deviation, mean = torch.std_mean(truth, dim=(-2, -1), keepdim=True)
        image = (image - mean) / deviation.clamp(min=_LEAST_CONTRAST)
        return image[..., edge:-edge, edge:-edge].contiguous(memory_format=torch.channels_last)

    def _perceptual(self, made: Tensor, true: Tensor) -> Tensor | None:
        """The difference of features of a network of its own; None where there is none."""
        if self._features is None:
            return None
        edge = self._edge_px
        made, true = (image[:, self._rgb, edge:-edge, edge:-edge] for image in (made, true))
        with torch.no_grad():
            target = self._features(true)
        return layers_loss(self._features(made), target, self._features.weights)

    def _note(self, **values: Tensor) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
            self._counts[name] = self._counts.get(name, 0) + 1


def read_features(stage: Perceptual, data: Path) -> VGG19Features | RRDBFeatures | None:
    """The network whose features the perceptual loss compares; None where they are the discriminator's."""
    if stage.vgg19 is not None:
        return VGG19Features(data / stage.vgg19)
    if stage.rrdb is not None:
        return RRDBFeatures(data / stage.rrdb, stage.rrdb_blocks)
    return None


def features_used(stage: Perceptual) -> str:
    """Features that the perceptual loss compares, for a model's card."""
    if stage.vgg19 is not None:
        return f"VGG19, {stage.vgg19.name}: the last convolution of each block"
    if stage.rrdb is not None:
        return f"the RRDB generator {stage.rrdb.name}: its first convolution and {stage.rrdb_blocks} of its blocks"
    return f"the {stage.discriminator} discriminator's own layers"
