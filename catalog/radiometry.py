"""DN-to-reflectance conversion: :func:`reflectance_of`, and one decision with its reason for every kind of source.

From processing baseline 04.00 on, Sentinel-2's DN carry an offset of 1000. Catalogues deliver these DN with the
offset, without it, or without it while declaring it; the date does not tell, for old scenes are reprocessed. Each
function below is a table of cases, in the order in which they apply; the first that fits decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from catalog.errors import RadiometryError
from catalog.sensors import SensorProfile
from catalog.sentinel2 import QUANTIFICATION, baseline_of_product, is_sentinel2, offset_of_baseline, parse_baseline

_BASELINE_FIELDS = (
    "s2:processing_baseline",
    "sentinel2:processing_baseline",
    "sentinel:processing_baseline",
    "processing:version",
)
_PRODUCT_FIELDS = ("s2:product_uri", "sentinel2:product_title", "sentinel:product_id", "title")
_FLAG_FIELDS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")

#: Beginning of the reason for a scale that only a convention gives.
_ASSUMED = "assumed"

_WIDE_INTEGERS = ("uint16", "int16", "uint32", "int32")


@dataclass(frozen=True)
class Radiometry:
    """``reflectance = DN * scale + offset``, and why.

    Raises :class:`RadiometryError` for a scale of 0 and for values that are not finite.
    """

    scale: float
    offset: float
    reason: str
    scale_assumed: bool = False
    """True if the scale is the usual one of integers of 16 bits and more, because nothing declares another."""

    def __post_init__(self) -> None:
        if self.scale == 0 or not (math.isfinite(self.scale) and math.isfinite(self.offset)):
            raise RadiometryError(
                f"scale {self.scale:g} and offset {self.offset:g} ({self.reason}) do not make reflectance: "
                "give --scale and --offset, finite numbers and a scale other than 0"
            )


def reflectance_of(
    dn: NDArray[Any], scales: ArrayLike, offsets: ArrayLike, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """Convert DN ``(bands, rows, cols)`` to reflectance of a type by the scale and the offset of each band."""
    reflectance = dn.astype(dtype)
    reflectance *= np.asarray(scales, dtype).reshape(-1, 1, 1)
    reflectance += np.asarray(offsets, dtype).reshape(-1, 1, 1)
    return reflectance


def is_assumed(reason: str) -> bool:
    """Tell whether nothing but a convention gives a band's scale and offset, by their reason."""
    return reason.startswith(_ASSUMED)


def override(scale: float | None, offset: float | None, fallback: Radiometry | None) -> Radiometry:
    """Complete the user's scale and offset by those of the source; an offset that neither gives is 0.

    Raises :class:`RadiometryError` when neither gives a scale.
    """
    assumed = scale is None and fallback is not None and fallback.scale_assumed
    if scale is None:
        if fallback is None:
            raise RadiometryError("an offset alone does not make reflectance: give the scale as well")
        scale = fallback.scale
    if offset is None:
        offset = fallback.offset if fallback is not None else 0.0
    return Radiometry(scale, offset, "given by the user", assumed)


def of_item(
    item: Mapping[str, Any],
    asset_key: str,
    index: int = 1,
    *,
    sensor: SensorProfile | None = None,
    scale: float | None = None,
    offset: float | None = None,
) -> Radiometry:
    """The radiometry of one band (from 1) of one asset of a STAC Item (as a dictionary).

    ====================================================  =====================================
    the catalogue says                                    reflectance at DN 0
    ====================================================  =====================================
    offset already applied (Earth Search v0, v1)          0, whatever ``raster:bands`` declares; the original
                                                          JPEG 2000 files on the same Item are as declared
    the asset declares scale and offset                   as declared
    nothing, and the Item's ``sensor`` has a profile      scale and offset of the profile
    a processing baseline, or a product name with one     Sentinel-2's: -0.1 from 04.00 on, 0 before
    nothing of these                                      error
    ====================================================  =====================================

    ``scale`` and ``offset`` are the user's and override the Item's.

    Raises :class:`RadiometryError` when nothing decides.
    """
    try:
        decided = _of_item(item, asset_key, index) if sensor is None else _of_item_of(sensor, item, asset_key, index)
    except RadiometryError:
        if offset is None or (scale is None and is_sentinel2(item) is False):
            raise
        decided = Radiometry(1 / QUANTIFICATION, offset, "given by the user", scale_assumed=True)
    return decided if scale is None and offset is None else override(scale, offset, decided)


