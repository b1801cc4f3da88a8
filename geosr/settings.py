"""Defaults that a site may change, read from ``GEOSR_…`` environment variables. Options of a command come first."""

from __future__ import annotations

from functools import lru_cache

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog import DEFAULT_API, DEFAULT_COLLECTION
from geosr.engine import Device, EngineName, Precision
from geosr.errors import UsageError
from tiling import Compression


class Settings(BaseSettings):
    """Every default in one place."""

    model_config = SettingsConfigDict(env_prefix="GEOSR_", extra="ignore")

    api: str = DEFAULT_API
    """STAC API to search."""
    collection: str = DEFAULT_COLLECTION
    """Collection to search in."""
    model: str = "rgbn-x4"
    """Model, by name or path of its card."""
    engine: EngineName = "auto"
    device: Device = "auto"
    precision: Precision = "auto"
    core_px: int | None = Field(default=None, ge=1, le=4096)
    """Side of a chunk, pixels of the source; None to choose it by the machine's memory."""
    workers: int = Field(default=0, ge=0)
    """Worker processes; 0 for threads of one process."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers compute."""
    compression: Compression = "zstd"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process. Raises :class:`UsageError` for a variable that makes no sense."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "GEOSR_" + "_".join(str(part) for part in first["loc"]).upper()
        raise UsageError(f"environment variable {name} is wrong: {first['msg']}") from error
