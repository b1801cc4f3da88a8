"""The published model opensr-mamba on the CPU, for ``benchmarks/real.py`` and ``benchmarks/peers.py``.

    pip download --no-deps -d wheel opensr-mamba==0.0.1 && unzip -d opensr wheel/*.whl
    pip install numba einops
    OPENSR_MAMBA=opensr python benchmarks/real.py benchmarks/mamba_peer.py:upscale --data DATA

Its package wants CUDA for the selective scan (Gu and Dao, 2023), which numba computes here, and timm for three names
that inference does not need. The weights of its wheel are loaded strictly. The scan was not compared with CUDA's.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

#: Bands in the order that the network takes and gives them.
BANDS = ("B04", "B03", "B02")

#: Sides of its input are multiples of this, pixels.
_MULTIPLE_PX = 8

#: As its wheel builds the network.
_OPTIONS: dict[str, Any] = {
    "img_size": 128,
    "in_chans": 3,
    "embed_dim": 60,
    "depths": [2, 2, 2, 2],
    "d_state": 16,
    "mlp_ratio": 1.5,
    "upscale": 4,
    "attention_type": "sigmoid_02",
    "upsampler": "pixelshuffledirect",
    "resi_connection": "1conv",
    "operation_attention": "sum",
}


def upscale(lr: Tensor) -> Tensor:
    """Reflectance ``(3, rows, cols)`` to reflectance ``(3, 4 rows, 4 cols)``."""
    rows, cols = lr.shape[1:]
    padded = F.pad(lr[None].float(), (0, -cols % _MULTIPLE_PX, 0, -rows % _MULTIPLE_PX), mode="reflect")
    with torch.inference_mode():
        made: Tensor = _network()(padded, save_attention_maps=True)[0]
    return made.reshape(3, *made.shape[-2:])[:, : 4 * rows, : 4 * cols]


@cache
def _network() -> torch.nn.Module:
    folder = Path(os.environ["OPENSR_MAMBA"]).resolve()
    _stand_in()
    sys.path.insert(0, str(folder))
    from opensr_mamba.mamba.main import MambaSR

    network: torch.nn.Module = MambaSR(**_OPTIONS)
    weights = folder / "opensr_mamba" / "mamba" / "weights" / "srmodel.pth"
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


class _Identity(torch.nn.Module):
    """Drop path, which does nothing in inference."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def forward(self, features: Tensor) -> Tensor:
        return features


def _stand_in() -> None:
    """Put what is used of mamba_ssm and timm where the package imports it from."""
    scan = "mamba_ssm.ops.selective_scan_interface"
    names: dict[str, dict[str, object]] = {
        "mamba_ssm": {},
        "mamba_ssm.ops": {},
        scan: {"selective_scan_fn": _selective_scan},
        "timm": {},
        "timm.layers": {"DropPath": _Identity},
        "timm.models": {},
        "timm.models.layers": {
            "DropPath": _Identity,
            "to_2tuple": lambda value: value if isinstance(value, tuple) else (value, value),
            "trunc_normal_": torch.nn.init.trunc_normal_,
        },
    }
    for name, content in names.items():
        module = ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)


def _selective_scan(
    u: Tensor,
    delta: Tensor,
    decay: Tensor,
    entering: Tensor,
    leaving: Tensor,
    direct: Tensor,
    z: None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Tensor:
    """State space along a sequence: ``h = exp(delta decay) h + delta entering u``, ``y = leaving h + direct u``."""
    assert z is None
    assert not return_last_state
    if delta_bias is not None:
        delta = delta + delta_bias[None, :, None]
    if delta_softplus:
        delta = F.softplus(delta)
    made = [
        _scan_one(one.numpy(), step.numpy(), decay.numpy(), ins.numpy(), outs.numpy(), direct.numpy())
        for one, step, ins, outs in zip(u, delta, entering, leaving, strict=True)
    ]
    return torch.from_numpy(np.stack(made))


@numba.njit(parallel=True, fastmath=True)  # type: ignore[misc]
def _scan_one(
    u: np.ndarray, delta: np.ndarray, decay: np.ndarray, entering: np.ndarray, leaving: np.ndarray, direct: np.ndarray
) -> np.ndarray:
    """One sequence of ``(channels, length)``, whose channels share ``(groups, states, length)`` inputs and outputs."""
    channels, length = u.shape
    groups, states = entering.shape[0], decay.shape[1]
    made = np.empty_like(u)
    for channel in numba.prange(channels):
        group = channel * groups // channels
        state = np.zeros(states, np.float32)
        for place in range(length):
            step, value = delta[channel, place], u[channel, place]
            total = direct[channel] * value
            for k in range(states):
                state[k] = np.exp(step * decay[channel, k]) * state[k] + step * entering[group, k, place] * value
                total += state[k] * leaving[group, k, place]
            made[channel, place] = total
    return made
