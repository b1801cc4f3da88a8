"""Request for one run: its parts, each checked where it is used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from catalog import DateChoice, SceneRequest
from geosr.engine import EngineChoice
from geosr.model.zoo import ModelRef
from tiling import Compression, Location


@dataclass(frozen=True)
class Cluster:
    """Processes that compute the chunks, other than this one."""

    workers: int = 0
    """Worker processes on this machine; 0 for threads of this one."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers compute the chunks."""


@dataclass(frozen=True)
class UpscaleRequest:
    """Request to upscale a scene, with a model, to an output."""

    scene: SceneRequest
    """Source; with ``dates``, the sources or the search of all dates."""
    output: Location
    model: ModelRef = field(default_factory=ModelRef)
    engine: EngineChoice = field(default_factory=EngineChoice)
    cluster: Cluster = field(default_factory=Cluster)
    core_px: int | None = None
    """Side of a chunk, LR pixels; None to choose."""
    compression: Compression = "zstd"
    clip: Literal["centres", "all touched"] | None = None
    """Make nodata of what is outside the area: pixels whose centre is, or that the area does not touch; None to keep
    its bounding box."""
    keep: tuple[str, ...] | None = None
    """Bands that are written, in this order; None for all that the model serves."""
    uncertainty: bool = False
    """Also write half-widths and measured fraction, see :mod:`geosr.run.uncertainty_layers`."""
    dates: DateChoice | None = None
    """Further dates that sharpen the image of one, the reference; None for one date."""
    date_weights: bool = False
    """Also write the weights of further dates, see :mod:`geosr.run.weights_layer`."""
    keep_dates: bool = False
    """Keep a product that is the same but for its further dates."""
    max_pixels: int | None = None
    """Most source pixels that are upscaled at once, of one band; None for any number."""
    overwrite: bool = False
    """Replace an output that is another run's."""
    restart: bool = False
    """Forget an unfinished run with other settings."""
