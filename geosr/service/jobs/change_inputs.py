"""Inputs of the process ``change``."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from shapely.geometry.base import BaseGeometry

from geosr.change.indices import INDICES
from geosr.model.zoo import ModelRef, names
from geosr.service.geojson import AreaJson
from geosr.service.jobs.inputs import Priority, parse_area
from geosr.service.jobs.processes import CHANGE
from geosr.service.request_types import CONFLICT, Box, Number, Truth, all_given
from geosr.version import VERSION

#: Names of :data:`geosr.change.indices.INDICES`; a test holds them together.
IndexName = Literal["ndwi", "ndvi", "nbr", "ndbi"]


class ChangeInputs(BaseModel):
    """Two scenes of one place, and what is compared."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"not": all_given("bbox", "aoi")})

    process: ClassVar[str] = CHANGE

    before: str = Field(max_length=64, description="Id of the earlier scene of this service.")
    after: str = Field(max_length=64, description="Id of the later scene.")
    bbox: Box | None = Field(
        default=None, description="West, south, east, north in degrees: what to compare; by default all of both."
    )
    aoi: AreaJson | None = Field(
        default=None, description="The same as GeoJSON polygons; their bounding box is compared."
    )
    index: IndexName = Field(
        default="ndwi", description="Water, vegetation, burned ground, or built-up ground; nbr and ndbi need ten bands."
    )
    least: Number = Field(default=0.1, ge=0, le=2, description="Smallest difference of the index that counts.")
    least_hectares: Number = Field(default=0.1, ge=0, le=1e6, description="Smallest area that counts.")
    mask_clouds: Truth = Field(
        default=False, description="Leave out clouds and shadows, where the scenes have a classification."
    )
    model: str | None = Field(
        default=None,
        description="One of the shipped models; by default the index's own.",
        json_schema_extra={"enum": [*names(), None]},
    )
    priority: Priority = Field(default="normal", description="Rapid jobs come before the others that wait.")

    @model_validator(mode="after")
    def _check(self) -> ChangeInputs:
        if self.bbox is not None and self.aoi is not None:
            raise ValueError("give bbox or aoi, not both")
        if self.before == self.after:
            raise PydanticCustomError(CONFLICT, "before and after are one scene: give two dates of one place")
        return self

    @property
    def scenes(self) -> tuple[str, ...]:
        """Ids of the scenes that it reads."""
        return self.before, self.after

    @property
    def area(self) -> BaseGeometry | None:
        """Area of interest, in degrees."""
        return None if self.bbox is None and self.aoi is None else parse_area(self.bbox, self.aoi)

    @cached_property
    def model_ref(self) -> ModelRef:
        """The model that was chosen, or the index's own."""
        return ModelRef(self.model or INDICES[self.index].model)

    @property
    def repeatable(self) -> bool:
        """True when the same inputs give the same map at any later time."""
        return True

    def digest(self) -> str:
        """Identity of what is asked for; who waits for it, and how urgently, is no part of it."""
        content = self.model_dump(mode="json", exclude={"priority"})
        decisive = {
            "process": self.process,
            "inputs": content,
            "model": self.model_ref.card.digest,
            "version": VERSION,
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
