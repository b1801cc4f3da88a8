"""Networks of PyTorch in reduced precision, with features as two numbers where a card has them split.

A convolution in bfloat16 hands out bfloat16. What it rounded is found by another that begins with the same sums and
takes off what the first made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geosr.model.bfloat16 import Channels, Rounded
from geosr.model.rrdb import RRDBNet


def reduce_precision(network: RRDBNet, dtype: torch.dtype, rounded: Rounded | None = None) -> None:
    """Run the blocks in reduced precision, and a tail at high resolution, for there is most of the work.

    The first layer reads reflectance, of which bfloat16 would keep no more than three digits: it stays as it is, and so
    do the last ones where there is no such tail, for what they round is in the image as it is. What blocks add to stays
    in float32, for rounded after each of them it would hold half again as much error. ``rounded`` are the blocks for
    bfloat16.
    """
    if rounded is None:
        network.body.to(dtype)
    else:
        every = iter(rounded.channels)
        for number, block in enumerate(network.body):
            for name in ("rdb1", "rdb2", "rdb3"):
                block.add_module(name, SplitBlock(f"body.{number}.{name}", rounded, next(every)))
    if network.tail == "interpolate":
        for layer in (network.conv_body, network.conv_up1, network.conv_up2, network.conv_hr, network.conv_last):
            layer.to(dtype)


def convolve_in_float32(network: RRDBNet) -> None:
    """Let the CPU convolve reduced precision in float32 and round the sums, where it has no instructions for it.

    They are float32's with such instructions too; without, PyTorch takes twenty times as long as it does in float32.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and not _HAS_INSTRUCTIONS.get(layer.weight.dtype, _always)():
            layer.forward = partial(_convolve_in_float32, layer)  # type: ignore[method-assign]


def _always() -> bool:
    return True


#: By type, whether the CPU has instructions for it.
_HAS_INSTRUCTIONS: dict[torch.dtype, Callable[[], bool]] = {
    torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
    torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
}


def _convolve_in_float32(layer: nn.Conv2d, read: Tensor) -> Tensor:
    bias = None if layer.bias is None else layer.bias.float()
    return F.conv2d(read.float(), layer.weight.float(), bias, padding=layer.padding).to(read.dtype)


class SplitBlock(nn.Module):
    """A dense block in bfloat16 that reads and makes float32."""

    def __init__(self, name: str, rounded: Rounded, parts: Sequence[Channels]) -> None:
        super().__init__()
        self._parts = parts
        self.register_buffer("order", torch.from_numpy(parts[0].order), persistent=False)
        self.rounded, self.lost = nn.ModuleList(), nn.ModuleList()
        for number in range(len(parts)):
            weight = _widened(rounded.weights[f"{name}.conv{number + 1}.weight"], parts[: number + 1])
            bias = torch.from_numpy(rounded.weights[f"{name}.conv{number + 1}.bias"])
            # Of what it adds in the end, which nothing rounds again, all is wanted.
            wanted = len(bias)
            if number + 1 < len(parts):
                order, wanted = torch.from_numpy(parts[number + 1].order), parts[number + 1].split
                weight, bias = weight[order], bias[order]
            self.rounded.append(_conv(weight, bias))
            taken = torch.zeros(wanted, len(bias), 3, 3)
            taken[:, :, 1, 1] = -torch.eye(len(bias))[:wanted]
            lost = torch.cat([weight[:wanted], taken], dim=1)
            self.lost.append(_conv(lost, bias[:wanted]) if wanted else nn.Identity())
            # A bias in bfloat16 is off by as much for every pixel.
            rest = (bias - bias.bfloat16().float()).reshape(1, -1, 1, 1)
            self.register_buffer(f"rest{number}", rest, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        read = _read(_last(x[:, self.get_buffer("order")]), self._parts[0])
        for number, channels in enumerate(self._parts[1:]):
            made = self._exact(read, number, channels.split)
            read += _read(F.leaky_relu(made, negative_slope=0.2, inplace=True), channels)
        return x + self._exact(read, len(self._parts) - 1, x.shape[1])

    def _exact(self, read: Sequence[Tensor], number: int, wanted: int) -> Tensor:
        """Output of a layer in float32, exact in as many channels as are ``wanted``."""
        joined = torch.cat(list(read), dim=1)
        rounded = self.rounded[number](joined)
        made: Tensor = rounded.float() + self.get_buffer(f"rest{number}")
        if wanted:
            made[:, :wanted] += self.lost[number](torch.cat([joined, rounded], dim=1))
        return made


def _read(exact: Tensor, channels: Channels) -> list[Tensor]:
    """Input of layers from channels in that order: see :meth:`geosr.model.bfloat16.Channels.widened`."""
    high = exact.bfloat16()
    if not channels.split:
        return [high]
    low = exact[:, : channels.split] - high[:, : channels.split]
    # A slice as it is would be joined one number at a time.
    return [high, _last(low.bfloat16())]


def _last(image: Tensor) -> Tensor:
    """With its channels side by side in memory."""
    return image.contiguous(memory_format=torch.channels_last)


def _widened(weight: np.ndarray[tuple[int, ...], np.dtype[np.float32]], parts: Sequence[Channels]) -> Tensor:
    """A layer's weights for all that it reads."""
    of_parts = np.split(weight, np.cumsum([len(channels.order) for channels in parts])[:-1], axis=1)
    wide = [channels.widened(part) for channels, part in zip(parts, of_parts, strict=True)]
    return torch.from_numpy(np.concatenate(wide, axis=1))


def _conv(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], len(weight), 3, padding=1)
    conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
    return conv.bfloat16()