def _of_item(item: Mapping[str, Any], asset_key: str, index: int) -> Radiometry:
    properties = item.get("properties", {})
    asset = item["assets"][asset_key]
    declared = _declared(asset, index)
    told = declared[0] if declared else None
    scale, assumed = (1 / QUANTIFICATION, True) if told is None else (told, False)

    flag_field = next((field for field in _FLAG_FIELDS if properties.get(field) is not None), None)
    # The flag speaks of the catalogue's own copies: ESA's original files are listed beside them.
    original = "jp2" in str(asset.get("type", ""))
    if flag_field is not None and properties[flag_field] and not original:
        contradiction = (
            f" (the declared offset {declared[1]:g} is not applied twice)" if declared and declared[1] else ""
        )
        reason = f"{flag_field} is true: DN come with the offset applied{contradiction}"
        return Radiometry(scale, 0.0, reason, assumed)
    if declared is not None and declared[1] is not None and (told is not None or is_sentinel2(item) is not False):
        reason = f"declared by asset {asset_key}"
        if flag_field is not None and declared[1] and not original:
            reason += (
                f", and {flag_field} is false (wrong for some scenes: --offset 0 if reflectances come out negative)"
            )
        return Radiometry(scale, declared[1], reason, assumed)

    baseline = _baseline_of(item)
    if baseline is not None:
        return Radiometry(scale, offset_of_baseline(baseline[0]), baseline[1], assumed)
    if told is not None:
        return Radiometry(scale, 0.0, f"declared by asset {asset_key}, which has a scale and no offset")
    raise RadiometryError(_advice(item))


def _of_item_of(sensor: SensorProfile, item: Mapping[str, Any], asset_key: str, index: int) -> Radiometry:
    scale, offset = _declared(item["assets"][asset_key], index) or (None, None)
    if scale is not None and offset is not None:
        return Radiometry(scale, offset, f"declared by asset {asset_key}")
    if scale is not None and (sensor.scale is None or not math.isclose(scale, sensor.scale)):
        return Radiometry(scale, 0.0, f"declared by asset {asset_key}, which has a scale and no offset")
    if sensor.scale is None:
        raise RadiometryError(_advice(item))
    reason = f"by the sensor profile {sensor.name}, for the Item tells no {'offset' if scale else 'scale'}"
    return Radiometry(sensor.scale, sensor.offset if offset is None else offset, reason, scale_assumed=scale is None)


def check_type(dtype: str, decided: Radiometry, what: str) -> None:
    """Refuse a scale that is assumed for DN of a type that never has it.

    Raises :class:`RadiometryError`, naming ``what``.
    """
    if decided.scale_assumed and dtype not in _WIDE_INTEGERS and not dtype.startswith("float"):
        raise RadiometryError(
            f"{what} holds {dtype} values and tells no scale, so they are a plain image, not reflectance: give --scale "
            "and --offset (such as 0.0039, which is 1/255, and 0), or upscale its raster by itself with --plain-image"
        )


def _baseline_of(item: Mapping[str, Any]) -> tuple[tuple[int, int], str] | None:
    """Sentinel-2's processing baseline of an Item, and where it stands."""
    properties = item.get("properties", {})
    for field in _BASELINE_FIELDS if is_sentinel2(item) is not False else ():
        try:
            return parse_baseline(str(properties[field])), f"{field} {properties[field]}"
        except (KeyError, ValueError):
            continue
    for name in (*(str(properties.get(field, "")) for field in _PRODUCT_FIELDS), str(item.get("id", ""))):
        baseline = baseline_of_product(name)
        if baseline is not None:
            return baseline, "baseline {:02d}.{:02d} in the product's name".format(*baseline)
    return None


