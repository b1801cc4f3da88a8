"""Settings of the service in one typed class: from a YAML file, and from ``GEOSR_SERVICE_…`` variables before it."""

from __future__ import annotations

import ipaddress
import re
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from catalog import DEFAULT_API, DEFAULT_COLLECTION
from geosr.errors import UsageError
from geosr.model.zoo import DEFAULT_MODEL, ModelRef

_MIB = 2**20

#: What no variable begins with.
_NO_VARIABLES = "\N{NO-BREAK SPACE}"


class ServiceSettings(BaseSettings):
    """Every setting; ``configs/service.yaml`` shows them all."""

    model_config = SettingsConfigDict(env_prefix="GEOSR_SERVICE_", extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    data: Path = Path("geosr-service")
    """Folder of jobs, uploads, the cache and the database."""
    demo: bool = False
    """Offer the bundled sample as a scene."""

    keys: bool | None = None
    """True when requests need an API key; None for: not on loopback, but everywhere else."""
    open_to_all: bool = False
    """Allow to go without keys beyond loopback."""
    cors_origins: tuple[str, ...] = ()
    """Origins of pages that may call the service from a browser."""
    public_url: str | None = None
    """Address by which clients know the service, behind a proxy."""

    api: str = DEFAULT_API
    """STAC API that is searched."""
    collection: str = DEFAULT_COLLECTION
    hosts: tuple[str, ...] = (
        "earth-search.aws.element84.com",
        "sentinel-cogs.s3.us-west-2.amazonaws.com",
        "e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com",
    )
    """Hosts of catalogues and of their rasters; ``*.example.org`` for all below a name. Nothing else is fetched."""
    private_hosts: tuple[str, ...] = ()
    """Hosts among ``hosts`` that may have private addresses, with their ports as ``127.0.0.1:8080``."""

    callback_hosts: tuple[str, ...] = ()
    """Hosts that may be told of jobs (``subscriber`` of an order), in the form of ``hosts``; by default none."""
    basemap: str | None = None
    """Address of a basemap's tiles for the page, ``https://…/{z}/{x}/{y}.png``; browsers load it from there."""
    basemap_credits: str = Field(default="", max_length=200)
    """Credits of the basemap, which the page shows."""
    places: str | None = None
    """Address of a search for places with ``{query}`` in it, of Nominatim's form; its host is one of ``hosts``."""

    model: str = DEFAULT_MODEL
    """Model of live tiles, and of jobs that name none."""
    scheduler: str | None = None
    """Dask scheduler whose workers compute the jobs; None for this machine."""
    workers: int = Field(default=0, ge=0)
    """Without a scheduler: processes of each job's own Dask cluster; 0 for threads of the job's process."""
    jobs_at_a_time: int = Field(default=1, ge=1)
    """Jobs that run at the same time; the others wait."""
    keep_days: float = Field(default=7, gt=0)
    """Days after which a job's results, and scenes and fields that were added, are removed."""

    max_upload_bytes: int = Field(default=2048 * _MIB, ge=1)
    max_pixels: int = Field(default=150_000_000, ge=1)
    """Most source pixels of a scene or a job, of one band; a whole Sentinel-2 tile has 120 million."""
    max_area_km2: float = Field(default=13_000, gt=0)
    """Largest area of a job; a whole Sentinel-2 tile has 12,056 km²."""
    max_queued_jobs: int = Field(default=20, ge=1)
    """Unfinished jobs of one key, or of everybody where there are no keys."""
    requests_per_minute: int = Field(default=3000, ge=1)
    """Requests per minute of one key, or of one address where there are no keys."""
    orders_per_hour: int = Field(default=600, ge=1)
    """Jobs that one key, or one address where there are no keys, may order; what is ordered again counts as well."""
    uploads_per_hour: int = Field(default=120, ge=1)
    """Scenes and sets of fields that one key, or one address where there are no keys, may add or upload."""
    refused_keys_per_minute: int = Field(default=20, ge=1)
    """Requests of one address with a key that is missing, unknown or revoked; beyond that the answer is 429."""
    link_hours: float = Field(default=24, gt=0)
    """Hours for which signed links to results lead there without a key."""
    max_connections: int = Field(default=500, ge=1)
    """Open connections; beyond that requests are refused at once with 503."""
    connections_per_address: int = Field(default=100, ge=0)
    """Open connections of one address, or of one IPv6 network; 0 for no limit, as behind a proxy."""
    head_s: float = Field(default=10, gt=0)
    """Seconds within which the head of a request has to come."""
    body_bytes_per_s: int = Field(default=1024, ge=1)
    """Bytes per second of a request's body that have to come; connections that are slower are ended."""

    live_core_px: int = Field(default=128, ge=32, le=1024)
    """Side of the chunks of live tiles, source pixels."""
    live_waiting: int = Field(default=256, ge=1)
    """Chunks that may wait to be computed; beyond that tiles are refused for a moment."""
    tile_wait_s: float = Field(default=120, gt=0)
    """Longest that a tile waits for its chunks; then it is refused, with a time after which to ask again."""
    cache_bytes: int = Field(default=4096 * _MIB, ge=_MIB)
    """Most that live chunks and tiles take on disk."""

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        if not host:
            raise ValueError("is empty: give an address, or 127.0.0.1")
        return host

    @cached_property
    def model_ref(self) -> ModelRef:
        """The model that was chosen."""
        return ModelRef(self.model)

    @model_validator(mode="after")
    def _check(self) -> ServiceSettings:
        if not self.with_keys and not self.is_private and not self.open_to_all:
            raise ValueError(
                f"without keys everybody who reaches {self.host if self.public_url is None else self.public_url} could "
                "use the service: leave keys on, or set open_to_all"
            )
        return self

    @field_validator("basemap")
    @classmethod
    def _check_basemap(cls, address: str | None) -> str | None:
        if address is not None:
            _check_template(address, ("{z}", "{x}", "{y}"))
        return address

    @field_validator("places")
    @classmethod
    def _check_places(cls, address: str | None) -> str | None:
        if address is not None:
            _check_template(address, ("{query}",))
        return address

    @property
    def loopback(self) -> bool:
        """True when the service listens for this machine alone."""
        return is_loopback(self.host)

    @property
    def is_private(self) -> bool:
        """True when only this machine reaches the service, and no proxy gives it an address for others."""
        public = urlsplit(self.public_url or "").hostname
        return self.loopback and (public is None or is_loopback(public))

    @property
    def with_keys(self) -> bool:
        """True when requests need an API key."""
        return self.keys if self.keys is not None else not self.is_private

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """All hosts that may be fetched from."""
        return (*self.hosts, *self.private_hosts)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables come before what is given, which is the file's."""
        return env_settings, init_settings


def _check_template(address: str, names: tuple[str, ...]) -> None:
    """Raises :class:`ValueError` for what is no address with these names in it."""
    # It becomes part of a header, which says what the page may load.
    if not re.fullmatch(r"https?://[A-Za-z0-9.:-]+/[^\s;,'\"]*", address) or not all(name in address for name in names):
        raise ValueError(f"is an address, https://… with {', '.join(names)} in it")


def is_loopback(host: str) -> bool:
    """Tell whether a name or address is one of the machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_settings(path: Path | None = None, **options: Any) -> ServiceSettings:
    """The settings of a file and the environment; ``options`` that are not None come before both.

    Raises :class:`UsageError`.
    """
    content: dict[str, Any] = {}
    if path is not None:
        import yaml

        from catalog.bounded_yaml import load_yaml

        try:
            content = load_yaml(path.read_text(encoding="utf-8")) or {}
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise UsageError(f"cannot read the settings {path}: {str(error).splitlines()[0]}") from error
        if not isinstance(content, dict):
            raise UsageError(f"{path} is not a file of settings: it has names and values, as `port: 8000`")
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = ServiceSettings(**content)
        if given:
            # Once more, for options decide whether all goes together; without variables, which come after them.
            content = {**settings.model_dump(), **given}
            settings = ServiceSettings(_env_prefix=_NO_VARIABLES, **content)  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"settings of the service: {where + ': ' if where else ''}{first['msg']}") from error
    except SettingsError as error:
        # Raised for variables alone, which are read before anything is checked.
        what = str(error).partition(" from source")[0]
        raise UsageError(
            f'settings of the service: {what}: in a variable, lists are JSON, as ["a.example", "b.example"]'
        ) from error
    return settings
