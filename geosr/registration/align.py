"""The shift between an LR patch and the HR over the same ground, to a small fraction of an LR pixel.

Phase correlation (Kuglin and Hines, 1975; refined by an upsampled Fourier transform, Guizar-Sicairos et al., 2008)
finds it to about a tenth of a pixel, over the whole range that is searched. Least squares on all bands, with the HR
under the LR sensor's blur, does the rest (Lucas and Kanade, 1981): pixels that do not fit, as those under a cloud that
nobody masked, lose their weight (Tukey's biweight), and what is left says how sure the shift is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geosr.registration.observed import Observed
from geosr.registration.robust_fits import biweights, fit_line

#: Standard deviation of the window over which a patch's local mean and contrast are taken, LR pixels.
_LOCAL_PX = 5.0

#: Locally normalised pixels are cut off here, in standard deviations: a cloud's edge is one pixel among others.
_CLIP = 2.5

#: Share of a patch's side over which its edges are faded out.
_FADE = 0.25

#: Steps of phase correlation per LR pixel.
_UPSAMPLE = 10

#: Most steps of least squares, and the step, LR pixels, at which they end.
_STEPS = 15
_CLOSE_PX = 0.002

#: Longest step, LR pixels: farther than the image's detail a slope says nothing.
_LONGEST_PX = 0.5

#: Half the distance over which slopes are taken, LR pixels.
_SLOPE_PX = 0.25

#: How far from where they were taken slopes are still good, LR pixels.
_SLOPES_HOLD_PX = 0.05

#: Fewest pixels that a shift is measured from.
_FEWEST = 30


@dataclass(frozen=True)
class Shift:
    """Position of the LR grid in the HR image: LR pixel ``p`` shows what is at ``p + (rows, cols)`` there."""

    rows_px: float
    """LR pixels."""
    cols_px: float
    error_px: float
    """Standard error of the worse of the two, LR pixels; infinite where nothing could be measured."""
    correlation: float
    """Correlation of LR with the observed HR at this shift, all usable pixels, mean of the bands."""

    @property
    def length_px(self) -> float:
        return math.hypot(self.rows_px, self.cols_px)


#: What comes of patches that show nothing.
UNKNOWN = Shift(0.0, 0.0, math.inf, 0.0)


def measure_shift(
    lr: NDArray[np.float64], valid: NDArray[np.bool_], observed: Observed, max_shift_px: float, *, search: bool = True
) -> Shift:
    """The shift of an LR patch ``(bands, rows, cols)``, ``valid`` ``(rows, cols)``, against the HR of the same ground.

    Up to ``max_shift_px`` LR pixels along each axis, which ``observed`` has to reach beyond the patch. Without
    ``search`` it is known to be well below one pixel.
    """
    found = _search(lr, valid, observed, max_shift_px) if search else np.zeros(2)
    shift, error = _refine(lr, valid, observed, found)
    if not np.isfinite(error) or np.abs(shift).max() > max_shift_px:
        return UNKNOWN
    return Shift(float(shift[0]), float(shift[1]), error, mean_correlation(lr, valid, observed, shift))


def band_correlations(
    lr: NDArray[np.float64], valid: NDArray[np.bool_], observed: Observed, shift: NDArray[np.float64]
) -> list[float]:
    """Correlation of each band of LR with the observed HR at a shift; 0 where either is constant."""
    values, seen = observed.at(shift)
    use = valid & seen
    if use.sum() < _FEWEST:
        return [0.0] * len(lr)
    return [_correlation(a[use], b[use]) for a, b in zip(lr, values, strict=True)]


def mean_correlation(
    lr: NDArray[np.float64], valid: NDArray[np.bool_], observed: Observed, shift: NDArray[np.float64]
) -> float:
    """The mean of the bands' correlations."""
    return float(np.mean(band_correlations(lr, valid, observed, shift)))


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    power = float((a * a).sum() * (b * b).sum())
    return 0.0 if power <= 0 else float((a * b).sum() / math.sqrt(power))


def _search(
    lr: NDArray[np.float64], valid: NDArray[np.bool_], observed: Observed, max_shift_px: float
) -> NDArray[np.float64]:
    """The best of what phase correlation, cross-correlation and no shift at all suggest."""
    from skimage.registration import phase_cross_correlation

    values, seen = observed.at(np.zeros(2))
    fixed, moving = _flattened(lr, valid), _flattened(values, seen)
    best, most = np.zeros(2), _likeness(fixed, valid, observed, np.zeros(2))
    for normalisation in ("phase", None):
        back, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
            fixed, moving, upsample_factor=_UPSAMPLE, normalization=normalisation
        )
        shift = -np.asarray(back, dtype=np.float64)
        if np.abs(shift).max() > max_shift_px:
            continue
        likeness = _likeness(fixed, valid, observed, shift)
        if likeness > most:
            best, most = shift, likeness
    return best


