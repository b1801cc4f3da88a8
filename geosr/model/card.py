"""Model cards: all that is known about a model, in one JSON file beside its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from catalog.strict_json import json_text
from geosr.errors import ModelError, UsageError
from geosr.model.kernels import Base

#: How a network reaches high resolution.
Tail = Literal["interpolate", "shuffle"]

#: All networks have the published generators' factor.
_NETWORK_SCALE = 4

#: Bounds beyond which a card's numbers are a slip, or meant to exhaust whoever reads it: channels and blocks of a
#: network (the published ones have 64 and 23), pixels for one, steps of back-projection, pixels around a chunk, and
#: reflectance.
_MOST_CHANNELS = 1024
_MOST_BLOCKS = 100
_LARGEST_SCALE = 16
_MOST_STEPS = 1000
_LARGEST_HALO_PX = 1024
_REFLECTANCE = (1e-4, 100.0)
_LONGEST_NAME = 100


class NetworkSize(BaseModel):
    """Size of an RRDB network."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    features: int = Field(ge=1, le=_MOST_CHANNELS)
    growth: int = Field(ge=1, le=_MOST_CHANNELS)
    blocks: int = Field(ge=1, le=_MOST_BLOCKS)
    tail: Tail = "shuffle"
    width_features: int = Field(default=0, ge=0, le=_MOST_CHANNELS)
    """Hidden channels of the head for half-widths; 0 when there is none."""
    estimates_noise: bool = False
    """The last layer also gives an estimate of the source's noise, one channel per band; needs the shuffle tail."""


class FusionSize(BaseModel):
    """Size of a network that sharpens coarse bands with finer ones, see :mod:`geosr.model.fusion`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scale: int = Field(ge=1, le=_LARGEST_SCALE)
    """Pixels of the finer bands for one of the coarse ones, along each axis."""
    features: int = Field(ge=1, le=_MOST_CHANNELS)
    growth: int = Field(ge=1, le=_MOST_CHANNELS)
    blocks: int = Field(ge=1, le=_MOST_BLOCKS)


class Stack(BaseModel):
    """A model for bands of two sampling distances: another model for the fine ones, two networks for the coarse.

    See :mod:`geosr.model.stack`. The card's bands are the fine ones, in the other model's order, then the coarse ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    guides: int = Field(ge=1)
    """Number of bands that are fine."""
    guide: str
    """Name of the shipped model that upscales the fine bands."""
    guide_digest: str
    """Its identity."""
    span: int = Field(ge=2, le=_LARGEST_SCALE)
    """Side of a coarse band's pixels, in those of the fine ones."""
    coarse: FusionSize
    """Network that brings the coarse bands to the fine ones' pixels."""
    fine: FusionSize
    """Network that brings them from there to the output's."""

    @model_validator(mode="after")
    def _check(self) -> Stack:
        if self.coarse.scale != self.span:
            raise ValueError("coarse.scale is the span")
        return self


class Bfloat16(BaseModel):
    """Means to keep an image computed in bfloat16 near that in float32, see :mod:`geosr.model.bfloat16`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    split: tuple[Annotated[str, Field(pattern="^[01]*$")], ...]
    """For each dense block a 1 or a 0 for each channel that its last layer reads: whether it is kept as two numbers."""
    weights: str
    """File beside the card: by layer, a bit for each weight, 1 where it becomes the farther of its neighbours."""
    weights_sha256: str
    command: str = ""
    """Command that found them."""


class DatesCalibration(BaseModel):
    """Narrowing of half-widths where further dates correct the image, see :mod:`geosr.dates.half_width`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    most: float = Field(ge=0, lt=1)
    """Share by which any number of dates narrows them, at most."""
    half_at: float = Field(gt=0, le=1000)
    """Effective number of further dates that narrow them by half of that."""
    data: dict[str, int] = {}
    """Imagery that it was measured on, as simulated dates, with the pixels of each."""
    command: str = ""
    """Command that measured it."""


