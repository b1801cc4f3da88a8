"""Models of a user's own: card and weights put in place together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from geosr.errors import ExistsError, UsageError
from geosr.model.card import ModelCard, NetworkSize, read_card_file
from geosr.training.config import TrainingConfig


def places(output: Path, *sources: Path, overwrite: bool) -> Path:
    """Path of a card's weights.

    Refuses, before anything is computed, what cannot be written and what would replace a source: raises
    :class:`UsageError` and :class:`ExistsError`.
    """
    if output.suffix != ".json":
        raise UsageError(f"the output {output} is the model's card: name it .json")
    if not output.parent.is_dir():
        raise UsageError(f"cannot write {output}: the folder {output.parent} does not exist")
    weights = output.with_suffix(".safetensors")
    for path in (output, weights):
        if path.exists() and not (overwrite and path.is_file()):
            raise ExistsError(f"{path} exists: {'it is not a file' if overwrite else '--overwrite replaces it'}")
        if path.exists() and any(source.exists() and source.samefile(path) for source in sources):
            raise ExistsError(f"writing {path} would replace what the model is made of: name another file")
    return weights


def fields_of(config: TrainingConfig) -> dict[str, Any]:
    """Fields of a card that follow from the configuration of the run alone."""
    return {
        "scale": config.scale,
        "bands": config.bands,
        "reference_reflectance": config.reference_reflectance,
        "mtf_nyquist": config.mtf_nyquist,
        "base": config.base,
        "steps": config.back_projection_steps,
        "noise_limit": config.noise_limit,
        "plain_image_noise_limit": config.plain_image_noise_limit,
        "input_limit": config.input_limit,
        "overshoot": config.overshoot,
        "network": NetworkSize(**config.network.model_dump()),
    }


def write(card: ModelCard, weights: Mapping[str, Tensor], output: Path) -> ModelCard:
    """Put a card and its weights in place; returns the card as it is read from there."""
    content = save({name: value.contiguous() for name, value in weights.items()})
    card = ModelCard.model_validate(
        card.model_copy(update={"weights_sha256": hashlib.sha256(content).hexdigest()}).model_dump()
        | {"folder": output.parent.resolve()}
    )
    _replace(output.with_suffix(".safetensors"), content)
    _replace(output, (card.model_dump_json(indent=2) + "\n").encode())
    return read_card_file(output)


def _replace(path: Path, content: bytes) -> None:
    """Put a file in place in one go."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)
