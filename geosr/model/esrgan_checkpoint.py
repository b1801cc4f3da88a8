"""Checkpoints of ESRGAN's form: read whatever their file and their layers' names, their size told by their shapes.

Three generations of names are known: Real-ESRGAN's, which are ours (``conv_first``, ``body.N.rdbM.convK``), ESRGAN's
(``RRDB_trunk.N.RDBM.convK``) and those of its first release (``model.1.sub.N.RDBM.convK.0``).
"""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor

from geosr.errors import ModelError
from geosr.model.card import NetworkSize
from geosr.model.rrdb import RRDBNet

#: Files taken for checkpoints.
SUFFIXES = (".safetensors", ".pth", ".pt")

#: Where training scripts put the weights inside a ``.pth`` file, the averaged ones first.
_NESTED = ("params_ema", "params")

#: ESRGAN's names of layers, and ours.
_ESRGAN = {
    "trunk_conv": "conv_body",
    "upconv1": "conv_up1",
    "upconv2": "conv_up2",
    "HRconv": "conv_hr",
}

#: The numbers of layers in its first release, and ours; the last of ``model.1.sub`` ends the body.
_FIRST_RELEASE = {
    "model.0": "conv_first",
    "model.3": "conv_up1",
    "model.6": "conv_up2",
    "model.8": "conv_hr",
    "model.10": "conv_last",
}


#: Of what a library says, as much as fits into a line.
_LONGEST_REASON = 200


@dataclass(frozen=True)
class Checkpoint:
    """A network's weights by our names, in the file's own type, and its size."""

    weights: dict[str, Tensor]
    size: NetworkSize
    entering: int
    """Bands that it takes."""
    leaving: int
    """Bands that it gives."""

    def network(self) -> RRDBNet:
        """The network, in float32, for inference."""
        network = RRDBNet(self.entering, self.leaving, **self.size.model_dump())
        network.load_state_dict(self.weights)
        return network.eval()


def read_checkpoint(path: Path) -> Checkpoint:
    """A ×4 network of ESRGAN's form from a ``.safetensors``, ``.pth`` or ``.pt`` file.

    Raises :class:`ModelError` when it cannot be read, holds more than tensors, or is no such network.
    """
    weights = _our_names(read_state(path))
    size, entering, leaving = _size(weights, path)
    checkpoint = Checkpoint(weights, size, entering, leaving)
    try:
        checkpoint.network()
    except (RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise ModelError(f"{path} is not a network of ESRGAN's form: {reason}") from error
    return checkpoint


def read_state(path: Path) -> dict[str, Tensor]:
    """Weights by the file's own names. Raises :class:`ModelError`."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Only tensors: a pickle can run any code.
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        # PyTorch's own message advises to load the file without this protection.
        raise ModelError(f"{path} is not a checkpoint of tensors alone: its pickle is damaged or holds code") from error
    except Exception as error:
        # The readers of pickles and their archives raise whatever damaged or foreign bytes lead them to.
        what = next(iter(str(error).splitlines()), "it is empty or cut short")[:_LONGEST_REASON]
        raise ModelError(f"{path} is not a checkpoint of tensors alone: {what}") from error
    for key in _NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path} holds no network's weights")
    if not all(isinstance(name, str) for name in content):
        raise ModelError(f"{path} holds no network's weights: they are numbered, and have no names")
    for name, values in content.items():
        if values.is_sparse or values.is_quantized or values.is_meta or values.is_complex():
            raise ModelError(f"{path} holds no plain weights: {name} is sparse, quantized, complex or without values")
        if not bool(torch.isfinite(values.float()).all()):
            raise ModelError(f"{path} holds no usable weights: {name} has values that are no finite numbers")
    return content


def _our_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    blocks = [int(match[1]) for key in state if (match := re.match(r"model\.1\.sub\.(\d{1,9})\.RDB", key))]
    return {_our_name(key, 1 + max(blocks, default=-1)): value for key, value in state.items()}


def _our_name(key: str, blocks: int) -> str:
    """Our name of a weight in a network of so many blocks; others stay as they are."""
    layer, _, kind = key.rpartition(".")
    if layer in _ESRGAN:
        return f"{_ESRGAN[layer]}.{kind}"
    if layer in _FIRST_RELEASE:
        return f"{_FIRST_RELEASE[layer]}.{kind}"
    if layer == f"model.1.sub.{blocks}":
        return f"conv_body.{kind}"
    dense = re.fullmatch(r"(?:RRDB_trunk|model\.1\.sub)\.(\d+)\.RDB(\d)\.conv(\d)(?:\.0)?", layer)
    return f"body.{dense[1]}.rdb{dense[2]}.conv{dense[3]}.{kind}" if dense else key


def _size(weights: dict[str, Tensor], path: Path) -> tuple[NetworkSize, int, int]:
    for name in ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_last.weight"):
        if name not in weights:
            raise ModelError(
                f"{path} is not a network of ESRGAN's form: it has no {name!r}; a model of ours is named by its card "
                "(.json)"
            )
        if weights[name].ndim != 4:
            raise ModelError(f"{path} is not a network of ESRGAN's form: {name} is not that of a convolution")
    if "conv_up1.weight" not in weights or "conv_up2.weight" not in weights:
        raise ModelError(f"{path} is not a ×4 network of ESRGAN's form; a model of ours is named by its card (.json)")
    features, entering = weights["conv_first.weight"].shape[:2]
    growth, leaving = len(weights["body.0.rdb1.conv1.weight"]), len(weights["conv_last.weight"])
    # Numbers of thousands of digits are none that Python reads.
    blocks = 1 + max(int(match[1]) for key in weights if (match := re.match(r"body\.(\d{1,9})\.", key)))
    try:
        size = NetworkSize(features=features, growth=growth, blocks=blocks, tail="interpolate")
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(f"{path} is not a network of ESRGAN's form: {first['loc'][0]}: {first['msg']}") from error
    return size, entering, leaving
