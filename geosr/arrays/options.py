"""Options of the xarray interface, as the types of its functions tell them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from geosr.engine import Device, EngineName, Precision


class UpscaleOptions(TypedDict, total=False):
    """Keyword arguments of :func:`geosr.upscale` that do not decide the type of its result."""

    bands: str | Sequence[str] | None
    scale: float | None
    offset: float | None
    nodata: float | None
    engine: EngineName
    device: Device
    precision: Precision
    core_px: int
    sharpness: float
