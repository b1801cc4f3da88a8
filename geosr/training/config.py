"""The training configuration: what ``configs/*.yaml`` may say, checked when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from geosr.configuration import read_yaml
from geosr.errors import TrainingError
from geosr.model.card import Tail
from geosr.model.discriminator import DiscriminatorName
from geosr.model.kernels import Base
from geosr.training.augmentation import Augmentation
from geosr.training.degrade import Degradation
from geosr.training.losses import Loss
from geosr.training.optimiser import OptimiserName
from geosr.training.second_order import SecondOrder

#: Fields on which a run's course does not depend.
_LOOKING = {"validation", "validate_every", "checkpoint_every", "calibration", "scene_exponent", "overshoot"}


#: A number of pixels, steps or layers.
Count = Annotated[int, Field(ge=1)]

#: A reflectance, a factor or a DN, above 0.
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

#: Modulation transfer at Nyquist.
Transfer = Annotated[float, Field(gt=0, lt=1)]


class _StrictTraining(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_StrictTraining):
    """Imagery from one sensor, used as high resolution."""

    glob: str
    """Files, relative to the data folder; bands are found by their descriptions."""
    exclude: tuple[str, ...] = ()
    """Files to leave out, as patterns of their names: held-out imagery."""
    rows: tuple[float, float] = (0.0, 1.0)
    """The part of each image's rows that is used, as fractions from its top."""
    full_scale: Positive
    """DN that stands for reflectance 1."""
    gain: tuple[Positive, Positive]
    """Reflectance of each patch is multiplied by a number drawn log-uniformly from this range."""
    band_gain: float = 0.15
    """Each band's gain differs from its patch's by up to this fraction."""
    reduce: dict[Count, Annotated[float, Field(ge=0)]] = Field(default={1: 1.0}, min_length=1)
    """Area-averaged reductions of the pixel grid, each with its share of all patches."""

    @model_validator(mode="after")
    def _is_a_part(self) -> Source:
        if not 0 <= self.rows[0] < self.rows[1] <= 1:
            raise ValueError("rows are two fractions between 0 and 1, the smaller first")
        return self


class NetworkConfig(_StrictTraining):
    """Size of the generator's network."""

    features: Count = 48
    growth: Count = 32
    blocks: Count = 3
    tail: Tail = "shuffle"
    """``interpolate`` is the published upsampler, with convolutions at high resolution; ``shuffle`` costs a tenth."""
    width_features: int = Field(default=0, ge=0)
    """Hidden channels of the head for half-widths; 0 for none."""
    estimates_noise: bool = False
    """Estimate the source's noise, which back-projection then leaves out."""


class Pairs(_StrictTraining):
    """Imagery of two sensors over the same ground, co-registered: no degradation is applied."""

    lr: str
    """Files of the sensor to be upscaled, relative to the data folder."""
    hr: str
    """Files of the sharper sensor, in the same order of names: each has exactly four times the rows and columns."""
    full_scale: Positive
    """DN that stands for reflectance 1, in both."""
    share: float = Field(gt=0)
    """Share of all patches."""


class Perceptual(_StrictTraining):
    """The perceptual stage: a discriminator beside the generator, and the weights of its losses."""

    discriminator: DiscriminatorName = "unet"
    """``unet`` judges each pixel and gives logits, ``plain`` the whole patch and gives a probability."""
    features: int = Field(default=64, ge=1)
    """Channels of its first layer."""
    relativistic: bool = False
    """Judge how much more real than the others an image is (ESRGAN's relativistic average); needs ``unet``."""
    pixel: float = Field(default=1.0, ge=0)
    """Weight of the loss of the fidelity stage, ``loss``."""
    adversarial: float = Field(default=0.1, ge=0)
    """Weight of the adversarial loss."""
    perceptual: float = Field(default=1.0, ge=0)
    """Weight of the difference of features of VGG19 or of the published RRDB generator; where neither is given, of
    the discriminator's own."""
    feature_matching: float = Field(default=0.0, ge=0)
    """Weight of the difference of features of the discriminator."""
    grid: float = Field(default=1.0, ge=0)
    """Weight of the pattern that repeats with every LR pixel, in units of the patch's contrast."""
    vgg19: Path | None = None
    """File of VGG19's weights by torchvision's names, relative to the data folder."""
    rrdb: Path | None = None
    """File of an RRDB generator's weights for red, green and blue by ESRGAN's names, relative to the data folder."""
    rrdb_blocks: int = Field(default=1, ge=0)
    """Number of its blocks that are computed."""
    rgb: tuple[str, str, str] = ("B04", "B03", "B02")
    """Bands that such networks see as red, green and blue."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Learning rate of the discriminator, at the height of the generator's schedule, which it follows."""
    ahead: int = Field(default=0, ge=0)
    """Steps at the beginning in which the generator goes on with the pixel loss alone, and the discriminator learns to
    tell: the patterns that fool one which cannot are hard to unlearn."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Betas of both networks' optimisers."""

    @model_validator(mode="after")
    def _goes_together(self) -> Perceptual:
        if self.relativistic and self.discriminator == "plain":
            raise ValueError("relativistic needs logits, which the plain discriminator does not give")
        if self.vgg19 is not None and self.rrdb is not None:
            raise ValueError("features are of vgg19 or of rrdb, not of both")
        return self