class Calibration(BaseModel):
    """Calibration of the head's half-widths: split-conformal factors, per band (Lei et al., 2018)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    level: float = Field(gt=0, lt=1)
    """Share of pixels whose truth lies within the half-width."""
    factors: tuple[Annotated[float, Field(gt=0, le=1000)], ...]
    """Factors on the head's half-widths, in the network's order of bands."""
    scene_exponent: float = Field(default=0, ge=0, le=1)
    """Share of a scene's calibration in its half-widths (:mod:`geosr.model.scene_calibration`); 0 for none."""
    dates: DatesCalibration | None = None
    """Narrowing by further dates; None for a model whose half-widths are those of one date."""
    data: dict[str, int] = {}
    """Imagery that it was measured on, neither trained on nor tested on, with the pixels of each."""
    command: str = ""
    """Command that measured it."""


class Visual(BaseModel):
    """Weights of the perceptual stage, which a sharpness above 0 mixes in."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weights: str
    """File beside the card: the image's layers by the same names, of the same size."""
    weights_sha256: str
    steps: int = Field(ge=0, le=_MOST_STEPS)
    """Steps of back-projection at the end, at least the model's own: sharper images leave more to be brought back."""
    halo_px: int = Field(ge=0, le=_LARGEST_HALO_PX)
    """As the model's own, at sharpness 1."""
    features: str = ""
    """Features that the perceptual loss compared."""
    training: dict[str, Any] = {}
    """Command, steps and data."""
    figures: dict[str, Any] = {}
    """Figures by sharpness, and the command that measured them."""


