"""Networks whose features are compared by the perceptual loss, read from files that a user has.

They see red, green and blue as shares of the reference reflectance, and are never trained.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geosr.errors import ModelError
from geosr.model.esrgan_checkpoint import read_state
from geosr.model.rrdb import RRDB

#: VGG19's convolutions (Simonyan and Zisserman, 2014, configuration E) by block; a pooling halves the image between.
_VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)

#: What images are normalised by that VGG19 was trained on: mean and standard deviation of ImageNet's colours.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

#: Weights of its blocks' last convolutions, as Real-ESRGAN has them (section 4.1 and its configuration).
_VGG19_WEIGHTS = (0.1, 0.1, 1.0, 1.0, 1.0)


class VGG19Features(nn.Module):
    """The last convolution of each block of VGG19, before its rectifier, from torchvision's ``features.N.weight``."""

    weights = _VGG19_WEIGHTS
    mean: Tensor
    deviation: Tensor

    def __init__(self, path: Path) -> None:
        """Raises :class:`ModelError` for a file that does not hold VGG19's convolutions."""
        super().__init__()
        state = read_state(path)
        layers: dict[str, nn.Module] = {}
        index, before = 0, 3
        for block in _VGG19:
            for after in block:
                layers[str(index)] = nn.Conv2d(before, after, 3, padding=1)
                index, before = index + 2, after
            index += 1
        self.features = nn.ModuleDict(layers)
        own = {key: value.float() for key, value in state.items() if key in self.state_dict()}
        _load(self, own, path, "VGG19")
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """``(n, 3, rows, cols)``, sides from 16 px, to the features of five layers."""
        found = []
        x: Tensor = (rgb - self.mean) / self.deviation
        index = 0
        for number, block in enumerate(_VGG19):
            if number:
                x = F.max_pool2d(x, 2)
            for place in range(len(block)):
                x = self.features[str(index)](x)
                if place == len(block) - 1:
                    found.append(x)
                x = F.relu(x)
                index += 2
            index += 1
        return found


class RRDBFeatures(nn.Module):
    """The first layers of a published RRDB generator: its first convolution, and ``blocks`` of its blocks.

    For want of a network that was trained to tell objects apart: these layers were trained to bring textures back.
    """

    def __init__(self, path: Path, blocks: int) -> None:
        """Raises :class:`ModelError` for a file that does not hold an RRDB generator's weights for three bands."""
        super().__init__()
        state = {key: value.float() for key, value in read_state(path).items()}
        first, growth = state.get("conv_first.weight"), state.get("body.0.rdb1.conv1.weight")
        if first is None or growth is None or first.dim() != 4 or first.shape[1] != 3:
            raise ModelError(f"{path} does not hold an RRDB generator for red, green and blue, by ESRGAN's names")
        self.conv_first = nn.Conv2d(3, first.shape[0], 3, padding=1)
        self.body = nn.Sequential(*(RRDB(first.shape[0], growth.shape[0]) for _ in range(blocks)))
        own = {key: value for key, value in state.items() if key in self.state_dict()}
        _load(self, own, path, "the RRDB generator")
        self.weights = (1.0,) * (1 + blocks)

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """``(n, 3, rows, cols)`` to the features of each block's end, of the same rows and columns."""
        found: list[Tensor] = [self.conv_first(rgb)]
        for block in self.body:
            found.append(block(found[-1]))
        return found


def _load(module: nn.Module, state: dict[str, Tensor], path: Path, what: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"{path} does not hold the weights of {what}: {str(error).splitlines()[-1].strip()}"
        ) from error
    module.requires_grad_(False).eval()
