"""The training configuration: what ``configs/*.yaml`` may say, checked when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from geosr.errors import TrainingError
from geosr.model.card import Tail
from geosr.training.degrade import Degradation
from geosr.training.losses import Loss
from geosr.training.optimiser import OptimiserName


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """Imagery from one sensor, used as high resolution."""

    glob: str
    """Files, relative to the data folder; bands are found by their descriptions."""
    exclude: tuple[str, ...] = ()
    """Files to leave out, as patterns of their names: held-out imagery."""
    rows: tuple[float, float] = (0.0, 1.0)
    """The part of each image's rows that is used, as fractions from its top."""
    full_scale: float
    """DN that stands for reflectance 1."""
    gain: tuple[float, float]
    """Reflectance of each patch is multiplied by a number drawn log-uniformly from this range."""
    band_gain: float = 0.15
    """Each band's gain differs from its patch's by up to this fraction."""
    reduce: dict[int, float] = {1: 1.0}
    """Area-averaged reductions of the pixel grid, each with its share of all patches."""


class Network(_Strict):
    """Size of the generator's network."""

    features: int = 48
    growth: int = 32
    blocks: int = 3
    tail: Tail = "shuffle"
    """``interpolate`` is the published upsampler, with convolutions at high resolution; ``shuffle`` costs a tenth."""
    width_features: int = 0
    """Hidden channels of the head for half-widths; 0 for none."""


class Pairs(_Strict):
    """Imagery of two sensors over the same ground, co-registered: no degradation is applied."""

    lr: str
    """Files of the sensor to be upscaled, relative to the data folder."""
    hr: str
    """Files of the sharper sensor, in the same order of names: each has exactly four times the rows and columns."""
    full_scale: float
    """DN that stands for reflectance 1, in both."""
    share: float = Field(gt=0)
    """Share of all patches."""


class PairSet(_Strict):
    """A set that ``geosr pairs build`` made: no degradation is applied."""

    folder: str
    """The set's folder, relative to the data folder."""
    share: float = Field(gt=0)
    """Share of all patches."""
    slack_hr_px: int = Field(default=1, ge=0, le=4)
    """By how many HR pixels a truth may be off along each axis: the loss is the smallest over such shifts."""


class TrainingConfig(_Strict):
    """One training run."""

    name: str
    """Name of the model in the zoo."""
    seed: int = 0
    bands: tuple[str, ...]
    """Band names in the network's order."""
    descriptions: dict[str, tuple[str, ...]]
    """For each band, the descriptions under which rasters hold it."""
    reference_reflectance: tuple[float, ...]
    """Reflectance that becomes 1 at the network's input."""
    mtf_nyquist: tuple[float, ...]
    """Modulation transfer at Nyquist assumed by the back-projection step."""
    scale: int = 4
    back_projection_steps: int = Field(default=1, ge=0)
    """Steps of back-projection that end the generator, in training and after."""
    network: Network = Network()
    degradation: Degradation = Degradation()
    missing_bands: float = Field(default=0.1, ge=0, le=1)
    """Share of patches whose infrared is the mean of the visible bands, or whose bands are all one band: so that
    colour and grey images, which have no infrared, can be served by the same weights."""
    sources: tuple[Source, ...]
    pairs: tuple[Pairs, ...] = ()
    patch_lr_px: int = 32
    batch: int = 8
    steps: int
    loss: Loss = Loss()
    learns: Literal["image", "half_widths"] = "image"
    """What is trained. The half-widths come second, from imagery that the image's weights, which then stay as they
    are, were not trained on: where they were, their errors are smaller than elsewhere."""
    interval: float = Field(default=0.9, gt=0, lt=1)
    """Share of pixels whose truth lies within the half-width that the head learns."""
    optimiser: OptimiserName = "adamw"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network's pass in training; ``auto`` takes bfloat16 where the processor or the GPU is fast at it."""
    learning_rate: float = 6e-4
    warmup: int = 250
    ema: float = 0.999
    """Decay of the running average of the weights that is kept as the model."""
    scene_exponent: float = Field(default=0.5, ge=0, le=1)
    """How much a scene's own rehearsal moves its half-widths, see :mod:`geosr.model.rehearsal`; 0 for not at all."""
    calibration: tuple[Source, ...] = ()
    """Imagery for the half-widths' calibration, which is neither trained on nor tested on."""
    validation: tuple[Source, ...] = ()
    """Held-out imagery, degraded with the nominal blur; only ``full_scale`` and ``reduce`` matter."""
    validate_every: int = 500
    checkpoint_every: int = 250
    pair_sets: tuple[PairSet, ...] = ()
    """Sets of aligned and harmonised patches; for the image only, as shifts that are left would widen intervals."""

    @model_validator(mode="after")
    def _has_what_it_learns(self) -> TrainingConfig:
        if (self.learns == "half_widths") != (self.network.width_features > 0):
            raise ValueError("network.width_features is above 0 where half_widths are learned, and only there")
        if self.learns == "half_widths" and self.pair_sets:
            raise ValueError("pair_sets teach the image: shifts that are left in them would widen half-widths")
        return self

    def identity(self) -> dict[str, Any]:
        """What a run's course depends on, as plain JSON: all but when it is looked at."""
        looking = {"validation", "validate_every", "checkpoint_every", "calibration", "scene_exponent"}
        content: dict[str, Any] = json.loads(self.model_dump_json(exclude=looking))
        if not self.pair_sets:
            # Checkpoints of before there were any go on.
            del content["pair_sets"]
        return content


def read_config(path: Path) -> TrainingConfig:
    """Read and check a YAML file.

    One that says ``extends: OTHER.yaml`` takes every field that it does not name from that file beside it.

    Raises :class:`TrainingError`, naming the first field that is wrong.
    """
    try:
        import yaml
    except ImportError as error:
        raise TrainingError("training needs packages of its own: pip install 'geosr[train]'") from error
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "extends" in content:
            base = path.parent / str(content.pop("extends"))
            extended = yaml.safe_load(base.read_text(encoding="utf-8"))
            if not isinstance(extended, dict):
                raise TrainingError(f"{base}, which {path} extends, holds no fields")
            content = {**extended, **content}
        return TrainingConfig.model_validate(content)
    except OSError as error:
        raise TrainingError(f"cannot read the configuration {error.filename}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TrainingError(f"{path} is wrong{' at ' + where if where else ''}: {first['msg']}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