class ModelCard(BaseModel):
    """Description of a model: its form, its needs, and what was measured on it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ignored_types=(cached_property,))

    name: str = Field(min_length=1, max_length=_LONGEST_NAME)
    description: str
    scale: int = Field(default=4, ge=1, le=_LARGEST_SCALE)
    """HR pixels per LR pixel."""
    bands: tuple[str, ...] | None = None
    """Bands in the network's order; None when any will do."""
    reference_reflectance: tuple[float, ...] | None = None
    """Reflectance that is 1 at the network's input, per band."""
    mtf_nyquist: tuple[float, ...] | None = None
    """Modulation transfer at Nyquist that the back-projection assumes, per band; None to take the source's."""
    base: Base = "bicubic"
    """Interpolation that the network's residual is added to."""
    steps: int = Field(default=1, ge=0, le=_MOST_STEPS)
    """Steps of back-projection at the end."""
    noise_limit: float = Field(default=0, ge=0, allow_inf_nan=False)
    """Reflectance that the network's estimate of the source's noise stays below. Back-projection reproduces the source
    without that estimate, see :meth:`geosr.model.sensor.Sensor.fine_noise`; 0 reproduces the noise as well."""
    plain_image_noise_limit: float = Field(default=0, ge=0, allow_inf_nan=False)
    """``noise_limit`` of plain images, as a share of their full scale: 8 bits and JPEG move their pixels by more."""
    input_limit: float = Field(default=0, ge=0, allow_inf_nan=False)
    """Reflectance that nothing exceeds which enters the network, so that a cloud's edge or a saturated roof moves
    little around it; interpolation and back-projection see the image as it is. 0 for no limit."""
    overshoot: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Share of the largest value among the source pixels around a pixel by which it may lie above it, see
    :mod:`geosr.inference.plausible`; None for no bounds, below as above."""
    network: NetworkSize | None = None
    """None for a model without weights, and for a stack."""
    stack: Stack | None = None
    """Networks of a model for bands of two sampling distances."""
    bfloat16: Bfloat16 | None = None
    """Split features and rounded weights of a network; None for one that is only rounded."""
    calibration: Calibration | None = None
    """Calibration of the half-widths; None for a model that gives none."""
    weights: str | None = None
    """File beside the card."""
    weights_sha256: str | None = None
    halo_px: int = Field(ge=0, le=_LARGEST_HALO_PX)
    """LR pixels around a chunk beyond which nothing changes its output by half a DN of Sentinel-2."""
    multiply_adds_per_lr_px: int = Field(default=0, ge=0)
    effective_resolution_lr_px: float | None = Field(default=None, gt=0, le=100)
    """Finest detail that is right, in LR pixels: where the Fourier ring correlation with the truth falls to 0.5."""
    training: dict[str, Any] = {}
    """Data, command, steps and time."""
    figures: dict[str, Any] = {}
    """Figures, and the command that measured them."""
    licence: str = "MIT"
    sensor: str | None = None
    """Profile of the instrument that it was made for, see :mod:`catalog.sensors`; None for any."""
    gsd_m: float | None = Field(default=None, gt=0, le=100_000)
    """Ground sampling distance that it was made for, metres; None for any."""
    visual: Visual | None = None
    """For products that are to look sharp; None for a model without such weights."""
    folder: Path = Field(default=Path(), exclude=True)
    """Folder that the card was read from."""
    sharpness: float = Field(default=0.0, ge=0, le=1, exclude=True)
    """Share of the visual weights in the mixture, see :meth:`sharpened`; never part of a card's file."""

    @model_validator(mode="after")
    def _check(self) -> ModelCard:
        if self.network is None and self.base == "none":
            raise ValueError("a model needs a base, a network, or both")
        if self.network is not None and (self.bands is None or self.weights is None or self.scale != _NETWORK_SCALE):
            raise ValueError(f"a network needs bands, weights and the scale {_NETWORK_SCALE}")
        if self.stack is not None and (
            self.network is not None
            or not (self.bands and self.weights and self.reference_reflectance and self.mtf_nyquist)
            or self.scale != self.stack.fine.scale
        ):
            raise ValueError(
                "a stack needs bands, weights, references and transfers, its fine network's scale, "
                "and no network of its own"
            )
        if self.bfloat16 is not None:
            size = self.network
            read = 0 if size is None else size.features + 4 * size.growth
            if size is None or [len(text) for text in self.bfloat16.split] != [read] * 3 * size.blocks:
                raise ValueError("bfloat16.split needs a network, and a digit for each channel of its dense blocks")
        for name in ("reference_reflectance", "mtf_nyquist"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.bands or ()):
                raise ValueError(f"{name} needs one value per band")
        if self.calibration is not None:
            if self.stack is None and (self.network is None or not self.network.width_features):
                raise ValueError("a calibration needs a network with a head for half-widths, or a stack")
            if len(self.calibration.factors) != len(self.bands or ()):
                raise ValueError("calibration needs one factor per band")
        estimates = self.network is not None and self.network.estimates_noise
        if estimates != (self.noise_limit > 0 and self.plain_image_noise_limit > 0):
            raise ValueError("noise limits go with a network that estimates noise")
        if (estimates or self.input_limit) and self.reference_reflectance is None:
            raise ValueError("noise_limit and input_limit need reference_reflectance")
        if not all(0 < mtf < 1 for mtf in self.mtf_nyquist or ()):
            raise ValueError("mtf_nyquist lies between 0 and 1")
        low, high = _REFLECTANCE
        if not all(low <= reference <= high for reference in self.reference_reflectance or ()):
            raise ValueError(f"reference_reflectance is reflectance, between {low:g} and {high:g}")
        if self.bands is not None and (not self.bands or len(set(self.bands)) < len(self.bands) or "" in self.bands):
            raise ValueError("bands have names, each its own")
        return self

    def transfers(self, mtf_nyquist: Sequence[float | None], *, plain_image: bool) -> list[float | None]:
        """The modulation transfers that the back-projection assumes, for a source whose bands have these.

        A plain image comes from an unknown camera: square pixels and no other blur are assumed. With Sentinel-2's,
        images that are as sharp as that would come out worse than interpolated.
        """
        if plain_image:
            return [None] * len(self.bands or mtf_nyquist)
        return list(mtf_nyquist if self.mtf_nyquist is None else self.mtf_nyquist)

    def noise_limits(self, *, plain_image: bool) -> tuple[float, ...]:
        """Noise limit of each band in units of its reference reflectance; empty without an estimate of noise."""
        limit = self.plain_image_noise_limit if plain_image else self.noise_limit
        return tuple(limit / one for one in self.reference_reflectance or ()) if limit else ()

    @property
    def input_limits(self) -> tuple[float, ...]:
        """``input_limit`` of each band in units of its reference reflectance; empty without one."""
        return tuple(self.input_limit / one for one in self.reference_reflectance or ()) if self.input_limit else ()

    @property
    def margin_px(self) -> int:
        """LR pixels to be read around a chunk's core: the halo, and as much again to fill invalid pixels from."""
        return 2 * self.halo_px

    @property
    def learned(self) -> bool:
        """True when there is a network, whose detail is estimated."""
        return self.network is not None or self.stack is not None

    @property
    def span(self) -> int:
        """Pixels of the scene's grid that chunks have to begin at multiples of."""
        return 1 if self.stack is None else self.stack.span

    def sharpened(self, sharpness: float) -> ModelCard:
        """The model whose weights are mixed: ``(1 - sharpness)`` of its own, and ``sharpness`` of the visual ones.

        Source: Wang et al., "ESRGAN", 2018, section 3.4. Its halo and its steps are the larger of both. It has no
        half-widths and no effective resolution, for those were measured without. At 0 it is the model itself.

        Raises :class:`UsageError` for a number that is not from 0 to 1, and above 0 for a model without visual weights.
        """
        if not 0 <= sharpness <= 1:
            raise UsageError(f"sharpness is a number from 0 to 1, not {sharpness:g}")
        if sharpness == 0:
            return self
        if self.visual is None:
            raise UsageError(f"model {self.name} has no weights for visual products: leave the sharpness at 0")
        # A copy would keep the digest that was worked out for the original.
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return ModelCard(
            **{
                **fields,
                "sharpness": sharpness,
                "steps": max(self.steps, self.visual.steps),
                "halo_px": max(self.halo_px, self.visual.halo_px),
                "calibration": None,
                "effective_resolution_lr_px": None,
            }
        )

    @cached_property
    def weights_path(self) -> Path | None:
        """File of the weights."""
        return None if self.weights is None else self.folder / self.weights

    def digest_in(self, precision: str) -> str:
        """Identity of what a network computes in a precision: in bfloat16 more decides its pixels."""
        if self.bfloat16 is None or precision != "bfloat16":
            return self.digest
        decisive = [self.digest, *self.bfloat16.split, self.bfloat16.weights_sha256]
        return hashlib.sha256(" ".join(decisive).encode()).hexdigest()

    @cached_property
    def digest(self) -> str:
        """Identity of the model: SHA-256 over what decides its pixels and their half-widths."""
        decisive = self.model_dump(
            mode="json",
            include={
                "scale": True,
                "bands": True,
                "reference_reflectance": True,
                "mtf_nyquist": True,
                "base": True,
                "steps": True,
                "network": True,
                "calibration": {"level", "factors", "scene_exponent"},
                "weights_sha256": True,
            },
        )
        unset = {"noise_limit": 0, "plain_image_noise_limit": 0, "input_limit": 0, "overshoot": None}
        # Only where set: models without keep the identity that they had before there was any.
        if isinstance(network := decisive["network"], dict) and not network["estimates_noise"]:
            del network["estimates_noise"]
        decisive |= {name: getattr(self, name) for name, default in unset.items() if getattr(self, name) != default}
        if self.stack is not None:
            decisive["stack"] = self.stack.model_dump(mode="json")
        if self.sharpness and self.visual is not None:
            # Only then: without, a model keeps the identity that it had before there was any sharpness.
            decisive["sharpness"] = {"share": self.sharpness, "weights_sha256": self.visual.weights_sha256}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def read_card_file(path: Path) -> ModelCard:
    """Read a card. Raises :class:`ModelError` when it is missing or malformed."""
    try:
        content = json.loads(json_text(path.read_bytes()))
        if not isinstance(content, dict):
            raise ModelError(f"{path} is not a model card: it holds no fields")
        return ModelCard.model_validate({**content, "folder": path.parent.resolve(), "sharpness": 0.0})
    except OSError as error:
        raise ModelError(f"cannot read the model card {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path} is not a model card: {where + ': ' if where else ''}{first['msg']}") from error
    except RecursionError as error:
        raise ModelError(f"{path} is not a model card: it is nested too deeply") from error
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path} is not a model card: {error}") from error
