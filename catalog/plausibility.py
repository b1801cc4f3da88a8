"""Plausibility of reflectance after scaling: DN, scale, offset and nodata judged together, for every kind of source.

A wrong scale, an offset in DN or a fill value that nothing declares passes every check of its own. What they make of
the pixels shows: reflectance lies between 0 and 1, a little below 0 where the atmosphere was overcorrected, and up to 2
over clouds and snow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import SourceError
from catalog.fills import HIGHEST, LOWEST, fill_text, fills_in, instrument_bands, shortest
from catalog.sampling import BandSample
from catalog.scene import BandSpec, Scene
from catalog.sentinel2 import OFFSET_DN, QUANTIFICATION
from catalog.spelling import COMMAND, Spelling

#: Reflectance that some pixel in a hundred reaches: one below this is DN 0 throughout.
_LOWEST_OF_ALL = -0.1001

#: Shares of pixels beyond these that are no accident.
_SHARE_BELOW, _SHARE_ABOVE = 0.01, 0.1

#: Ninety-nine of a hundred pixels are darker than this where a scale was applied that is too small.
_DARKEST = 3e-4

#: Reflectance that the range of an integer type has to cover.
_LEAST_RANGE = 0.1

#: Scale below which floats are DN, and floats that are DN reach beyond 2.
_SCALE_OF_DN, _LEAST_DN = 0.01, 2.0

#: Share of the pixels at the lowest or highest value, and reflectance between it and the next, that are worth a note
#: although the value is plausible. Clouds that are clipped have their neighbours in brightness.
_NOTED_SHARE, _NOTED_GAP, _NOTED_GAP_ABOVE = 0.02, 0.02, 0.1


def judged(scene: Scene, spelling: Spelling = COMMAND) -> Scene:
    """Judge a scene's reflectance from a sample of the area that was asked for.

    Parameters
    ----------
    scene
        Scene to judge; pictures are not judged.
    spelling
        Names of the options in messages.

    Returns
    -------
    Scene
        The scene, with notes on values that may be fills.

    Raises
    ------
    SourceError
        The values cannot be reflectance.

    """
    if scene.plain_image:
        return scene
    chosen = instrument_bands(scene)
    samples = scene.reader.select(chosen).sample(scene.area)
    bands = [scene.bands[i] for i in chosen]
    name = scene.sources[0] if scene.sources else scene.id
    return scene.with_warnings(*check_reflectance(samples, bands, name, spelling))


def check_reflectance(
    samples: Sequence[BandSample], bands: Sequence[BandSpec], source: str, spelling: Spelling
) -> list[str]:
    """Judge DN of bands against their scale and offset.

    Parameters
    ----------
    samples
        DN of each band, and which of them were measured.
    bands
        Scale, offset and name of each band.
    source
        Name of the source in messages.
    spelling
        Names of the options in messages.

    Returns
    -------
    list of str
        Notes on values that may be fills, and on reflectance that is mostly negative.

    Raises
    ------
    SourceError
        The values cannot be reflectance; the message names the likely slip and the option that mends it.

    """
    measured = [dn[valid] for dn, valid in samples]
    company = [_Lit.of(dn, band) for dn, band in zip(measured, bands, strict=True)]
    judged_bands = [(band.name, _judge(dn, band, company, spelling)) for dn, band in zip(measured, bands, strict=True)]
    faults = [(name, fault) for name, judgement in judged_bands for fault in judgement.faults]
    # A single dark band may be cirrus, or infrared over water.
    dark = [(name, judgement.too_dark) for name, judgement in judged_bands if judgement.too_dark is not None]
    if not faults and len(dark) == len(judged_bands):
        faults = dark
    if faults:
        raise SourceError(f"{source} is no reflectance as it is scaled: {'; '.join(_by_slip(faults))}")
    return _by_slip([(name, note) for name, judgement in judged_bands for note in judgement.notes])


@dataclass(frozen=True)
class _Remark:
    """One remark on a band."""

    slip: str
    """Kind of the mistake, equal for bands with the same one."""
    text: str


def _by_slip(remarks: Sequence[tuple[str, _Remark]]) -> list[str]:
    """One line for each slip, in the words of the first band that has it."""
    names: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    for name, remark in remarks:
        names.setdefault(remark.slip, []).append(name)
        texts.setdefault(remark.slip, remark.text)
    return [f"{', '.join(names[slip])}: {text}" for slip, text in texts.items()]


@dataclass(frozen=True)
class _Judgement:
    faults: tuple[_Remark, ...] = ()
    notes: tuple[_Remark, ...] = ()
    too_dark: _Remark | None = None
    """A fault if all bands have it."""


@dataclass(frozen=True)
class _Lit:
    """DN of a band that are neither 0 nor a fill value, with the scale and offset to check."""

    dn: NDArray[np.float64]
    scale: float
    offset: float

    @classmethod
    def of(cls, dn: NDArray[Any], band: BandSpec) -> _Lit:
        values = dn.astype(np.float64)
        # Zeros may be what is outside a swath: typical is what the others are.
        return cls(values[~np.isin(values, [0.0, *fills_in(values, band)])], band.scale, band.offset)


def _judge(dn: NDArray[Any], band: BandSpec, company: Sequence[_Lit], spelling: Spelling) -> _Judgement:
    """Judge the measured DN of one band, beside those of all bands."""
    range_fault = _range_fault(dn.dtype, band, spelling)
    if range_fault is not None:
        return _Judgement((range_fault,))
    values = dn.astype(np.float64)
    if not values.size:
        return _Judgement()
    fills = fills_in(values, band)
    lit = _Lit.of(dn, band).dn
    faults = []
    if lit.size and not _plausible(lit, band.scale, band.offset):
        faults.append(_scale_fault(lit, band, company, spelling))
    elif lit.size and np.issubdtype(dn.dtype, np.floating) and _scaled_twice(lit, band):
        advice = _give(spelling, 1.0, 0.0, than=(band.scale, band.offset))
        faults.append(
            _Remark(
                advice, f"the floats are reflectance already, and scaled by {band.scale:g} once more: give {advice}"
            )
        )
    faults += [_fill_remark(values, fill, spelling) for fill in fills]
    if faults:
        return _Judgement(tuple(faults))
    dark = None
    if lit.size and _percentile(np.abs(lit * band.scale + band.offset), 99) < _DARKEST:
        dark = _scale_fault(lit, band, company, spelling)
    return _Judgement((), tuple(_notes(values, band, spelling)), dark)


def _range_fault(dtype: np.dtype[Any], band: BandSpec, spelling: Spelling) -> _Remark | None:
    """A fault of integers whose whole range is darker than any image."""
    if not np.issubdtype(dtype, np.integer):
        return None
    limits = np.iinfo(dtype)
    widest = (float(limits.max) - float(limits.min)) * abs(band.scale)
    if widest >= _LEAST_RANGE:
        return None
    advice = spelling.scale.format(1 / float(limits.max)) if limits.bits == 8 else spelling.scale.format(1e-4)
    return _Remark(
        advice,
        f"all values that {dtype} has span a reflectance of {widest:.2g} at scale {band.scale:g}: give the scale of "
        f"these, such as {advice}{spelling.otherwise}",
    )


def _plausible(dn: NDArray[np.float64], scale: float, offset: float) -> bool:
    with np.errstate(over="ignore"):
        reflectance = dn * scale + offset
    below, above = float(np.mean(reflectance < LOWEST)), float(np.mean(reflectance > HIGHEST))
    # A negative scale turns an image into its negative.
    lit = _percentile(reflectance, 99) > (0 if scale < 0 else _LOWEST_OF_ALL)
    return below <= _SHARE_BELOW and above <= _SHARE_ABOVE and lit


def _scaled_twice(dn: NDArray[np.float64], band: BandSpec) -> bool:
    """Tell whether floats are reflectance although a scale of DN is applied: DN are whole numbers or exceed 2."""
    return bool(abs(band.scale) <= _SCALE_OF_DN and np.abs(dn).max() < _LEAST_DN and (dn != np.rint(dn)).any())


def _scale_fault(dn: NDArray[np.float64], band: BandSpec, company: Sequence[_Lit], spelling: Spelling) -> _Remark:
    """The slip that makes DN implausible: the first change of scale and offset that mends all bands, or this one."""
    scale, offset = band.scale, band.offset
    with np.errstate(over="ignore"):
        typical = float(np.median(dn) * scale + offset)
    says = (
        f"values around {np.median(dn):.4g} make a reflectance of {typical:.3g} "
        f"with scale {scale:g} and offset {offset:g}"
    )
    same = [one.dn for one in company if one.dn.size and (one.scale, one.offset) == (scale, offset)]
    for some in (same, [dn]):
        for slip, better, shift, mends in _slips(scale, offset):
            if (better, shift) != (scale, offset) and all(mends(one, better, shift) for one in some):
                advice = _give(spelling, better, shift, than=(scale, offset))
                return _Remark(advice, f"{says}; {slip}: give {advice}")
    example = f"{spelling.scale.format(1 / QUANTIFICATION)} {spelling.offset.format(0)}"
    advice = f"such as {example} for Sentinel-2's DN"
    if (scale, offset) == (1 / QUANTIFICATION, 0.0):
        advice = "with which land comes to about 0.05 to 0.5"
    return _Remark("", f"{says}: give the right ones, {advice}{spelling.otherwise}")


def _slips(scale: float, offset: float) -> list[tuple[str, float, float, Callable[..., bool]]]:
    """Usual slips with the scale and offset that mend them, and the test whether they do."""
    quantum = 1 / QUANTIFICATION
    in_dn = offset * quantum
    slips: list[tuple[str, float, float, Callable[..., bool]]] = []
    if abs(offset) >= 1:
        # Dark DN may well be negative reflectance then.
        slips += [
            (f"the offset {offset:g} is in DN, not in reflectance", scale, in_dn, _plausible_and_lit),
            ("scale and offset are those of DN, not of reflectance", quantum, in_dn, _plausible_and_lit),
        ]
    return [
        *slips,
        ("the values look like Sentinel-2's DN", quantum, 0.0, _usual),
        ("the values look like reflectance already", 1.0, 0.0, _usual),
        ("the values look like percent", 0.01, 0.0, _usual),
        ("the values look like Sentinel-2's DN with their offset", quantum, OFFSET_DN * quantum, _usual),
    ]


def _plausible_and_lit(dn: NDArray[np.float64], scale: float, offset: float) -> bool:
    """Tell whether reflectance is plausible, and the DN are not so dark that any offset would do."""
    return _plausible(dn, scale, offset) and float(np.median(dn)) * scale > 1e-3


def _give(spelling: Spelling, scale: float, offset: float, *, than: tuple[float, float] | None = None) -> str:
    """The options that set a scale and an offset, those alone that change something."""
    changed = [spelling.scale.format(scale)] if than is None or scale != than[0] else []
    if than is None or offset != than[1]:
        changed.append(spelling.offset.format(offset))
    return " ".join(changed)


def _usual(dn: NDArray[np.float64], scale: float, offset: float) -> bool:
    with np.errstate(over="ignore"):
        typical = float(np.median(dn) * scale + offset)
    return 5e-3 < typical < 1.5 and _plausible(dn, scale, offset)


def _notes(values: NDArray[np.float64], band: BandSpec, spelling: Spelling) -> list[_Remark]:
    """Remarks on values that are plausible one by one."""
    for edge, noted_gap in ((float(values.min()), _NOTED_GAP), (float(values.max()), _NOTED_GAP_ABOVE)):
        share, others = float(np.mean(values == edge)), values[values != edge]
        if share >= _NOTED_SHARE and others.size:
            gap = float(np.abs(others - edge).min()) * abs(band.scale)
            if gap > noted_gap or (edge <= 0 and edge < others.min()):
                return [_fill_remark(values, edge, spelling)]
    if band.offset < 0 and float(np.mean(values * band.scale + band.offset < 0)) > 0.5:
        advice = spelling.offset.format(0)
        said = f"most reflectances are negative with offset {band.offset:g}: give {advice} if it was applied before"
        return [_Remark(advice, said)]
    return []


def _fill_remark(values: NDArray[np.float64], fill: float, spelling: Spelling) -> _Remark:
    return _Remark(shortest(fill), fill_text(values, fill, spelling))


def _percentile(values: NDArray[np.float64], percent: float) -> float:
    return float(np.percentile(values, percent))
