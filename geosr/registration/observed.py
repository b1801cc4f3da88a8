"""High resolution as the LR sensor sees it: blurred by the sensor, and sampled anywhere to a fraction of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geosr.model.kernels import mtf_to_sigma
from tiling import fill_invalid

#: Standard deviations at which the Gaussian is cut off.
_TRUNCATE = 3.5

#: Of what a pixel sees, the share that has to be measured.
_SEEN = 0.99

#: How far holes are filled from, HR pixels: what is filled is masked, and must only not disturb its neighbours.
_FILL_REACH_PX = 64


@dataclass(frozen=True)
class Observed:
    """An HR image under the LR sensor's blur, on the HR grid, with a margin around the patch that it is seen for."""

    coefficients: NDArray[np.float64]
    """Coefficients of the cubic spline through the blurred image, ``(bands, rows, cols)``."""
    seen: NDArray[np.float64]
    """Which share of what each pixel shows was measured, 0 to 1, ``(rows, cols)``."""
    scale: int
    margin_lr_px: int
    """LR pixels on each side that are not the patch's."""
    base_px: tuple[float, float] = (0.0, 0.0)
    """Offset that is added to every shift (rows, cols), LR pixels."""

    @property
    def side_lr_px(self) -> tuple[int, int]:
        """Rows and columns of the patch."""
        rows, cols = self.seen.shape
        return rows // self.scale - 2 * self.margin_lr_px, cols // self.scale - 2 * self.margin_lr_px

    def at(self, shift: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Sample the image on the LR grid, its pixels moved by ``shift`` (rows, cols; LR pixels).

        Returns values ``(bands, rows, cols)`` and which pixels ``(rows, cols)`` were measured.
        """
        places = np.meshgrid(*map(self._places, self.side_lr_px, shift + np.asarray(self.base_px)), indexing="ij")
        values = np.stack(
            [
                ndimage.map_coordinates(band, places, order=3, prefilter=False, mode="nearest")
                for band in self.coefficients
            ]
        )
        seen = ndimage.map_coordinates(self.seen, places, order=1, mode="constant", cval=0.0)
        return values, seen > _SEEN

    def moved(self, shift: NDArray[np.float64]) -> Observed:
        """Copy of the image with shifts counted from this one."""
        rows, cols = self.base_px
        return replace(self, base_px=(rows + float(shift[0]), cols + float(shift[1])))

    def _places(self, count: int, shift: float) -> NDArray[np.float64]:
        """HR index of the centre of each LR pixel along one axis."""
        centres = np.arange(count) + self.margin_lr_px + 0.5 + shift
        return np.asarray(self.scale * centres - 0.5, dtype=np.float64)


def observe(
    hr: NDArray[np.floating],
    valid: NDArray[np.bool_],
    mtf_nyquist: Sequence[float],
    scale: int,
    margin_lr_px: int,
) -> Observed:
    """Blur ``hr``, ``(bands, scale rows, scale cols)`` with ``margin_lr_px`` on each side, as the LR sensor does.

    ``valid`` is ``(rows, cols)`` of the same grid. The blur is that of :mod:`geosr.model.sensor`, a Gaussian with the
    band's modulation transfer at the LR grid's Nyquist frequency.
    """
    everywhere = np.broadcast_to(valid, hr.shape)
    filled = np.asarray(fill_invalid(hr.astype(np.float32), everywhere, _FILL_REACH_PX), dtype=np.float64)
    sigmas = [mtf_to_sigma(mtf, scale) for mtf in mtf_nyquist]
    blurred = [
        ndimage.gaussian_filter(band, sigma, mode="nearest", truncate=_TRUNCATE)
        for band, sigma in zip(filled, sigmas, strict=True)
    ]
    seen = ndimage.gaussian_filter(valid.astype(np.float64), max(sigmas), mode="nearest", truncate=_TRUNCATE)
    # Without its ends' waves the spline is that of the whole image.
    return Observed(
        np.stack([ndimage.spline_filter(band, mode="nearest") for band in blurred]), seen, scale, margin_lr_px
    )
