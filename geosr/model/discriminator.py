"""The two discriminators of the perceptual stage, for any number of bands. They are needed in training only.

Both give their judgement and the features of their layers, which feature matching compares.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, TypeAlias

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

DiscriminatorName = Literal["unet", "plain"]

_LEAK = 0.2


class UNetDiscriminator(nn.Module):
    """Judges each pixel by its neighbourhood, near and far: a U-Net with spectral normalisation.

    Source: Wang et al., "Real-ESRGAN", 2021, section 3.3, with that paper's names of layers; spectral normalisation:
    Miyato et al., 2018.
    """

    gives_logits = True

    def __init__(self, bands: int, features: int = 64) -> None:
        super().__init__()
        f = features
        self.conv0 = nn.Conv2d(bands, f, 3, padding=1)
        self.conv1 = _halving(f, 2 * f)
        self.conv2 = _halving(2 * f, 4 * f)
        self.conv3 = _halving(4 * f, 8 * f)
        self.conv4 = _normalised(8 * f, 4 * f)
        self.conv5 = _normalised(4 * f, 2 * f)
        self.conv6 = _normalised(2 * f, f)
        self.conv7 = _normalised(f, f)
        self.conv8 = _normalised(f, f)
        self.conv9 = nn.Conv2d(f, 1, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """``(n, bands, rows, cols)``, sides from 8 px, to logits ``(n, 1, rows, cols)`` and the layers' features.

        The logits are above 0 where the image is taken for a real one.
        """
        down = [_leaky(self.conv0(image))]
        for conv in (self.conv1, self.conv2, self.conv3):
            down.append(_leaky(conv(down[-1])))
        up = down[-1]
        features = list(down)
        for conv, skip in zip((self.conv4, self.conv5, self.conv6), reversed(down[:-1]), strict=True):
            # Twice the size, where sides are multiples of 8.
            wide = F.interpolate(up, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            up = _leaky(conv(wide)) + skip
            features.append(up)
        logits: Tensor = self.conv9(_leaky(self.conv8(_leaky(self.conv7(up)))))
        return logits, features


class PlainDiscriminator(nn.Module):
    """Judges an image as a whole, and gives the probability that it is real.

    Convolutions with every other halving the image, batch normalisation, two linear layers, a sigmoid. Source: Ledig
    et al., "SRGAN", 2017, section 2.1.1, after Radford et al., "DCGAN", 2015; the mean over the image before the linear
    layers makes it one for any size.
    """

    gives_logits = False

    def __init__(self, bands: int, features: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Sequential(nn.Conv2d(bands, features, 3, padding=1), nn.LeakyReLU(_LEAK))]
        widths = [
            features,
            features,
            2 * features,
            2 * features,
            4 * features,
            4 * features,
            8 * features,
            8 * features,
        ]
        for number, (before, after) in enumerate(pairwise(widths)):
            stride = 2 if number % 2 == 0 else 1
            layers.append(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.LeakyReLU(_LEAK),
                )
            )
        self.layers = nn.ModuleList(layers)
        self.judge = nn.Sequential(
            nn.Linear(8 * features, 16 * features), nn.LeakyReLU(_LEAK), nn.Linear(16 * features, 1), nn.Sigmoid()
        )

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """``(n, bands, rows, cols)``, sides from 16 px, to probabilities ``(n, 1)`` and the layers' features."""
        features: list[Tensor] = []
        for layer in self.layers:
            image = layer(image)
            features.append(image)
        probability: Tensor = self.judge(image.mean(dim=(-2, -1)))
        return probability, features


Discriminator: TypeAlias = UNetDiscriminator | PlainDiscriminator


def build_discriminator(name: DiscriminatorName, bands: int, features: int) -> Discriminator:
    """An untrained discriminator."""
    return UNetDiscriminator(bands, features) if name == "unet" else PlainDiscriminator(bands, features)


def _halving(before: int, after: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False))


def _normalised(before: int, after: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(before, after, 3, padding=1, bias=False))


def _leaky(x: Tensor) -> Tensor:
    # Not in place: the features are compared later.
    return F.leaky_relu(x, negative_slope=_LEAK)
