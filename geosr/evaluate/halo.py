"""Effective reach of a model: the margin that makes a chunk equal to the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from geosr.model.kernels import MOST_HALO_DN

#: Reflectance of one DN of Sentinel-2.
DN = 1e-4

#: Margins are multiples of this, LR pixels.
_STEP_PX = 4


class Chunked(Protocol):
    """A model that makes a scene in one piece, or the inside of a chunk with a margin."""

    @property
    def scale(self) -> int: ...

    def __call__(self, lr: Tensor) -> Tensor:
        """``(n, bands, rows, cols)`` to the same, ``scale`` times finer."""
        ...

    def inside(self, lr: Tensor, halo_px: int) -> Tensor:
        """Upscale chunks without their margin of ``halo_px``, computed as engines do."""
        ...


def measure_halo(
    model: Chunked, scenes: Sequence[Tensor], reference: Sequence[float], *, core_px: int = 64, limit_px: int = 96
) -> tuple[int, dict[int, float]]:
    """The smallest margin with which chunks of ``scenes`` differ from the whole by less than half a DN anywhere.

    ``scenes`` are reflectance ``(bands, rows, cols)``. A chunk's surroundings end at its margin, which disturbs it as
    strongly as anything can. Returns the margin in LR pixels, and the largest difference in DN of each margin tried.
    """
    unit = torch.tensor(reference).reshape(-1, 1, 1)
    wholes = [_run(model, scene / unit) for scene in scenes]
    curve: dict[int, float] = {}
    for halo_px in range(0, limit_px + 1, _STEP_PX):
        curve[halo_px] = max(
            _largest_difference(model, scene / unit, whole, unit, core_px, halo_px) / DN
            for scene, whole in zip(scenes, wholes, strict=True)
        )
        if curve[halo_px] < MOST_HALO_DN:
            return halo_px, curve
    raise ValueError(f"no margin up to {limit_px} pixels is enough: {curve}")


def _largest_difference(
    model: Chunked, scene: Tensor, whole: Tensor, unit: Tensor, core_px: int, halo_px: int
) -> float:
    """Reflectance. Chunks at the scene's edge end there, as the whole does; others are computed as engines do."""
    _, rows, cols = scene.shape
    scale = model.scale
    worst = 0.0
    for top in range(0, rows, core_px):
        for left in range(0, cols, core_px):
            bottom, right = min(top + core_px, rows), min(left + core_px, cols)
            y, x = max(0, top - halo_px), max(0, left - halo_px)
            chunk = scene[:, y : bottom + halo_px, x : right + halo_px]
            if chunk.shape[1:] == (bottom - top + 2 * halo_px, right - left + 2 * halo_px):
                with torch.inference_mode():
                    part = model.inside(chunk[None], halo_px)[0]
            else:
                sr = _run(model, chunk)
                part = sr[:, (top - y) * scale : (bottom - y) * scale, (left - x) * scale : (right - x) * scale]
            expected = whole[:, top * scale : bottom * scale, left * scale : right * scale]
            worst = max(worst, float(((part - expected) * unit).abs().max()))
    return worst


def _run(model: Chunked, lr: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(lr[None])[0]
