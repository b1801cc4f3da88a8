"""The training loop, read from top to bottom: batch, loss, step, average, checkpoint, validation.

    python -m geosr.training CONFIG --data FOLDER --out RUN

A run writes ``checkpoint.pt`` (everything to go on from), ``metrics.jsonl`` and ``weights.safetensors`` (the averaged
network). Started again with the same folder it goes on where it was. Where only a network's weights were kept, a new
run goes on from them at the step they had reached.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from geosr.evaluate.metrics import psnr
from geosr.model.generator import Generator
from geosr.model.rrdb import RRDBNet
from geosr.model.sensor import Sensor, mtf_to_sigma
from geosr.training.config import TrainingConfig
from geosr.training.data import PatchSampler, read_source, reduce_by_area
from geosr.training.losses import pinball
from geosr.training.optimiser import Optimiser


@dataclass(frozen=True)
class Start:
    """Where a run begins when not with an untrained network: the optimiser's state is not needed."""

    weights: Path
    """A network's safetensors, of the configured size."""
    step: int
    """Steps that they were trained."""


def add_start_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what a run begins with."""
    parser.add_argument(
        "--from-weights", type=Path, help="begin with these weights of a network instead of an untrained one"
    )
    parser.add_argument("--from-step", type=int, default=0, help="steps that those weights were trained")


def start_of(arguments: argparse.Namespace) -> Start | None:
    """What the options of :func:`add_start_options` say."""
    return Start(arguments.from_weights, arguments.from_step) if arguments.from_weights else None


def train(config: TrainingConfig, data: Path, out: Path, start: Start | None = None) -> None:
    """Train up to step ``config.steps``, resuming from ``out`` when it holds a checkpoint."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_generator(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start is not None:
        assert model.network is not None
        model.network.load_state_dict(load_file(start.weights))
    average = copy.deepcopy(model).eval()
    optimiser = Optimiser(model, config.optimiser, config.learning_rate)
    bfloat16 = _wants_bfloat16(config.precision, device)
    sampler = PatchSampler(config, data)
    held_out = _read_validation(config, data)
    origin = 0 if start is None else start.step
    step = _resume(out, model, average, optimiser) or origin

    began, first = time.monotonic(), step
    running = 0.0
    while step < config.steps:
        lr, hr, gain = (tensor.to(device) for tensor in sampler.batch(step))
        lr = lr.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
            sr, half_width = model.with_half_width(lr) if config.network.width_features else (model(lr), None)
        loss = config.loss(sr, hr, gain)
        loss.backward()  # type: ignore[no-untyped-call]
        if half_width is not None:
            # The head stands apart: what it learns from reaches no weight of the image.
            pinball((sr.detach() - hr) / gain, half_width / gain, config.interval).backward()
        clip_gradients(model)
        optimiser.step(learning_rate(config, step, origin))
        update_average(average, model, min(config.ema, (1 + step) / (10 + step)))
        step += 1

        running += float(loss.detach())
        if step % 50 == 0:
            rate = (step - first) / (time.monotonic() - began)
            _log(out, step=step, loss=running / 50, steps_per_s=rate)
            running = 0.0
        if step % config.validate_every == 0 or step == config.steps:
            _log(out, step=step, **validate(average, config, held_out))
        if step % config.checkpoint_every == 0 or step == config.steps:
            _save(out, step, model, average, optimiser)


def build_generator(config: TrainingConfig) -> Generator:
    """An untrained generator of the configured size."""
    bands = len(config.bands)
    network = RRDBNet(bands, bands, tail="shuffle", **config.network.model_dump())
    return Generator(_nominal_sensor(config), network=network, steps=config.back_projection_steps)


def learning_rate(config: TrainingConfig, step: int, origin: int = 0) -> float:
    """Half a cosine down to a hundredth, after a linear warm-up from the step where the optimiser began."""
    progress = max(0, step - config.warmup) / max(1, config.steps - config.warmup)
    rate = config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
    return rate * min(1.0, (step - origin + 1) / config.warmup)


def clip_gradients(model: Generator) -> None:
    """Bound the gradients at norm 1: those of the image and those of the head each by themselves."""
    parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        parts["conv_width" in name].append(parameter)
    for parameters in parts.values():
        nn.utils.clip_grad_norm_(parameters, 1.0)


def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the current ones."""
    with torch.no_grad():
        for kept, current in zip(average.parameters(), model.parameters(), strict=True):
            kept.lerp_(current, 1 - decay)


def validate(model: Generator, config: TrainingConfig, held_out: dict[str, list[Tensor]]) -> dict[str, float]:
    """Gain in PSNR over bicubic, dB, averaged over each set's images; nominal blur, noise 0.001."""
    sensor = model.sensor
    bicubic = Generator(sensor, steps=0)
    device = sensor.taps.device
    reference = torch.tensor(config.reference_reflectance, device=device).reshape(1, -1, 1, 1)
    gains = {}
    with torch.inference_mode():
        for name, images in held_out.items():
            rng = torch.Generator().manual_seed(0)
            total = 0.0
            for image in images:
                hr = image[None].to(device)
                lr = sensor.observe(hr)
                lr = (lr + 0.001 * torch.randn(lr.shape, generator=rng).to(device)) / reference
                total += psnr(model(lr) * reference, hr) - psnr(bicubic(lr) * reference, hr)
            gains[name] = total / len(images)
    return gains


def _nominal_sensor(config: TrainingConfig) -> Sensor:
    return Sensor([mtf_to_sigma(mtf, config.scale) for mtf in config.mtf_nyquist], config.scale)


def _read_validation(config: TrainingConfig, data: Path) -> dict[str, list[Tensor]]:
    sets = {}
    for source in config.validation:
        for factor in source.reduce:
            images = [reduce_by_area(image, factor) for image in read_source(source, config, data)]
            sets[f"{source.glob}/{factor}"] = [_whole_blocks(image, config.scale) for image in images]
    return sets


def _whole_blocks(image: Tensor, scale: int) -> Tensor:
    return image[:, : image.shape[1] // scale * scale, : image.shape[2] // scale * scale]


def _wants_bfloat16(precision: str, device: str) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def _resume(out: Path, model: nn.Module, average: nn.Module, optimiser: Optimiser) -> int:
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _save(out: Path, step: int, model: nn.Module, average: Generator, optimiser: Optimiser) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    torch.save(state, out / "checkpoint.pt.tmp")
    (out / "checkpoint.pt.tmp").replace(out / "checkpoint.pt")
    assert average.network is not None
    weights = {key: value.contiguous() for key, value in average.network.state_dict().items()}
    save_file(weights, out / "weights.safetensors.tmp")
    (out / "weights.safetensors.tmp").replace(out / "weights.safetensors")


def _log(out: Path, **values: float) -> None:
    line = json.dumps({key: round(value, 5) for key, value in values.items()})
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write(line + "\n")
