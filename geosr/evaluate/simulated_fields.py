"""Fields in imagery taken as the truth: their means there, in a product, and at the source's pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]

#: Scales of the segmentation (Felzenszwalb and Huttenlocher, 2004): fields of several sizes.
_SCALES = (100, 500, 3000)

#: Bands that are segmented, the last ones of an image: green, red and near infrared.
_CHANNELS = 3

#: Smallest field, pixels: 0.1 ha at 2.5 m.
LEAST_PX = 160

#: Pixels at the edge of an image that are left out, where it is not small: models see a mirror there.
_MARGIN_PX, _SMALL_PX = 16, 96


@dataclass(frozen=True)
class Segment:
    """One field of an image."""

    window: tuple[slice, slice]
    mask: NDArray[np.bool_]
    """Its pixels in the window."""

    @property
    def pixels(self) -> int:
        """Number of its pixels."""
        return int(self.mask.sum())

    def mean(self, values: NDArray[np.floating]) -> float:
        """Mean of an image ``(rows, cols)`` over the field."""
        return float(values[self.window][self.mask].mean())


def segments_of(truth: Image) -> Iterator[Segment]:
    """Divide an image ``(bands, rows, cols)`` into fields by its own edges, at several scales."""
    from skimage.segmentation import felzenszwalb

    seen = truth[-_CHANNELS:]
    level, spread = seen.mean(axis=(1, 2), keepdims=True), seen.std(axis=(1, 2), keepdims=True)
    channels = np.moveaxis((seen - level) / spread, 0, -1)
    rows, cols = truth.shape[1:]
    margin = _MARGIN_PX if min(rows, cols) > _SMALL_PX else 0
    inner = slice(margin, rows - margin), slice(margin, cols - margin)
    for scale in _SCALES:
        labels = np.zeros((rows, cols), np.int64)
        labels[inner] = 1 + felzenszwalb(channels, scale=scale, sigma=0.8, min_size=LEAST_PX, channel_axis=-1)[inner]
        for number, window in enumerate(ndimage.find_objects(labels), start=1):
            if window is None:
                continue
            found = Segment(window, labels[window] == number)
            if found.pixels >= LEAST_PX:
                yield found


def bands_of_image(image: Image, names: tuple[str, ...]) -> Mapping[str, Image]:
    """Bands ``(rows, cols)`` by name."""
    return dict(zip(names, image, strict=True))


def repeated(image: Image, scale: int) -> Image:
    """Source pixels on the product's grid, so that means over it have exact coverage weights."""
    return image.repeat(scale, axis=-2).repeat(scale, axis=-1)
