"""The engine of models for bands of two sampling distances, in PyTorch and in float32."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosr.engine import EngineOutput, EngineSpec, Parallel
from geosr.engine.rows import ArrayRows, ImageSink, stream_rows
from geosr.model.card import ModelCard
from geosr.model.stack import StackedGenerator
from geosr.model.stack_uncertainty import StackUncertaintyEstimator


class StackEngine:
    """Runs a stacked generator; one chunk at a time, with all cores."""

    def __init__(self, card: ModelCard, generator: StackedGenerator, spec: EngineSpec, parallel: Parallel) -> None:
        torch.set_num_threads(parallel.threads * parallel.concurrent_chunks)
        self._device = torch.device("cuda" if spec.name == "torch-cuda" else "cpu")
        self._generator = generator.to(self._device)
        for network in (generator.guide.network, generator.coarse.network, generator.fine.network):
            if network is not None:
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._halo = card.halo_px
        self._estimator = None
        if card.calibration is not None:
            reference = card.reference_reflectance or ()
            self._estimator = StackUncertaintyEstimator(self._generator, reference, card.calibration.factors)
        self._one_at_a_time = threading.Lock()

    def upscale(
        self,
        lr: NDArray[np.float32],
        valid: NDArray[np.bool_],
        *,
        uncertainty: bool = False,
        sink: ImageSink | None = None,
    ) -> EngineOutput:
        with self._running():
            low = self._generator.whole(self._sent(lr))
            mask = None if valid.all() else self._generator.whole(self._sent(valid.astype(np.float32)))
            made = self._generator.make(low, mask)
            rows, cols = lr.shape[1:]
            inside = self._inside(made.polyphase[0], rows, cols)
            polyphase = stream_rows(ArrayRows(inside.reshape(len(lr), -1, *inside.shape[1:])), sink)
            observed = self._inside(made.observed[0], rows, cols)
            if not uncertainty:
                return EngineOutput(polyphase, observed)
            estimator, scale = self._needed(), self._generator.scale
            half_width = self._inside(estimator.half_width(made)[0], rows, cols, scale)
            return EngineOutput(
                polyphase,
                observed,
                half_width,
                self._inside(estimator.measured_fraction(made, mask)[0], rows, cols, scale),
            )

    def calibration_ratios(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        with self._running():
            ratios: NDArray[np.float32] = self._needed().calibration_ratios(self._sent(lr)[0], self._halo).cpu().numpy()
            return ratios

    def _sent(self, array: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))[None].to(self._device)

    def _inside(self, image: Tensor, rows: int, cols: int, scale: int = 1) -> NDArray[np.float32]:
        """Without the halo, and without what was added to make blocks whole."""
        halo = self._halo
        inside: NDArray[np.float32] = (
            image[..., halo * scale : (rows - halo) * scale, halo * scale : (cols - halo) * scale].cpu().numpy()
        )
        return inside

    @contextmanager
    def _running(self) -> Iterator[None]:
        with self._one_at_a_time, torch.inference_mode():
            yield

    def _needed(self) -> StackUncertaintyEstimator:
        if self._estimator is None:
            raise ValueError("this model has no calibrated half-widths")
        return self._estimator
