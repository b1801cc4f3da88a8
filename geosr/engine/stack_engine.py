"""The engine of models for bands of two sampling distances, in PyTorch and in float32."""

from __future__ import annotations

import threading

import numpy as np
import torch
from numpy.typing import NDArray

from geosr.engine import EngineSpec, Parallel, Upscaled
from geosr.model.card import ModelCard
from geosr.model.stack import StackedGenerator


class StackEngine:
    """Runs a stacked generator; one chunk at a time, with all its lanes' cores."""

    def __init__(self, card: ModelCard, generator: StackedGenerator, spec: EngineSpec, parallel: Parallel) -> None:
        torch.set_num_threads(parallel.threads * parallel.lanes)
        self._device = torch.device("cuda" if spec.name == "torch-cuda" else "cpu")
        self._generator = generator.to(self._device)
        for network in (generator.guide.network, generator.coarse.network, generator.fine.network):
            if network is not None:
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._halo = card.halo_px
        self._one_at_a_time = threading.Lock()

    def upscale(self, lr: NDArray[np.float32], valid: NDArray[np.bool_], *, uncertainty: bool = False) -> Upscaled:
        if uncertainty:
            raise ValueError("this model has no calibrated half-widths")
        low = torch.from_numpy(np.ascontiguousarray(lr))[None].to(self._device)
        mask = None if valid.all() else torch.from_numpy(valid.astype(np.float32))[None].to(self._device)
        with self._one_at_a_time, torch.inference_mode():
            phases, observed = self._generator.observed(low, mask)
        halo = self._halo
        rows, cols = (slice(halo, side - halo) for side in lr.shape[1:])
        inside = phases[0, :, rows, cols].cpu().numpy()
        return Upscaled(inside.reshape(len(lr), -1, *inside.shape[1:]), observed[0, :, rows, cols].cpu().numpy())

    def rehearse(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        raise ValueError("this model has no calibrated half-widths")