def _likeness(
    fixed: NDArray[np.float64], valid: NDArray[np.bool_], observed: Observed, shift: NDArray[np.float64]
) -> float:
    values, seen = observed.at(shift)
    use = valid & seen
    return _correlation(fixed[use], _flattened(values, seen)[use]) if use.sum() >= _FEWEST else -1.0


def _flattened(image: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """One image of all bands in which only local contrast is left, faded out at its edges and 0 where not valid."""
    weight = ndimage.gaussian_filter(valid.astype(np.float64), _LOCAL_PX, mode="reflect")
    weight = np.maximum(weight, 1e-6)
    total = np.zeros(valid.shape)
    for band in image:
        known = np.where(valid, band, 0.0)
        mean = ndimage.gaussian_filter(known, _LOCAL_PX, mode="reflect") / weight
        departure = np.where(valid, band - mean, 0.0)
        spread = np.sqrt(ndimage.gaussian_filter(departure**2, _LOCAL_PX, mode="reflect") / weight)
        floor = 0.05 * float(spread.mean()) + 1e-9
        total += np.clip(departure / (spread + floor), -_CLIP, _CLIP)
    return total * _fade(valid.shape[0])[:, None] * _fade(valid.shape[1])[None, :]


def _fade(count: int) -> NDArray[np.float64]:
    """Tukey's window without the zeros at its ends."""
    place = np.arange(1, count + 1) / (count + 1)
    inside = np.minimum(np.minimum(place, 1 - place) / _FADE, 1)
    faded: NDArray[np.float64] = 0.5 - 0.5 * np.cos(np.pi * inside)
    return faded


def _refine(
    lr: NDArray[np.float64], valid: NDArray[np.bool_], observed: Observed, start: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Least squares from ``start``: the shift, and its standard error."""
    shift, error = start.copy(), math.inf
    slopes, sloped = [_slope(observed, shift, axis) for axis in (0, 1)], shift
    for _ in range(_STEPS):
        values, seen = observed.at(shift)
        use = valid & seen
        if use.sum() < _FEWEST:
            return shift, math.inf
        # They cost more than all else, and hardly change with the last small steps.
        if np.abs(shift - sloped).max() > _SLOPES_HOLD_PX:
            slopes, sloped = [_slope(observed, shift, axis) for axis in (0, 1)], shift
        matrix, vector = np.zeros((2, 2)), np.zeros(2)
        for band in range(len(lr)):
            along = [slope[band][use] for slope in slopes]
            own, own_slopes = _equations(lr[band][use], values[band][use], *along)
            matrix += own_slopes
            vector += own
        if np.linalg.cond(matrix) > 1e8:
            return shift, math.inf
        step = np.linalg.solve(matrix, vector)
        error = math.sqrt(float(np.linalg.inv(matrix).diagonal().max()))
        longest = float(np.abs(step).max())
        shift = shift + step * min(1.0, _LONGEST_PX / max(longest, 1e-12))
        if longest < _CLOSE_PX:
            break
    return shift, error


def _slope(observed: Observed, shift: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    ahead = np.zeros(2)
    ahead[axis] = _SLOPE_PX
    slope: NDArray[np.float64] = (observed.at(shift + ahead)[0] - observed.at(shift - ahead)[0]) / (2 * _SLOPE_PX)
    return slope


def _equations(
    lr: NDArray[np.float64], hr: NDArray[np.float64], along_rows: NDArray[np.float64], along_cols: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Terms of one band in the normal equations of a step, in units of its own noise: right side, and matrix.

    Gain and offset are free: what they explain is taken out of slopes and residual.
    """
    gain, offset = fit_line(hr, lr)
    weights, noise = biweights(lr - gain * hr - offset)
    root = np.sqrt(weights)
    line = np.stack([np.ones_like(hr), hr], axis=1) * root[:, None]
    columns = np.stack([gain * along_rows, gain * along_cols, lr], axis=1) * root[:, None]
    columns = columns - line @ np.linalg.lstsq(line, columns, rcond=None)[0]
    jacobian, residual = columns[:, :2] / noise, columns[:, 2] / noise
    return jacobian.T @ residual, jacobian.T @ jacobian
