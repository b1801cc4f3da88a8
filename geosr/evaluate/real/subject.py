"""The model under judgement: a function of reflectance, the bands it takes, and the blur it assumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from geosr.errors import UsageError
from geosr.evaluate.contenders import SCALE, Opened, contender, open_model, sensor_of, transfers_of
from geosr.model import zoo
from geosr.model.kernels import SQUARE_PIXEL_MTF
from geosr.model.sensor import Sensor

#: Bands of a scene that judges read, in this order.
BANDS = ("B02", "B03", "B04", "B08")

#: Bands of which detail is judged between each other.
VISIBLE = ("B02", "B03", "B04")

#: Reflectance ``(bands, rows, cols)`` to reflectance ``(bands, 4 rows, 4 cols)``.
Upscale = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Subject:
    """One model under judgement."""

    name: str
    bands: tuple[str, ...]
    """Sentinel-2's names, in the order that ``upscale`` takes and gives."""
    upscale: Upscale
    transfers: dict[str, float]
    """Modulation transfer at Nyquist of each band, as the model assumes it."""
    for_plain_images: Upscale | None = None
    """The model as plain images are given to it (square pixels); None to leave those judges out."""

    def sensor(self, bands: Sequence[str]) -> Sensor:
        """The blur of these bands."""
        return sensor_of(bands, self.transfers)

    def __call__(self, image: Tensor, bands: Sequence[str]) -> Tensor:
        """Upscale ``image``, whose bands are named, and return the bands that both have, in the order of ``bands``.

        Where the model needs an infrared band that the image has not got, the mean of the visible ones stands in, as
        for plain images and as in training.
        """
        entering = [
            image[bands.index(one)] if one in bands else self._stand_in(image, bands, one) for one in self.bands
        ]
        leaving = self.upscale(torch.stack(entering))
        return leaving[[self.bands.index(one) for one in bands if one in self.bands]]

    def common(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Those of ``bands`` that the model gives."""
        return tuple(one for one in bands if one in self.bands)

    def _stand_in(self, image: Tensor, bands: Sequence[str], wanted: str) -> Tensor:
        visible = [bands.index(one) for one in VISIBLE if one in bands]
        if wanted in VISIBLE or not visible:
            raise UsageError(f"model {self.name} needs {wanted}, and the image has only {', '.join(bands)}")
        return image[visible].mean(dim=0)


def subject_of(model: str | Opened) -> Subject:
    """A model by name, card or checkpoint, or one opened already, made ready to be judged.

    Raises :class:`ModelError` for a model that cannot be evaluated.
    """
    opened = open_model(model) if isinstance(model, str) else model
    # Half-widths take as long again and are not judged here.
    opened = replace(opened, card=opened.card.model_copy(update={"calibration": None}))
    bands = opened.card.bands or BANDS
    transfers = transfers_of(bands, opened.card)
    made = contender(opened, bands, sensor_of(bands, transfers))
    return Subject(opened.card.name, bands, lambda lr: made.run(lr).image, transfers, _plain_image_model(opened, bands))


def interpolation(name: str, subject: Subject, steps: int = 0) -> Subject:
    """Bicubic interpolation with so many steps of back-projection, for the bands and the blur of another subject."""
    card = zoo.read_card("bicubic").model_copy(update={"steps": steps})

    def made(transfers: dict[str, float]) -> Upscale:
        one = contender(Opened(card), subject.bands, sensor_of(subject.bands, transfers))
        return lambda lr: one.run(lr).image

    square = dict.fromkeys(subject.bands, SQUARE_PIXEL_MTF)
    return Subject(name, subject.bands, made(subject.transfers), subject.transfers, made(square))


def torch_bicubic(subject: Subject) -> Subject:
    """Cubic convolution with a = -3/4, as PyTorch's and OpenCV's; the figures of other papers are of this one."""

    def upscale(lr: Tensor) -> Tensor:
        return F.interpolate(lr[None], scale_factor=SCALE, mode="bicubic")[0]

    return Subject("bicubic (a = -3/4)", subject.bands, upscale, subject.transfers, upscale)


def _plain_image_model(opened: Opened, bands: Sequence[str]) -> Upscale | None:
    if opened.card.stack is not None or opened.network is not None:
        return None
    square = opened.card.model_copy(
        update={"mtf_nyquist": (SQUARE_PIXEL_MTF,) * len(bands), "noise_limit": opened.card.plain_image_noise_limit}
    )
    if opened.card.bands is None:
        square = opened.card
    made = contender(Opened(square), bands, sensor_of(bands, dict.fromkeys(bands, SQUARE_PIXEL_MTF)))
    return lambda lr: made.run(lr).image
