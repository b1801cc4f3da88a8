"""Dates of a cube: products in the order of their times, all of one form."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from odc.geo.geobox import GeoBox

from catalog import BandSpec
from geosr.errors import UsageError
from geosr.fields.images import FieldImage, images_of
from geosr.run.uncertainty_layers import HALF_WIDTH, layer_path


@dataclass(frozen=True)
class CubeForm:
    """Form of a cube: all that its dates have in common."""

    geobox: GeoBox
    bands: tuple[BandSpec, ...]
    dtype: str
    half_widths: bool
    """Half-widths of the pixels go beside the bands."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(band.name for band in self.bands)

    def digest(self) -> str:
        """Digest of the form."""
        text = repr(
            (
                self.geobox.crs.to_wkt() if self.geobox.crs else None,
                tuple(round(float(one), 9) for one in self.geobox.affine[:6]),
                tuple(self.geobox.shape),
                [(band.name, band.scale, band.offset, str(band.nodata)) for band in self.bands],
                self.dtype,
                self.half_widths,
            )
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class CubeDate:
    """One date."""

    image: FieldImage
    form: CubeForm

    @property
    def record(self) -> dict[str, str]:
        """Name, time and digest, as the cube keeps them."""
        digest = hashlib.sha256(self.image.identity.encode()).hexdigest()[:16]
        return {"name": self.image.name, "time": self.image.time.isoformat(), "digest": digest}


def dates_of(sources: Sequence[str]) -> list[CubeDate]:
    """Open the products of a cube.

    Raises :class:`UsageError` for products of several grids, bands or scales, and for two of one time.
    """
    images = images_of(sources, ())
    found = [CubeDate(image, _form_of(image)) for image in images]
    first = found[0]
    for one in found[1:]:
        difference = differs(one.form, first.form)
        if difference:
            raise UsageError(
                f"{one.image.source} has {difference} than {first.image.source}: a cube has one of all; make its "
                "products with one area, --bbox or --aoi, and the scenes of an overpass as one, geosr upscale A B"
            )
    for one, other in pairwise(found):
        if one.image.time == other.image.time:
            raise UsageError(
                f"{one.image.source} and {other.image.source} are of one time, {one.image.time.isoformat()}: join the "
                "scenes of an overpass with geosr upscale A B"
            )
    return found


def differs(form: CubeForm, other: CubeForm) -> str | None:
    """Say in what two forms differ; None where they do not."""
    parts: list[tuple[str, Any, Any]] = [
        ("another CRS", form.geobox.crs, other.geobox.crs),
        ("another grid", (form.geobox.affine, form.geobox.shape), (other.geobox.affine, other.geobox.shape)),
        ("other bands", form.names, other.names),
        ("another type", form.dtype, other.dtype),
        (
            "another scale, offset or nodata value",
            [(band.scale, band.offset, str(band.nodata)) for band in form.bands],
            [(band.scale, band.offset, str(band.nodata)) for band in other.bands],
        ),
        ("half-widths, or none, other", form.half_widths, other.half_widths),
    ]
    return next((text for text, one, two in parts if one != two), None)


def _form_of(image: FieldImage) -> CubeForm:
    scene = image.scene
    widths = image.product is not None and layer_path(image.product, HALF_WIDTH).exists()
    return CubeForm(scene.geobox, scene.bands, scene.dtype, widths)
