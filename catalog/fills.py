"""Fill values that nothing declares as nodata: found in samples, and in every window that is read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import SourceError
from catalog.scene import BandSpec, Scene
from catalog.sensors import known_bands, read_sensor, sensor_names
from catalog.spelling import COMMAND, Spelling

#: Reflectance below which there is none: DN 0 of Sentinel-2's is -0.1, DN 1 of Landsat's -0.2.
LOWEST = -0.2001

#: Reflectance above which there is hardly any: clouds reach 1.5, a roof in the sun or a fire more.
HIGHEST = 3.0

#: Fill values of common tools.
_FILLS = (-9999, -10000, -32768, -32767, -999, -99999, -(2**31), 9999, 32767, 65535, 99999, 2**31 - 1, 2**32 - 1)

#: Shares of the pixels that an undeclared fill has at least, below and above what reflectance can be: saturated pixels
#: may have the highest DN, and none is below -0.2.
_FILL_SHARE_BELOW, _FILL_SHARE_ABOVE = 0.001, 0.01

#: Distance from an undeclared fill to the next value, as a share of it.
_FILL_GAP = 0.25

#: Reflectance that no pixel has, and how many times as large as all others a value is that is no measurement even if
#: a single pixel has it.
_IMPOSSIBLE, _FAR = (-1.0, 100.0), 100.0

#: Pixels that an unusual value needs in a window to count as a fill there.
_FILL_PIXELS = 64


def stray_fills(scene: Scene, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> list[str]:
    """Look for fill values that the sample of a scene has missed.

    Parameters
    ----------
    scene
        Scene that the window is of; pictures are not looked at.
    pixels
        DN of a window, ``(bands, rows, cols)``.
    valid
        Pixels that were measured, of the same shape.

    Returns
    -------
    list of str
        Notes on values that may be fills, or saturated pixels.

    Raises
    ------
    SourceError
        A value cannot be reflectance; the message names the option that takes it out.

    """
    notes = []
    for i in () if scene.plain_image else instrument_bands(scene):
        band, measured = scene.bands[i], pixels[i] if valid[i].all() else pixels[i][valid[i]]
        if not measured.size:
            continue
        with np.errstate(over="ignore"):
            ends = [float(end) * band.scale + band.offset for end in (measured.min(), measured.max())]
        if min(ends) >= LOWEST and max(ends) <= HIGHEST:
            continue
        values = measured.astype(np.float64).ravel()
        for fill in fills_in(values, band):
            if fill not in _FILLS and int((values == fill).sum()) < _FILL_PIXELS:
                continue
            said = f"{band.name}: {fill_text(values, fill, COMMAND)}"
            if fill * band.scale + band.offset < LOWEST:
                raise SourceError(f"{scene.sources[0] if scene.sources else scene.id} has a part in which {said}")
            notes.append(f"in a part of the image, {said}")
    return notes


def fills_in(values: NDArray[np.float64], band: BandSpec) -> list[float]:
    """Values at an end of the range that are no reflectance and stand for pixels without measurement."""
    found: list[float] = []
    rest = values
    for _ in range(4):
        if not rest.size:
            break
        low, high = float(rest.min()), float(rest.max())
        fill = next((edge for edge in (low, high) if _is_fill(edge, rest, len(values), band)), None)
        if fill is None:
            break
        found.append(fill)
        rest = rest[rest != fill]
    if not rest.size and not all(fill in _FILLS for fill in found):
        # Of one value everywhere nothing tells that it is no measurement.
        return [fill for fill in found if fill in _FILLS]
    return found


def _is_fill(edge: float, values: NDArray[np.float64], count: int, band: BandSpec) -> bool:
    with np.errstate(over="ignore"):
        reflectance = edge * band.scale + band.offset
    if LOWEST <= reflectance <= HIGHEST:
        return False
    same = values == edge
    share, others = float(same.sum()) / count, values[~same]
    apart = not others.size or float(np.abs(others - edge).min()) > _FILL_GAP * abs(edge)
    if reflectance < LOWEST and edge in _FILLS and edge < 0:
        return True
    if not apart:
        return False
    impossible = not _IMPOSSIBLE[0] <= reflectance <= _IMPOSSIBLE[1]
    if impossible and others.size and abs(edge) > _FAR * float(np.abs(others).max()):
        return True
    return share >= (_FILL_SHARE_BELOW if reflectance < LOWEST else _FILL_SHARE_ABOVE)


def fill_text(values: NDArray[np.float64], fill: float, spelling: Spelling) -> str:
    """Message on a fill value, with the option that takes it out."""
    share = f"{100 * float(np.mean(values == fill)):.2g} %"
    text = shortest(fill)
    return (
        f"{share} of the pixels are {text}, which nothing declares as nodata: give {spelling.nodata.format(text)} "
        "if nothing was measured there"
    )


def shortest(value: float) -> str:
    """Write a value with as few digits as tell it from others of its type, which may be 32-bit floats."""
    if value.is_integer() and abs(value) < 1e10:
        return f"{value:.10g}"
    with np.errstate(over="ignore"):
        single = float(np.float32(value)) == value
        texts = (f"{value:.{digits}g}" for digits in range(1, 17))
        same = (text for text in texts if (np.float32(text) == np.float32(value) if single else float(text) == value))
        return next(same, repr(value))


def instrument_bands(scene: Scene) -> tuple[int, ...]:
    """Positions of the bands that an instrument is known to have; of all bands where none is."""
    profile = read_sensor(scene.sensor) if scene.sensor in sensor_names() else None
    named = known_bands(profile)
    known = tuple(i for i, band in enumerate(scene.bands) if band.name in named or band.role)
    return known or tuple(range(len(scene.bands)))
