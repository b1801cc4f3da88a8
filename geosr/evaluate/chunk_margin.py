"""Margin of a chunk, measured: the smallest that makes chunks of a model equal to the whole image.

A model's card stores it as ``halo_px``; :attr:`ModelCard.margin_px` is what is read around a core.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import rasterio
import torch
from rasterio.windows import Window
from torch import Tensor

from catalog.radiometry import reflectance_of
from geosr.model.card import ModelCard
from geosr.model.generator import Generator
from geosr.model.kernels import MOST_HALO_DN, sensor_sigmas
from geosr.model.layer_margins import crop
from geosr.model.rrdb import RRDBNet
from geosr.model.sensor import Sensor

#: Reflectance of one DN of Sentinel-2.
DN = 1e-4

#: Margins are multiples of this, LR pixels.
_STEP_PX = 4

#: Margins that are tried, LR pixels. Each layer of a published network reaches a pixel further, hundreds in all, and
#: those trained to invent detail carry far: where the last is too small, the card says by how much.
_MARGINS_PX = (8, 16, 24, 32, 48)

#: Of the bundled sample: the chunk on which the margin is measured.
_SAMPLE = Path(__file__).parent.parent / "data" / "sample.tif"
_CORE_PX = 16
_CENTRE_PX = 150


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


def measure_on_sample(card: ModelCard, network: RRDBNet) -> tuple[int, dict[str, float]]:
    """The smallest margin with which a chunk of the bundled sample is as with the largest and half as much again.

    That is by less than half a DN; the largest, when none is. Also returns the difference of each that was tried, DN.
    """
    assert card.mtf_nyquist is not None, "a network is made for a sensor's blur"
    assert card.reference_reflectance is not None, "and for a range of reflectance"
    sensor = Sensor(sensor_sigmas(card.mtf_nyquist, card.scale), card.scale)
    model = Generator(
        sensor,
        network=network,
        base=card.base,
        steps=card.steps,
        noise_limits=card.noise_limits(plain_image=False),
        input_limits=card.input_limits,
    ).eval()
    unit = torch.tensor(card.reference_reflectance).reshape(-1, 1, 1)
    far = _MARGINS_PX[-1] * 3 // 2
    with torch.inference_mode():
        whole = crop(model(_chunk(unit, far)), far * model.scale)
    curve: dict[str, float] = {}
    for halo_px in _MARGINS_PX:
        with torch.inference_mode():
            inside = model.inside(_chunk(unit, halo_px), halo_px)
        difference = float(((inside - whole) * unit).abs().max()) / DN
        curve[str(halo_px)] = round(difference, 2)
        if difference < MOST_HALO_DN:
            return halo_px, curve
    return _MARGINS_PX[-1], curve


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


def _chunk(unit: Tensor, halo_px: int) -> Tensor:
    """A chunk of the sample with its margin, in units of reference reflectance. Its bands are taken in turn."""
    side = _CORE_PX + 2 * halo_px
    corner = _CENTRE_PX - side // 2
    with rasterio.open(_SAMPLE) as raster:
        indexes = [1 + i % raster.count for i in range(len(unit))]
        dn = raster.read(indexes, window=Window(corner, corner, side, side))
        reflectance = torch.from_numpy(reflectance_of(dn, raster.scales[0], raster.offsets[0]))
    return (reflectance / unit)[None]
