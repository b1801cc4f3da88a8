"""GeoJSON in requests (RFC 7946): its form is checked by pydantic, and the dictionary itself goes on.

Imports no web framework: a job's process needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from geosr.service.request_types import Form, Number

#: A place, with or without a height and a measure; in degrees, or of fields in the units of their CRS.
Position = Annotated[list[Number], Field(min_length=2, max_length=4)]

Ring = Annotated[list[Position], Field(min_length=4)]
Rings = Annotated[list[Ring], Field(min_length=1)]
Line = Annotated[list[Position], Field(min_length=2)]


class PointGeometry(BaseModel):
    """A place."""

    type: Literal["Point"]
    coordinates: Position


class MultiPoint(BaseModel):
    """Places."""

    type: Literal["MultiPoint"]
    coordinates: list[Position] = Field(min_length=1)


class LineString(BaseModel):
    """A line."""

    type: Literal["LineString"]
    coordinates: Line


class MultiLineString(BaseModel):
    """Lines."""

    type: Literal["MultiLineString"]
    coordinates: list[Line] = Field(min_length=1)


class Polygon(BaseModel):
    """An outline, and those of its holes."""

    type: Literal["Polygon"]
    coordinates: Rings


class MultiPolygon(BaseModel):
    """Polygons."""

    type: Literal["MultiPolygon"]
    coordinates: list[Rings] = Field(min_length=1)


Surface = Annotated[Polygon | MultiPolygon, Field(discriminator="type")]
Simple = Annotated[
    PointGeometry | MultiPoint | LineString | MultiLineString | Polygon | MultiPolygon, Field(discriminator="type")
]


class Surfaces(BaseModel):
    """Polygons of both kinds."""

    type: Literal["GeometryCollection"]
    geometries: list[Surface] = Field(min_length=1)


class Geometries(BaseModel):
    """Geometries of several kinds."""

    type: Literal["GeometryCollection"]
    geometries: list[Simple] = Field(min_length=1)


class SurfaceFeature(BaseModel):
    """A feature with an outline."""

    type: Literal["Feature"]
    geometry: Surface
    properties: dict[str, Any] | None = None


class SurfaceFeatureCollection(BaseModel):
    """Features with outlines."""

    type: Literal["FeatureCollection"]
    features: list[SurfaceFeature] = Field(min_length=1)


class CrsName(BaseModel):
    """Code of a CRS; an address would be fetched by GDAL."""

    name: Annotated[
        str,
        Form(
            r"(urn:ogc:def:crs:(EPSG|OGC):[0-9.]{0,8}:|(EPSG|OGC):)[A-Za-z0-9_]{1,12}",
            "give the CRS by its code, as urn:ogc:def:crs:EPSG::32633",
        ),
    ]


class NamedCrs(BaseModel):
    """CRS as GeoJSON had it before RFC 7946."""

    type: Literal["name"]
    properties: CrsName


class FieldFeatures(BaseModel):
    """Fields of one file."""

    type: Literal["FeatureCollection"]
    features: list[SurfaceFeature] = Field(min_length=1)
    crs: NamedCrs | None = None


#: An upload of fields.
FIELDS: TypeAdapter[FieldFeatures | SurfaceFeature] = TypeAdapter(
    Annotated[FieldFeatures | SurfaceFeature, Field(discriminator="type")]
)


@dataclass(frozen=True, eq=False)
class _FormOf:
    """Form of a dictionary, which stays as it is."""

    adapter: TypeAdapter[Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check what pydantic takes for a dictionary."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema of its parts, for clients."""
        return handler(self.adapter.core_schema)

    def check(self, content: dict[str, Any]) -> dict[str, Any]:
        """The dictionary. Raises ``ValueError`` where it has another form."""
        try:
            self.adapter.validate_python(content)
        except ValidationError as error:
            raise ValueError(f"is no such GeoJSON: {told(error)}") from None
        return content


_AREA: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        Polygon | MultiPolygon | Surfaces | SurfaceFeature | SurfaceFeatureCollection, Field(discriminator="type")
    ]
)
_GEOMETRY: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        PointGeometry | MultiPoint | LineString | MultiLineString | Polygon | MultiPolygon | Geometries,
        Field(discriminator="type"),
    ]
)


def told(error: ValidationError) -> str:
    """The first of pydantic's complaints about GeoJSON."""
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"])
    return f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"


#: Polygons in degrees: a geometry, a feature or features.
AreaJson = Annotated[dict[str, Any], _FormOf(_AREA)]

#: Any geometry in degrees.
GeometryJson = Annotated[dict[str, Any], _FormOf(_GEOMETRY)]
