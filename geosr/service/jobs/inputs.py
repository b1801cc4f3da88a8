"""Inputs of the process ``upscale``, and areas in degrees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import shapely
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from pyproj import Geod

import catalog
from geosr.model.zoo import DEFAULT_MODEL, ModelRef, names
from geosr.service.geojson import AreaJson
from geosr.service.jobs.input_rules import UPSCALE_RULES
from geosr.service.jobs.processes import UPSCALE
from geosr.service.request_types import CONFLICT, NO_TEXT, Address, Box, Number, Period, SensorName, Truth, box_in_order
from geosr.version import VERSION

#: Further scenes that correct an image, at most.
MOST_OTHERS = 7

Priority = Literal["rapid", "normal"]

_WGS84 = Geod(ellps="WGS84")


class UpscaleInputs(BaseModel):
    """A scene by its id, a STAC Item by its address, or an area and dates to search for the clearest."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=UPSCALE_RULES)

    process: ClassVar[str] = UPSCALE

    scene: str | None = Field(default=None, max_length=64, description="Id of a scene of this service.")
    others: tuple[Annotated[str, Field(max_length=64)], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_OTHERS,
        description="Ids of further scenes of this service, of other dates, that correct the scene's image.",
    )
    item: Address | None = Field(default=None, description="Address of a STAC Item.")
    bbox: Box | None = Field(
        default=None, description="West, south, east, north in degrees: where to search, or what to cut out."
    )
    aoi: AreaJson | None = Field(
        default=None, description="The same as GeoJSON polygons; their bounding box is upscaled."
    )
    datetime: Period | None = Field(
        default=None, description="When to search: 2024-06-01, 2024-06, or 2024-06-01/2024-08-31."
    )
    max_cloud: Number = Field(default=100, ge=0, le=100, description="Highest cloud cover of a search, percent.")
    dates: Annotated[int, Field(ge=2, le=catalog.MOST_DATES), NO_TEXT] | None = Field(
        default=None,
        description="Correct one date's image by others of the search, so many dates in all.",
    )
    reference: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Of several dates, the one whose product is made, as 2024-06-13 or an Item's id; by default the "
        "clearest.",
    )
    fill: Truth = Field(default=False, description="Fill gaps from other overpasses, clearest first.")
    mask_clouds: Truth = Field(default=False, description="Make clouds, shadows and saturated pixels nodata.")
    nodata: Number | None = Field(
        default=None,
        description="A DN without measurement, besides those that the source declares; of a scene, by default its own.",
    )
    sensor: SensorName | None = Field(
        default=None,
        description="Instrument, where the source does not say it, by a profile of the package; of a scene, by default "
        "its own.",
    )
    model: str = Field(
        default=DEFAULT_MODEL, description="One of the shipped models.", json_schema_extra={"enum": [*names()]}
    )
    uncertainty: Truth = Field(default=False, description="Also make half-widths and measured fraction.")
    sharpness: Number = Field(
        default=0,
        ge=0,
        le=1,
        description="Share of the model's visual weights: above 0 the product looks sharper and is not for measuring.",
    )
    priority: Priority = Field(default="normal", description="Rapid jobs come before the others that wait.")

    @model_validator(mode="after")
    def _check(self) -> UpscaleInputs:
        if self.bbox is not None and self.aoi is not None:
            raise ValueError("give bbox or aoi, not both")
        if self.others is not None and self.scene is None:
            raise ValueError("others are further scenes of a scene: name it with scene")
        if self.scene is not None and self.item is not None:
            raise ValueError("give scene or item, not both")
        named = self.scene is not None or self.item is not None
        if not named and (self.datetime is None or (self.bbox is None and self.aoi is None)):
            raise ValueError("nothing to work on: give scene, item, or bbox or aoi with datetime")
        if named and self.datetime is not None:
            raise ValueError("datetime would search for scenes, and one is named already: leave one or the other out")
        if self.dates is not None and named:
            raise ValueError("dates are several of a search: give bbox or aoi with datetime instead of scene or item")
        if self.others is not None and self.scene in self.others:
            raise PydanticCustomError(CONFLICT, "others: {scene} is the scene itself", {"scene": self.scene})
        if self.others is not None and self.fill:
            raise ValueError("fill would have no effect: several dates make one image on the scene's own pixels")
        if self.reference is not None and self.dates is None:
            raise ValueError("reference is one of several dates: say how many with dates")
        if self.dates is not None and self.fill:
            raise ValueError("fill would have no effect: several dates make one image on the reference's own pixels")
        return self

    def choice(self, source: str | None) -> catalog.DateChoice | None:
        """Choice of several dates; None for one date. ``source`` is the scene's."""
        if self.others is not None:
            return catalog.DateChoice(reference=source, lenient=True)
        return None if self.dates is None else catalog.DateChoice(self.dates, self.reference)

    @property
    def scenes(self) -> tuple[str, ...]:
        """Ids of the scenes that it reads."""
        return () if self.scene is None else (self.scene, *(self.others or ()))

    @property
    def area(self) -> shapely.geometry.base.BaseGeometry | None:
        """Area of interest, in degrees."""
        if self.bbox is None and self.aoi is None:
            return None
        return parse_area(self.bbox, self.aoi)

    @cached_property
    def model_ref(self) -> ModelRef:
        """The model that was chosen."""
        return ModelRef(self.model, self.sharpness)

    @property
    def repeatable(self) -> bool:
        """True when the same inputs give the same product at any later time."""
        return self.datetime is None

    def digest(self) -> str:
        """Identity of what is asked for; who waits for it, and how urgently, is no part of it."""
        # What was made before there was any sharpness or nodata is still what is asked for without.
        unused = {
            "sharpness": not self.sharpness,
            **{name: getattr(self, name) is None for name in ("nodata", "sensor", "dates", "reference", "others")},
        }
        idle = {"priority", *(name for name, left_out in unused.items() if left_out)}
        content = self.model_dump(mode="json", exclude=idle)
        decisive = {"inputs": content, "model": self.model_ref.card.digest, "version": VERSION}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def parse_area(bbox: Sequence[float] | None, geometry: dict[str, Any] | None) -> shapely.geometry.base.BaseGeometry:
    """A box or GeoJSON as an area. South and north of a box may stand in either order.

    Raises :class:`catalog.AreaError` for what is empty or crosses the antimeridian.
    """
    if bbox is not None:
        try:
            return catalog.parse_bbox(",".join(map(repr, box_in_order(*bbox))))
        except catalog.RequestError as error:
            raise catalog.AreaError(str(error)) from error
    return catalog.parse_aoi(geometry, "the area of interest")


def area_km2(area: shapely.geometry.base.BaseGeometry) -> float:
    """Area of a bounding box in degrees, on the ellipsoid, km²."""
    west, south, east, north = area.bounds
    square_m, _ = _WGS84.geometry_area_perimeter(shapely.segmentize(shapely.box(west, south, east, north), 1.0))
    return abs(square_m) / 1e6
