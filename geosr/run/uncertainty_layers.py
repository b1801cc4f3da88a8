"""Output layers written with ``--uncertainty``: half-widths of the pixels, and how much of them is measured.

Both are rasters of their own on the product's grid. This module says what they are called, how their numbers are
stored, and what their tags say; :mod:`geosr.inference.upscaler` computes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import catalog
from catalog import Scene
from geosr.errors import UsageError
from geosr.inference.upscaled_window import NOTHING_MEASURED, SceneUncertainty, Uncertainty
from geosr.model.card import Calibration, ModelCard
from geosr.model.zoo import shipped_cards
from tiling import Location, Product

HALF_WIDTH = "uncertainty"
MEASURED = "measured"

#: Name of the layer of :mod:`geosr.run.weights_layer`.
WEIGHTS = "weights"

#: Names of layers in products of earlier versions. They are read, never written.
EARLIER_NAMES = {MEASURED: "support"}

#: Half-widths of integer products are stored in 16 bits, of which the last number stands for nodata: 6.5 in
#: reflectance at Sentinel-2's scale, which no half-width comes near.
_INTEGER_NODATA = 65535

#: Between a band's name and the reflectance of its half-widths' DN 1, in the tag of their radiometry.
_IN_REFLECTANCE = ": half-width in reflectance = DN * "

MEASURED_MEANING = (
    "percentage of the local detail that is measured: it exceeds the source's noise and follows from the source by the "
    "best linear estimate through the sensor's blur; the rest is noise, or estimated from what the model has learned"
)

SCENE_MEANING = (
    "half-widths of this scene are multiplied, by band of the model, by what the model's errors say when the scene is "
    "made from itself four times coarser"
)

DATES_MEANING = (
    "half-widths of the reference, multiplied by 1 - {most:g} n / (n + {half_at:g}): n is the effective number of "
    "further dates that correct the image at a place, 0 where none does"
)


@dataclass(frozen=True)
class OutputLayer:
    """A raster beside the product, on the same grid."""

    name: str
    """In names of chunk files, and of the asset."""
    path: Location
    product: Product
    """Its form, with the tags of its own."""
    asset: catalog.ResultLayer

    @classmethod
    def of(
        cls,
        name: str,
        path: Location,
        product: Product,
        title: str,
        description: str,
        bands: Sequence[Mapping[str, Any]],
    ) -> OutputLayer:
        """Layer of this form, whose asset has the title, the description and the bands."""
        asset = catalog.ResultLayer(name, path.name, title, description, product.dtype, product.nodata, tuple(bands))
        return cls(name, path, product, asset)

    @property
    def earlier_path(self) -> Location | None:
        """Path that an earlier version gave it; None where that is the same."""
        if self.name not in EARLIER_NAMES:
            return None
        stem = self.path.stem.removesuffix(self.name)
        return self.path.with_name(f"{stem}{EARLIER_NAMES[self.name]}{self.path.suffix}")

    def placed(self, path: Location) -> OutputLayer:
        """Copy of the layer in another file."""
        return replace(self, path=path, asset=replace(self.asset, name=path.name))

    def tagged(self, tags: Mapping[str, str]) -> Product:
        """Its form with the product's tags, where its own do not say otherwise."""
        return replace(self.product, tags={**tags, **self.product.tags})

    def pixels_of(self, uncertainty: Uncertainty) -> NDArray[Any]:
        """Values of a chunk as they are stored here, ``(bands, rows, cols)``."""
        if self.name == MEASURED:
            return uncertainty.measured_fraction
        return store_half_width(uncertainty.half_width_dn, np.dtype(self.product.dtype))


def check_calibrated(card: ModelCard) -> Calibration:
    """The calibration of a model that has one. Raises :class:`UsageError` for others."""
    if card.sharpness:
        raise UsageError(
            f"half-widths are calibrated for sharpness 0, not {card.sharpness:g}: leave out the uncertainty or the "
            "sharpness"
        )
    if card.calibration is None:
        able = [other.name for other in shipped_cards() if other.calibration is not None]
        raise UsageError(
            f"model {card.name} has no calibrated half-widths, and uncertainty needs them: "
            + (f"take {' or '.join(able)}" if able else "no shipped model has them, give the card of one that does")
        )
    return card.calibration


def layers_of(
    output: Location,
    scene: Scene,
    product: Product,
    uncertainty: SceneUncertainty,
    bands: Sequence[str],
    *,
    several_dates: bool = False,
) -> tuple[OutputLayer, ...]:
    """The rasters that go beside ``output``; ``bands`` are the model's."""
    half_width, measured = (layer_path(output, name) for name in (HALF_WIDTH, MEASURED))
    widths = _half_width_layer(half_width, scene, product, uncertainty, bands)
    narrowing = uncertainty.calibration.dates
    if several_dates and narrowing is not None:
        meaning = DATES_MEANING.format(most=narrowing.most, half_at=narrowing.half_at)
        tags = {**widths.product.tags, "GEOSR_UNCERTAINTY_DATES": meaning}
        widths = replace(widths, product=replace(widths.product, tags=tags))
    return widths, _measured_layer(measured, product)


