"""Half-widths and measured fraction of an upscaled chunk.

Always in PyTorch and in float32, but for the features that the head reads.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from geosr.engine import MARGIN_PX
from geosr.model.card import ModelCard
from geosr.model.generator import Generator
from geosr.model.layer_margins import crop, kept_margin
from geosr.model.measured_fraction import MeasuredFraction
from geosr.model.scene_calibration import calibration_ratios


class UncertaintyEstimator:
    """Estimator of a calibrated generator's errors."""

    def __init__(self, card: ModelCard, generator: Generator) -> None:
        """Raises ``ValueError`` for a model without calibrated half-widths."""
        if card.calibration is None:
            raise ValueError(f"model {card.name} has no calibrated half-widths")
        self._generator = generator
        self._halo = card.halo_px
        self.margin_px = min(MARGIN_PX, card.halo_px)
        reference = card.reference_reflectance or [1.0] * len(card.bands or ())
        self._measured = MeasuredFraction(generator.sensor, reference).to(generator.sensor.taps.device)

    def __call__(
        self, lr: Tensor, valid: Tensor | None, deep: Tensor, residual: Tensor, polyphase: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Half-widths ``(1, bands, scale rows, scale cols)`` and measured fraction ``(1, scale rows, scale cols)``.

        Both are of the inside of the chunk. ``lr`` and ``valid`` are those of all of it, the network's features and its
        residual have what it keeps of the margin; the image, ``polyphase``, has ``margin_px`` around the inside.
        """
        scale, inset = self._generator.scale, self._halo - self.margin_px
        half_width = crop(self._generator.half_width(lr, deep, residual), kept_margin(self._halo) * scale)
        near = crop(lr, inset)
        near_valid = None if valid is None else crop(valid, inset)
        measured = self._measured(F.pixel_shuffle(polyphase, scale), near, near_valid)
        return half_width, crop(measured, self.margin_px * scale)

    def calibration_ratios(self, lr: Tensor) -> Tensor:
        """See :func:`geosr.model.scene_calibration.calibration_ratios`."""
        return calibration_ratios(self._generator, lr, self._measured.reference, self._halo)
