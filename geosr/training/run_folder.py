"""The folder of a training run: everything to go on from, the figures, and the averaged weights.

Files are replaced in one go: a run that is killed at any moment goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from geosr.errors import ResumeError, TrainingError
from geosr.model.generator import Generator
from geosr.training.config import TrainingConfig
from geosr.training.optimiser import Optimiser
from geosr.training.perceptual import Adversary

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"
WEIGHTS = "weights.safetensors"


class RunFolder:
    """Folder of one run."""

    def __init__(self, path: Path, config: TrainingConfig) -> None:
        """Name the folder, which is created when training begins."""
        self.path = path
        self._config = config

    def resume(
        self, model: nn.Module, average: Generator, optimiser: Optimiser, adversary: Adversary | None = None
    ) -> int | None:
        """Load the last checkpoint; returns the steps that it had reached, or None when there is none.

        The averaged weights are written again: a kill may have come between the two files.

        Raises :class:`ResumeError` when the folder holds a run that another configuration began.
        """
        state = _read_checkpoint(self.path)
        if state is None:
            return None
        differing = _differing(state["config"], self._config)
        if differing:
            raise ResumeError(
                f"{self.path} holds a run of another configuration, which differs in {', '.join(differing)}: "
                "name another folder"
            )
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        if adversary is not None:
            adversary.load_state_dict(state["adversary"])
        self._save_weights(average)
        return int(state["step"])

    def save(
        self,
        step: int,
        model: nn.Module,
        average: Generator,
        optimiser: Optimiser,
        adversary: Adversary | None = None,
    ) -> None:
        """Replace the checkpoint and the averaged weights."""
        state = {
            "step": step,
            "config": self._config.identity(),
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
        }
        if adversary is not None:
            state["adversary"] = adversary.state_dict()
        torch.save(state, self.path / f"{CHECKPOINT}.tmp")
        (self.path / f"{CHECKPOINT}.tmp").replace(self.path / CHECKPOINT)
        self._save_weights(average)

    def log(self, **values: float) -> None:
        """Append a line of figures."""
        line = json.dumps({key: round(value, 5) for key, value in values.items()})
        with (self.path / METRICS).open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def forget_after(self, step: int) -> None:
        """Create the folder, and drop figures of steps that are about to be done again."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / METRICS).exists():
            return
        kept = [line for line in self.figures() if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        (self.path / f"{METRICS}.tmp").write_text(text, encoding="utf-8")
        (self.path / f"{METRICS}.tmp").replace(self.path / METRICS)

    def figures(self) -> list[dict[str, float]]:
        """All lines of figures, in order."""
        return read_figures(self.path)

    def _save_weights(self, average: Generator) -> None:
        assert average.network is not None
        weights = {key: value.cpu().contiguous() for key, value in average.network.state_dict().items()}
        save_file(weights, self.path / f"{WEIGHTS}.tmp")
        (self.path / f"{WEIGHTS}.tmp").replace(self.path / WEIGHTS)


def check_trained_with(config: TrainingConfig, run: Path) -> None:
    """Hold a run's checkpoint against the configuration that is said to be the run's.

    Weights alone do not tell: with another order of bands or another blur they fit as well, and make wrong pixels.
    Raises :class:`TrainingError` when the two differ, or when there is no checkpoint.
    """
    state = _read_checkpoint(run)
    if state is None:
        raise TrainingError(
            f"{run} holds no {CHECKPOINT}, and weights alone do not say how they were trained: name the run's own "
            "folder, whole"
        )
    differing = _differing(state["config"], config)
    if differing:
        raise TrainingError(
            f"{run} was trained with another configuration, which differs in {', '.join(differing)}: name the one that "
            "it was trained with"
        )


def read_figures(path: Path) -> list[dict[str, float]]:
    """The figures of a run's folder; a line that a kill cut short is left out."""
    figures: list[dict[str, Any]] = []
    file = path / METRICS
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            figures.append(json.loads(line))
        except ValueError:
            continue
    return figures


def _read_checkpoint(run: Path) -> dict[str, Any] | None:
    """All that a run goes on from; None where there is nothing yet."""
    path = run / CHECKPOINT
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ResumeError(f"{path} cannot be read: it is damaged, or was not written by geosr train") from error
    if not isinstance(state, dict) or "config" not in state:
        raise ResumeError(f"{path} is no checkpoint of geosr train")
    return state


def _differing(begun: Mapping[str, Any], config: TrainingConfig) -> list[str]:
    """Names of the fields in which a configuration is not the one that a run began with."""
    # Fields that there were not yet when it began are what they were before there was a choice.
    begun, now = {**TrainingConfig.defaults(), **begun}, config.identity()
    return sorted(key for key in now.keys() | begun.keys() if now.get(key) != begun.get(key))