def layer_path(output: Location, name: str) -> Location:
    """Path of an output's layer: beside it, named after it."""
    return output.with_name(f"{output.stem}_{name}{output.suffix}")


def layer_paths(output: Location) -> set[Location]:
    """Paths of all layers that an output may have, those of earlier versions included."""
    return {layer_path(output, name) for name in (HALF_WIDTH, MEASURED, WEIGHTS, *EARLIER_NAMES.values())}


def store_half_width(half_width_dn: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Half-widths as they are stored in a product's layer; NaN becomes its nodata.

    Integers are rounded up, so that no interval is narrower than it has to be.
    """
    if not np.issubdtype(dtype, np.integer):
        return half_width_dn.astype(dtype)
    whole = np.ceil(half_width_dn).clip(max=_INTEGER_NODATA - 1)
    return np.where(np.isnan(whole), _INTEGER_NODATA, whole).astype(dtype)


def half_width_name(band: str) -> str:
    """The description of a band's half-widths, which no reader takes for the band itself."""
    return f"{band} half-width".strip()


def reflectance_per_dn(tags: Mapping[str, str]) -> tuple[float, ...] | None:
    """Reflectance of DN 1 of each band of half-widths, by the tags of their file; None for other rasters."""
    parts = [part.partition(_IN_REFLECTANCE)[2] for part in tags.get("GEOSR_RADIOMETRY", "").split("; ")]
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        return None


def meaning_of_half_width(calibration: Calibration) -> str:
    """Meaning of a model's half-widths, in one sentence."""
    level = f"{100 * calibration.level:g} %"
    measured_on = f" on {', '.join(calibration.data)}" if calibration.data else ""
    scene = (
        ", and one factor per band says how much harder or easier the scene is" if calibration.scene_exponent else ""
    )
    return (
        f"half-width of the {level} interval, calibrated by split-conformal prediction{measured_on}: "
        f"in {level} of pixels like those the truth lies within image ± half-width{scene}"
    )


def _half_width_layer(
    path: Location, scene: Scene, product: Product, uncertainty: SceneUncertainty, bands: Sequence[str]
) -> OutputLayer:
    calibration = uncertainty.calibration
    floats = np.issubdtype(np.dtype(product.dtype), np.floating)
    form = Product(
        dtype=product.dtype if floats else "uint16",
        descriptions=tuple(half_width_name(text) for text in product.descriptions),
        nodata=math.nan if floats else float(_INTEGER_NODATA),
        scales=tuple(abs(scale) for scale in product.scales),
        # A width is a difference: what is added to both of its ends does not change it.
        offsets=(0.0,) * len(product.offsets),
        compression=product.compression,
        tags={
            "GEOSR_UNCERTAINTY": meaning_of_half_width(calibration),
            "GEOSR_RADIOMETRY": "; ".join(f"{band.name}{_IN_REFLECTANCE}{abs(band.scale):g}" for band in scene.bands),
            **_scene_tag(uncertainty, bands),
        },
    )
    title = f"Half-width of the {100 * calibration.level:g} % interval"
    described = [
        {
            "name": band.name,
            "description": half_width_name(band.description),
            "raster:scale": abs(band.scale),
            "raster:offset": 0,
        }
        for band in scene.bands
    ]
    return OutputLayer.of(HALF_WIDTH, path, form, title, meaning_of_half_width(calibration), described)


def _scene_tag(uncertainty: SceneUncertainty, bands: Sequence[str]) -> dict[str, str]:
    """The factors on the scene's half-widths, by band of the model; empty where there are none."""
    if not uncertainty.width_factors:
        return {}
    factors = ", ".join(f"{band} {factor:.3f}" for band, factor in zip(bands, uncertainty.width_factors, strict=False))
    return {"GEOSR_UNCERTAINTY_SCENE": f"{SCENE_MEANING}: {factors}"}


def _measured_layer(path: Location, product: Product) -> OutputLayer:
    form = Product(
        dtype="uint8",
        descriptions=("measured detail, %",),
        nodata=float(NOTHING_MEASURED),
        compression=product.compression,
        tags={"GEOSR_MEASURED": MEASURED_MEANING},
    )
    described = [{"name": MEASURED, "description": form.descriptions[0], "unit": "%"}]
    return OutputLayer.of(MEASURED, path, form, "Measured share of the local detail", MEASURED_MEANING, described)
