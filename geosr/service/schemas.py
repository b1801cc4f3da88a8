"""Answers of the service, as its OpenAPI document has them. Names are those of OGC's schemas."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Link(BaseModel):
    """A link to another resource."""

    model_config = ConfigDict(extra="allow")

    href: str
    rel: str | None = None
    type: str | None = None


class Conformance(BaseModel):
    """Standards that the service conforms to."""

    conformsTo: list[str]  # noqa: N815


class ProcessSummary(BaseModel):
    """A process in a list."""

    id: str
    version: str
    title: str
    description: str
    jobControlOptions: list[Literal["sync-execute", "async-execute", "dismiss"]]  # noqa: N815
    outputTransmission: list[Literal["value", "reference"]]  # noqa: N815
    links: list[Link]


class ProcessList(BaseModel):
    """All processes."""

    processes: list[ProcessSummary]
    links: list[Link]


class Parameter(BaseModel):
    """An input or output of a process."""

    model_config = ConfigDict(extra="allow")

    title: str
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")


class ProcessDescription(ProcessSummary):
    """A process in full."""

    inputs: dict[str, Parameter]
    outputs: dict[str, Parameter]


class Chunks(BaseModel):
    """Number of chunks of a job, and of those that are finished."""

    finished: int
    all: int


class StatusInfo(BaseModel):
    """Status of a job."""

    processID: str  # noqa: N815
    type: Literal["process"]
    jobID: str  # noqa: N815
    status: Literal["accepted", "running", "successful", "failed", "dismissed"]
    message: str
    progress: int = Field(ge=0, le=100)
    created: str
    started: str | None = None
    finished: str | None = None
    updated: str
    title: str | None = None
    links: list[Link]
    inputs: dict[str, Any]
    chunks: Chunks
    secondsLeft: float | None = None  # noqa: N815


class JobList(BaseModel):
    """Some of a caller's jobs."""

    jobs: list[StatusInfo]
    links: list[Link]
    numberMatched: int  # noqa: N815


class ProblemDetails(BaseModel):
    """Problem (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class BandInfo(BaseModel):
    """A band of a scene: reflectance is DN × scale + offset."""

    name: str
    scale: float
    offset: float
    nodata: float | None


class SceneInfo(BaseModel):
    """Description of a scene."""

    model_config = ConfigDict(extra="allow")

    id: str
    title: str
    kind: Literal["demo", "upload", "item"]
    datetime: str | None
    bbox: list[float] = Field(min_length=4, max_length=4)
    footprint: dict[str, Any]
    crs: str
    size_px: list[int]
    gsd_m: float | None
    bands: list[BandInfo]
    limits: dict[str, list[float]]
    model: str
    scale: int
    uncertainty: bool
    visual: bool
    several_dates: bool
    """True where further scenes of the place can correct its image."""
    level: float | None
    effective_resolution: str | None
    detail: str
    notes: list[str]


class SceneList(BaseModel):
    """Scenes that can be shown."""

    scenes: list[SceneInfo]


class PointValue(BaseModel):
    """A number of a pixel."""

    dn: float
    reflectance: float


class BandValues(BaseModel):
    """A band's numbers at a place; null where nothing was measured or is known."""

    name: str
    before: PointValue | None
    after: PointValue | None
    half_width: PointValue | None


class DateReport(BaseModel):
    """One of the dates that make one image."""

    model_config = ConfigDict(extra="allow")

    date: str
    role: Literal["reference", "used", "not used"]
    reason: str | None = None
    """Reason why it takes no part."""


class Point(BaseModel):
    """A pixel before and after."""

    lon: float
    lat: float
    source_pixel: list[int]
    pixel: list[int]
    bands: list[BandValues]


class Place(BaseModel):
    """A place that was found."""

    name: str
    bbox: list[float] = Field(min_length=4, max_length=4)


class BandProfile(BaseModel):
    """Reflectance of a band along a line; null where nothing was measured."""

    name: str
    before: list[float | None]
    after: list[float | None]


class Profile(BaseModel):
    """A line of a scene, before and after."""

    distance_m: list[float]
    bands: list[BandProfile]


class StretchLimits(BaseModel):
    """Limits of what is shown, low and high of each band, and the same as ``rescale`` takes it."""

    rescale: str
    limits: list[list[float]]


class TileJson(BaseModel):
    """TileJSON 3.0."""

    tilejson: Literal["3.0.0"]
    name: str
    tiles: list[str]
    bounds: list[float]
    center: list[float]
    minzoom: int
    maxzoom: int
    attribution: str


class FeatureCollection(BaseModel):
    """GeoJSON; of STAC Items where those are asked for."""

    model_config = ConfigDict(extra="allow")

    type: Literal["FeatureCollection"]
    features: list[dict[str, Any]]
