"""The optimisers: Adam, AdamW, or Muon for the convolutions inside the network and AdamW for the rest.

Muon (Jordan, 2024) makes the update of a matrix orthogonal. PyTorch's takes matrices only: it is given views of the
kernels, ``(out, rows * cols * in)``, which share their memory with the network's.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

OptimiserName = Literal["adam", "adamw", "muon"]

#: Beside Muon, AdamW takes this share of the learning rate: at the whole of it the first and last layers break loose.
_BESIDE_MUON = 0.3


class Optimiser:
    """One or two of PyTorch's optimisers, stepped together."""

    def __init__(
        self, network: nn.Module, name: OptimiserName, rate: float, betas: tuple[float, float] = (0.9, 0.99)
    ) -> None:
        kernels = [
            module.weight
            for key, module in network.named_modules()
            if name == "muon"
            and isinstance(module, nn.Conv2d)
            and ".body." in f".{key}"
            and module.weight.requires_grad
        ]
        inside = {id(kernel) for kernel in kernels}
        others = [one for one in network.parameters() if one.requires_grad and id(one) not in inside]
        self._kernels = kernels
        self._views = [nn.Parameter(_as_matrix(kernel.detach())) for kernel in kernels]
        self._shares = [_BESIDE_MUON, 1.0] if kernels else [1.0]
        self._optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(others, lr=rate, betas=betas)
            if name == "adam"
            else torch.optim.AdamW(others, lr=rate, betas=betas, weight_decay=1e-4)
        ]
        if kernels:
            self._optimisers.append(
                torch.optim.Muon(self._views, lr=rate, weight_decay=1e-4, adjust_lr_fn="match_rms_adamw")
            )

    def step(self, rate: float) -> None:
        """Move the weights against their gradients, at this learning rate, and drop the gradients."""
        for view, kernel in zip(self._views, self._kernels, strict=True):
            if kernel.grad is not None:
                view.grad = _as_matrix(kernel.grad.contiguous(memory_format=torch.channels_last))
        for optimiser, share in zip(self._optimisers, self._shares, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = share * rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        for kernel in self._kernels:
            kernel.grad = None

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimiser.state_dict() for optimiser in self._optimisers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for optimiser, state in zip(self._optimisers, states, strict=True):
            optimiser.load_state_dict(state)


def _as_matrix(kernel: Tensor) -> Tensor:
    """A view of a kernel in channels-last memory, with one row per output channel."""
    rows = kernel.permute(0, 2, 3, 1)
    return rows.view(len(rows), -1)
