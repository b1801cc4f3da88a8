"""Parts of a run's request from the options of ``upscale`` and ``batch``, with the site's settings as defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from geosr.cli.errors import usage

if TYPE_CHECKING:
    from catalog import DateChoice
    from geosr.cli.scene_request import SearchOptions
    from geosr.engine import EngineChoice
    from geosr.model.zoo import ModelRef
    from geosr.run.request import Cluster
    from tiling import Compression


def model_of(model: str | None, sharpness: float = 0.0) -> ModelRef:
    """Model that is named, or the site's."""
    from geosr.model.zoo import ModelRef
    from geosr.settings import settings

    if model is not None and not model:
        raise usage("--model is empty: leave it out, or name one of `geosr models`")
    return ModelRef(model or settings().model, sharpness)


def engine_of(
    engine: str | None = None, device: str | None = None, precision: str | None = None, *, compiled: bool = False
) -> EngineChoice:
    """Engine that is named, or the site's."""
    from geosr.engine import Device, EngineChoice, EngineName, Precision
    from geosr.settings import settings

    defaults = settings()
    return EngineChoice(
        _one_of("--engine", engine or defaults.engine, get_args(EngineName)),
        _one_of("--device", device or defaults.device, get_args(Device)),
        _one_of("--precision", precision or defaults.precision, get_args(Precision)),
        compiled,
    )


def cluster_of(workers: int | None, scheduler: str | None) -> Cluster:
    """Processes that are asked for, or the site's."""
    from geosr.run.request import Cluster
    from geosr.settings import settings

    if workers and scheduler is not None:
        raise usage("--workers are processes of this machine, --scheduler has its own: give one of them")
    defaults = settings()
    return Cluster(
        workers if workers is not None else 0 if scheduler is not None else defaults.workers,
        scheduler or (None if workers else defaults.scheduler),
    )


def compression_of(compression: str | None = None) -> Compression:
    """Compression that is named, or the site's."""
    from geosr.settings import settings
    from tiling import Compression

    found: Compression = _one_of("--compress", compression or settings().compression, get_args(Compression))
    return found


def clip_of(search: SearchOptions, *, clip: bool, all_touched: bool) -> Literal["centres", "all touched"] | None:
    """Rule by which the product is cut to its area; None where it is not."""
    if clip and search.bbox is None and search.aoi is None:
        raise usage("--clip cuts to an area: give it with --aoi or --bbox")
    if all_touched and not clip:
        raise usage("--all-touched is a rule for --clip: give both")
    if not clip:
        return None
    return "all touched" if all_touched else "centres"


def dates_of(dates: int | None, reference: str | None) -> DateChoice | None:
    """Choice of several dates; None for one date."""
    from catalog import DateChoice

    if reference is not None and not reference.strip():
        raise usage("--reference is empty: leave it out, or name a date or a source")
    return None if dates is None and reference is None else DateChoice(dates, reference)


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise usage(f"{option} is {' or '.join(allowed)}, not {value}")
    return value