def _advice(item: Mapping[str, Any]) -> str:
    """Advice for an Item that does not tell how its DN become reflectance."""
    properties = item.get("properties", {})
    telling = (properties.get(field) for field in ("platform", "constellation", "instruments"))
    who = next((", ".join(map(str, v)) if isinstance(v, list) else str(v) for v in telling if v), "")
    if is_sentinel2(item) is False:
        known = "landsat-oli" if "landsat" in who.lower() else "landsat-oli, planetscope-8"
        return (
            f"Item {item.get('id')} ({who}) tells neither scale nor offset: give --scale and --offset, or "
            f"--sensor with the profile of its product, as {known}"
        )
    if who:
        return (
            f"Item {item.get('id')} tells neither an offset nor a processing baseline: "
            "give --offset -0.1 for DN of baseline 04.00 or later, --offset 0 otherwise"
        )
    return (
        f"Item {item.get('id')} tells neither scale nor offset, nor of which instrument it is: give --scale and "
        "--offset, or --sensor; for Sentinel-2 --offset -0.1 for DN of baseline 04.00 or later, --offset 0 otherwise"
    )


def of_product(baseline: str, quantification: float, add_offset_dn: float | None) -> Radiometry:
    """The radiometry of a band of an ESA product, from its metadata: ``(DN + add_offset) / quantification``."""
    if add_offset_dn is None:
        return Radiometry(1 / quantification, 0.0, f"baseline {baseline}: the product's metadata list no offset")
    return Radiometry(
        1 / quantification, add_offset_dn / quantification, f"baseline {baseline}: offset in the product's metadata"
    )


def of_raster(dtype: str, scale: float, offset: float) -> Radiometry:
    """The radiometry of a band of a plain raster, from its type and the scale and offset in the file.

    =============================  ==================================================
    the file                       reflectance
    =============================  ==================================================
    has a scale or an offset       as the file says
    holds floats                   the values themselves
    holds 16- or 32-bit integers   DN / 10000, Sentinel-2's convention; offset 0
    holds 8-bit integers           error: a plain image, or something only its owner knows
    =============================  ==================================================

    Raises :class:`RadiometryError`.
    """
    if (scale, offset) != (1.0, 0.0):
        return Radiometry(scale, offset, "scale and offset in the file")
    if dtype.startswith("float"):
        return Radiometry(1.0, 0.0, "float values taken as reflectance")
    if dtype in _WIDE_INTEGERS:
        return Radiometry(
            1 / QUANTIFICATION,
            0.0,
            f"{_ASSUMED}, for the file holds neither scale nor offset; --offset -0.1 if its DN are of baseline 04.00 "
            "on",
        )
    raise RadiometryError(
        f"{dtype} values without a scale are a plain image, not reflectance: give --scale (such as 0.0039 for 1/255), "
        "or --plain-image to upscale them as they are"
    )


def of_sensor(dtype: str, scale: float, offset: float, sensor: SensorProfile) -> Radiometry:
    """The radiometry of a band of a raster whose sensor is known, from its type and the scale and offset in the file.

    ==========================================  =====================================================
    the file                                    reflectance
    ==========================================  =====================================================
    has a scale or an offset, or holds floats   as :func:`of_raster`: a file knows itself best
    holds integers of 16 and more bits          as the sensor's profile says, where that says anything
    anything else                               as :func:`of_raster`
    ==========================================  =====================================================

    Raises :class:`RadiometryError`.
    """
    if (scale, offset) != (1.0, 0.0) or sensor.scale is None or dtype not in _WIDE_INTEGERS:
        return of_raster(dtype, scale, offset)
    return Radiometry(
        sensor.scale, sensor.offset, f"by the sensor profile {sensor.name}, for the file holds neither scale nor offset"
    )


def _declared(asset: Mapping[str, Any], index: int) -> tuple[float | None, float | None] | None:
    """Scale and offset of a band: STAC 1.1's fields on the band or the asset, or the older raster extension's."""
    fields: list[tuple[Mapping[str, Any], str]] = [
        *((band, "raster:") for band in asset.get("bands", [])[index - 1 : index]),
        *((band, "") for band in asset.get("raster:bands", [])[index - 1 : index]),
        (asset, "raster:"),
    ]
    for holder, prefix in fields:
        scale, offset = holder.get(f"{prefix}scale"), holder.get(f"{prefix}offset")
        if scale is not None or offset is not None:
            return (
                float(scale) if scale is not None else None,
                float(offset) if offset is not None else None,
            )
    return None