class PairSet(_StrictTraining):
    """A set that ``geosr pairs build`` made: no degradation is applied."""

    folder: str
    """The set's folder, relative to the data folder."""
    share: float = Field(gt=0)
    """Share of all patches."""
    slack_hr_px: int = Field(default=1, ge=0, le=4)
    """By how many HR pixels a truth may be off along each axis: the loss is the smallest over such shifts."""


class TrainingConfig(_StrictTraining):
    """One training run."""

    name: str
    """Name of the model in the zoo."""
    seed: int = 0
    bands: tuple[str, ...] = Field(min_length=1)
    """Band names in the network's order."""
    descriptions: dict[str, tuple[str, ...]]
    """For each band, the descriptions under which rasters hold it."""
    reference_reflectance: tuple[Positive, ...]
    """Reflectance that becomes 1 at the network's input."""
    mtf_nyquist: tuple[Transfer, ...]
    """Modulation transfer at Nyquist assumed by the back-projection step."""
    scale: Literal[4] = 4
    """Ratio of the input's pixels to the image's; there is no network for any other."""
    back_projection_steps: int = Field(default=1, ge=0)
    """Steps of back-projection that end the generator, in training and after."""
    network: NetworkConfig = NetworkConfig()
    degradation: Degradation = Degradation()
    augmentation: Augmentation = Augmentation()
    noise_limit: float = Field(default=0.0, ge=0)
    """Reflectance that the estimate of the source's noise stays below; with ``network.estimates_noise``."""
    plain_image_noise_limit: float = Field(default=0.0, ge=0)
    """``noise_limit`` of patches without infrared: plain images, whose pixels 8 bits and JPEG have moved."""
    input_limit: float = Field(default=0.0, ge=0)
    """Reflectance that nothing exceeds which enters the network; 0 for no limit."""
    overshoot: float | None = Field(default=None, ge=0)
    """Bounds of the released model's images, see :mod:`geosr.inference.plausible`; training knows none."""
    missing_bands: float = Field(default=0.1, ge=0, le=1)
    """Share of patches whose infrared is the mean of the visible bands, or whose bands are all one of these: so that
    colour and grey images, which have no infrared, can be served by the same weights. Where no band is infrared all of
    the share is grey, and where there is one band alone nothing is missing."""
    sources: tuple[Source, ...]
    pairs: tuple[Pairs, ...] = ()
    patch_lr_px: Count = 32
    batch: Count = 8
    noise_pairs: int = Field(default=0, ge=0)
    """Patches of a batch that repeat the ground and blur of others, with other noise and other bright spots. The
    difference between the two images counts with the weight ``loss.noise_passed``."""
    steps: Count
    loss: Loss = Loss()
    learns: Literal["image", "half_widths"] = "image"
    """Part that is trained. The half-widths come second, from imagery that the image's weights, which then stay as they
    are, were not trained on: where they were, their errors are smaller than elsewhere."""
    interval: float = Field(default=0.9, gt=0, lt=1)
    """Share of pixels whose truth lies within the half-width that the head learns."""
    optimiser: OptimiserName = "adamw"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the network's pass in training; ``auto`` is bfloat16 where processor or GPU is fast at it."""
    compiled: bool = False
    """Train through ``torch.compile``: minutes at the start, faster steps after; for GPUs."""
    learning_rate: Positive = 6e-4
    warmup: int = Field(default=250, ge=0)
    """Steps in which the learning rate rises to its height."""
    ema: float = Field(default=0.999, ge=0, le=1)
    """Decay of the running average of the weights that is kept as the model."""
    scene_exponent: float = Field(default=0.5, ge=0, le=1)
    """Share of a scene's calibration in its half-widths (:mod:`geosr.model.scene_calibration`); 0 for none."""
    calibration: tuple[Source, ...] = ()
    """Imagery for the half-widths' calibration, which is neither trained on nor tested on."""
    validation: tuple[Source, ...] = ()
    """Held-out imagery, degraded with the nominal blur; only ``full_scale`` and ``reduce`` matter."""
    validate_every: Count = 500
    checkpoint_every: Count = 250
    base: Base = "bicubic"
    """Interpolation that the network's residual is added to; ``none`` where the network gives the image itself, as
    published ones do."""
    perceptual: Perceptual | None = None
    """Train against a discriminator, from weights of the fidelity stage; None for that stage itself."""
    second_order: SecondOrder | None = None
    """Real-ESRGAN's chain of blurs, resizings and noises in the place of ``degradation``; None for the sensor's."""
    pair_sets: tuple[PairSet, ...] = ()
    """Sets of aligned and harmonised patches; for the image only, as shifts that are left would widen intervals."""

    @model_validator(mode="after")
    def _is_of_its_bands(self) -> TrainingConfig:
        if len(set(self.bands)) < len(self.bands):
            raise ValueError("bands names one twice")
        unknown = [band for band in self.bands if not self.descriptions.get(band)]
        if unknown:
            raise ValueError(f"descriptions says nothing of {', '.join(unknown)}: under what names do rasters hold it?")
        for name in ("reference_reflectance", "mtf_nyquist"):
            given = len(getattr(self, name))
            if given != len(self.bands):
                raise ValueError(f"{name} has one number for each of the {len(self.bands)} bands, not {given}")
        return self

    @model_validator(mode="after")
    def _has_noise_limits(self) -> TrainingConfig:
        if self.network.estimates_noise != (self.noise_limit > 0 and self.plain_image_noise_limit > 0):
            raise ValueError("noise_limit and plain_image_noise_limit go with network.estimates_noise")
        return self

    @model_validator(mode="after")
    def _has_noise_pairs(self) -> TrainingConfig:
        if (self.noise_pairs > 0) != (self.loss.noise_passed > 0):
            raise ValueError("noise_pairs and loss.noise_passed go together")
        if 2 * self.noise_pairs > self.batch:
            raise ValueError(f"noise_pairs is at most half of the batch, {self.batch // 2}")
        if self.noise_pairs and (self.pairs or self.pair_sets or self.second_order):
            raise ValueError("noise_pairs need the sensor's degradation: leave out pairs, pair_sets and second_order")
        return self

    @model_validator(mode="after")
    def _has_imagery(self) -> TrainingConfig:
        shares = [share for source in self.sources for share in source.reduce.values()]
        if not any(shares) and not self.pairs and not self.pair_sets:
            raise ValueError("there is nothing to train on: name imagery in sources, pairs or pair_sets")
        return self

    @model_validator(mode="after")
    def _has_what_it_learns(self) -> TrainingConfig:
        if self.perceptual is not None and self.learns != "image":
            raise ValueError("the perceptual stage is the image's: half-widths are learned beside the fidelity stage's")
        files = self.perceptual is not None and (self.perceptual.vgg19 or self.perceptual.rrdb)
        if self.perceptual is not None and files and not set(self.perceptual.rgb) <= set(self.bands):
            raise ValueError("perceptual.rgb names bands of the network")
        if (self.learns == "half_widths") != (self.network.width_features > 0):
            raise ValueError("network.width_features is above 0 where half_widths are learned, and only there")
        if self.learns == "half_widths" and self.pair_sets:
            raise ValueError("pair_sets teach the image: shifts that are left in them would widen half-widths")
        return self

    def identity(self) -> dict[str, Any]:
        """Identity of a run's course, as plain JSON: all but when it is looked at."""
        return json.loads(self.model_dump_json(exclude=_LOOKING))  # type: ignore[no-any-return]

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Values of fields that need not be given, as in runs from before there was such a field."""
        return json.loads(cls.model_construct().model_dump_json(exclude=_LOOKING))  # type: ignore[no-any-return]


def read_config(path: Path) -> TrainingConfig:
    """Read and check a YAML file, see :func:`geosr.configuration.read_yaml`. Raises :class:`TrainingError`."""
    return read_yaml(path, TrainingConfig, TrainingError)
