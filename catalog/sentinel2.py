"""Fixed properties of Sentinel-2: its bands, its DN and the names of its products."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: DN per unit of reflectance (Sentinel-2 Products Specification Document).
QUANTIFICATION = 10000

#: DN that marks a pixel without measurement.
NODATA_DN = 0

#: Added to all DN from this processing baseline on, so that negative reflectance can be stored.
OFFSET_BASELINE = (4, 0)
OFFSET_DN = -1000

#: Classes of the scene classification that hide the ground or spoil the measurement: saturated or defective, cloud
#: shadow, cloud of medium and high probability, thin cirrus.
UNUSABLE_SCL = (1, 3, 8, 9, 10)


@dataclass(frozen=True)
class Band:
    """One band of the instrument."""

    name: str
    """ESA's name, as ``B8A``."""
    gsd_m: int
    """Ground sampling distance of its delivered pixels, metres."""
    aliases: tuple[str, ...]
    """Other names by which catalogues and files call it, lower case."""
    mtf_nyquist: float | None
    """Modulation transfer at the Nyquist frequency of its own grid; None where it is not published."""


#: Modulation transfer: measured in orbit, published in the mission's data quality reports.
BANDS = {
    band.name: band
    for band in (
        Band("B01", 60, ("b1", "coastal"), None),
        Band("B02", 10, ("b2", "blue"), 0.26),
        Band("B03", 10, ("b3", "green"), 0.28),
        Band("B04", 10, ("b4", "red"), 0.24),
        Band("B05", 20, ("b5", "rededge1", "rededge071"), 0.38),
        Band("B06", 20, ("b6", "rededge2", "rededge075"), 0.34),
        Band("B07", 20, ("b7", "rededge3", "rededge078"), 0.34),
        Band("B08", 10, ("b8", "nir", "near infrared"), 0.26),
        Band("B8A", 20, ("b8a", "nir08", "rededge4"), 0.33),
        Band("B09", 60, ("b9", "nir09"), None),
        Band("B10", 60, ("cirrus",), None),
        Band("B11", 20, ("swir16", "swir1"), 0.22),
        Band("B12", 20, ("swir22", "swir2"), 0.23),
    )
}

_BY_ALIAS = {alias: name for name, band in BANDS.items() for alias in (name.lower(), *band.aliases)}

#: The same without what separates words: ``red edge 1``, ``near-infrared``.
_BY_WORDS = {re.sub(r"[\s_-]+", "", alias): name for alias, name in _BY_ALIAS.items()}

#: A band's number among what software adds to it: before it an image's number or a product's name, after it the
#: sampling distance, the wavelength, or what a composite was made by (no measure of spread, which is no reflectance).
_DECORATED = re.compile(
    r"(?:\d+_|(?:s2[a-d]_|t\d{2}[a-z]{3}_|\d{8}t\d{6}_).*)?"
    r"(b\d{1,2}a?)"
    r"(?:_\d+m|_(?:mean|median|min|max|mosaic|first|last|p\d+)|,? *\(?(?:central wavelength )?\d+ ?nm\)?)?"
    r"(?:\.jp2|\.tiff?)?"
)

#: What GDAL adds to the names of bands in ENVI's headers.
_WAVELENGTH = re.compile(r" \([\d.]+(?: (?:nanomet\w+|micromet\w+|nm|um|µm))?\)$")

#: Names of the mission and its satellites, collections and products.
_NAMES = re.compile(r"sentinel[-_ ]?2|^S2[A-D]?(?:_|$)|^L[12][AC]_T\d\d", re.IGNORECASE)

#: Prefixes of STAC properties that only Items of the mission have.
_PROPERTIES = ("s2:", "sentinel2:", "sentinel:", "earthsearch:")

_PRODUCT = re.compile(r"S2[A-D]_(?:MSIL1C|MSIL2A)_(\d{8}T\d{6})_N(\d{2})(\d{2})_")


def band_name(text: str) -> str | None:
    """ESA's name for a band called ``text`` by a file or catalogue, as ``B02`` for ``blue`` or ``B02_10m``.

    Also by the names of GDAL's driver (``B2, central wavelength 490 nm``), of Earth Engine's images and their
    composites (``B2``, ``0_B2``, ``B2_median``), of ESA's files (``T33UUP_20230815T100031_B02_10m``), and of ENVI's
    (``B02 (490 nanometers)``).
    """
    text = _WAVELENGTH.sub("", text.strip().lower())
    if text in _BY_ALIAS:
        return _BY_ALIAS[text]
    number = _DECORATED.fullmatch(text)
    if number is not None:
        return _BY_ALIAS.get(number[1])
    # Of words only: B1_1 is not B11.
    return None if re.match(r"b\s*\d|\d", text) else _BY_WORDS.get(re.sub(r"[\s_-]+", "", text))


def is_sentinel2(item: Mapping[str, Any]) -> bool | None:
    """Tell whether a STAC Item (as a dictionary) is of Sentinel-2; None if it names no instrument."""
    properties = item.get("properties") or {}
    if any(str(field).startswith(_PROPERTIES) for field in properties):
        return True
    telling = [properties.get(field) for field in ("platform", "constellation", "instruments")]
    names = [str(value) for value in (*telling, item.get("collection"), item.get("id"), properties.get("title"))]
    if any(_NAMES.search(name) for name in names):
        return True
    return False if any(telling) else None


def parse_baseline(text: str) -> tuple[int, int]:
    """A processing baseline as numbers: ``04.00`` is (4, 0).

    Raises ``ValueError`` for anything else.
    """
    match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})", text.strip())
    if match is None:
        raise ValueError(f"not a processing baseline: {text!r}")
    return int(match[1]), int(match[2])


def baseline_of_product(name: str) -> tuple[int, int] | None:
    """The processing baseline in a product's name, ``…_N0214_…``, or None."""
    match = _PRODUCT.search(name)
    return (int(match[2]), int(match[3])) if match else None


def offset_of_baseline(baseline: tuple[int, int]) -> float:
    """Reflectance at DN 0 of products of this baseline."""
    return OFFSET_DN / QUANTIFICATION if baseline >= OFFSET_BASELINE else 0.0
