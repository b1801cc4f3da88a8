"""The training loop, read from top to bottom: batch, loss, step, average, figures, checkpoint.

A run writes ``checkpoint.pt`` (everything to go on from), ``metrics.jsonl``, pictures of its course, and
``weights.safetensors`` (the averaged network). Started again with the same folder it goes on where it was. Where only
a network's weights were kept, a new run goes on from them at the step they had reached; half-widths begin anew.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from geosr.errors import ModelError, TrainingError
from geosr.model.generator import Generator
from geosr.model.kernels import mtf_to_sigma
from geosr.model.rrdb import RRDBNet
from geosr.model.sensor import Sensor, upsample
from geosr.training import curves
from geosr.training.config import TrainingConfig
from geosr.training.data import PatchSampler
from geosr.training.draw_ahead import draw_ahead
from geosr.training.losses import half_width_loss, interpolation_error, loss_beside_spots, noise_passed
from geosr.training.optimiser import Optimiser
from geosr.training.perceptual import Adversary
from geosr.training.run_folder import RunFolder
from geosr.training.shift_tolerance import tolerant
from geosr.training.training_progress import TrainingProgress
from geosr.training.validation import Validator

#: Gradients are bounded at this norm.
_MAX_NORM = 1.0

#: How the names of the weights begin that give half-widths.
_HEAD = "width."

#: And how they began in the first models that had any.
_FORMER_HEAD = "conv_width"

#: After so many steps their mean loss is a figure; of fewer, where a run goes on between two.
_LOG_EVERY = 50


@dataclass(frozen=True)
class Start:
    """Weights that a run begins with, when not untrained ones: the optimiser's state is not needed."""

    weights: Path
    """A network's safetensors, of the configured size."""
    step: int
    """Steps that they were trained."""


def train(
    config: TrainingConfig,
    data: Path,
    out: Path,
    start: Start | None = None,
    *,
    minutes: float | None = None,
    quiet: bool = False,
) -> int:
    """Train up to step ``config.steps``, resuming from ``out`` when it holds a checkpoint.

    After ``minutes`` the run is saved and ends before its last step, to be resumed later. Returns the step reached.

    Raises :class:`geosr.errors.TrainingError` when there is no imagery, no step is left, or the loss is no longer a
    number, :class:`geosr.errors.ResumeError` when ``out`` holds another configuration's run.
    """
    if start is not None and start.step >= config.steps:
        raise TrainingError(
            f"the weights have had {start.step} steps already, of the configuration's {config.steps}: nothing would be"
            " trained; give it more steps, or leave out --from-step to begin its schedule with these weights"
        )
    run = RunFolder(out, config)
    torch.manual_seed(config.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_generator(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start is not None:
        load_network(model, start.weights, image_only=config.learns == "half_widths")
    if config.learns == "half_widths":
        freeze_image(model)
    average = copy.deepcopy(model).eval()
    optimiser = build_optimiser(model, config)
    adversary = None if config.perceptual is None else Adversary(config, config.perceptual, data, device)
    bfloat16 = wants_bfloat16(config.precision, device)
    sampler, validate = PatchSampler(config, data), Validator(config, data)
    forward = torch.compile(model) if config.compiled else model
    origin = 0 if start is None else start.step
    resumed = run.resume(model, average, optimiser, adversary)
    if resumed is None and start is None and config.learns == "half_widths":
        raise TrainingError("half-widths are learned beside an image that is there: name its weights (--from-weights)")
    if resumed is None and start is None and adversary is not None:
        raise TrainingError("the perceptual stage goes on from the fidelity stage: name its weights (--from-weights)")
    step = origin if resumed is None else resumed
    run.forget_after(step)

    end = math.inf if minutes is None else time.monotonic() + 60 * minutes
    running, summed = 0.0, 0
    with TrainingProgress(config.steps, step, quiet=quiet) as progress:
        progress.say(f"training {config.name} on {device} in {'bfloat16' if bfloat16 else 'float32'} from step {step}")
        for lr, hr, gain, noise_limits, beside_spots in draw_ahead(sampler, step, config.steps, device):
            lr = lr.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
                if config.learns == "image":
                    sr, half_width = forward(lr, noise_limits=noise_limits), None
                else:
                    sr, half_width = model.with_half_width(lr)
            if config.loss.relative_to == "interpolation":
                interpolated = upsample(lr, config.scale)
                gain = interpolation_error(interpolated, hr)
            if half_width is not None:
                loss = half_width_loss(sr - hr, half_width, config.interval)
            elif adversary is None:
                loss = tolerant(config.loss, sr, hr, gain, sampler.slack_hr_px(step))
                if config.augmentation.bright:
                    loss = loss + loss_beside_spots(config.loss, sr, hr, beside_spots)
                if config.noise_pairs:
                    passed = noise_passed(sr, lr, beside_spots, config.noise_pairs)
                    loss = loss + config.loss.noise_passed * passed
            else:
                loss = adversary.of_generator(sr, hr, gain, step - origin, bfloat16=bfloat16)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), _MAX_NORM)
            rate = learning_rate(config, step, origin)
            optimiser.step(rate)
            if adversary is not None:
                adversary.learn(sr.detach(), hr, rate / config.learning_rate, bfloat16=bfloat16)
            update_average(average, model, min(config.ema, (1 + step) / (10 + step)))
            step += 1

            running, summed = running + float(loss.detach()), summed + 1
            if not math.isfinite(running):  # before anything of this step is kept
                raise TrainingError(f"the loss is no longer a number at step {step}: lower learning_rate")
            if step % _LOG_EVERY == 0:
                further = {} if adversary is None else adversary.figures()
                run.log(step=step, loss=running / summed, steps_per_s=progress.rate(step), **further)
                progress.step(step, running / summed)
                running, summed = 0.0, 0
            if step % config.validate_every == 0 or step == config.steps:
                validation = validate(average)
                run.log(step=step, **validation.gains_db)
                progress.gains(step, validation.gains_db)
                curves.draw(run, config, validation)
            out_of_time = time.monotonic() > end
            if step % config.checkpoint_every == 0 or step == config.steps or out_of_time:
                run.save(step, model, average, optimiser, adversary)
            if out_of_time:
                break
    return step


def build_generator(config: TrainingConfig) -> Generator:
    """An untrained generator of the configured size."""
    bands = len(config.bands)
    network = RRDBNet(bands, bands, **config.network.model_dump())
    sensor = Sensor([mtf_to_sigma(mtf, config.scale) for mtf in config.mtf_nyquist], config.scale)
    noise, limits = (
        [value / one for one in config.reference_reflectance] if value else []
        for value in (config.noise_limit, config.input_limit)
    )
    return Generator(
        sensor,
        network=network,
        base=config.base,
        steps=config.back_projection_steps,
        noise_limits=noise,
        input_limits=limits,
    )


def build_optimiser(model: Generator, config: TrainingConfig) -> Optimiser:
    """The generator's, as configured."""
    if config.perceptual is None:
        return Optimiser(model, config.optimiser, config.learning_rate)
    return Optimiser(model, config.optimiser, config.learning_rate, config.perceptual.betas)


def load_network(model: Generator, weights: Path, *, image_only: bool = False) -> None:
    """Load a network's safetensors, but for the head for half-widths with ``image_only`` or where there is none.

    Raises :class:`ModelError` when they are missing or of another size.
    """
    assert model.network is not None
    own = model.network.state_dict()
    head = {key: value for key, value in own.items() if key.startswith(_HEAD)}
    try:
        read = {key: value for key, value in load_file(weights).items() if not key.startswith(_FORMER_HEAD)}
        if image_only or not head:
            read = {key: value for key, value in read.items() if not key.startswith(_HEAD)} | head
        model.network.load_state_dict(read)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"the weights {weights} do not fit the configured network: {str(error).splitlines()[0]}"
        ) from error


def freeze_image(model: Generator) -> None:
    """Leave only the head for half-widths to be trained."""
    assert model.network is not None
    for name, parameter in model.network.named_parameters():
        parameter.requires_grad_(name.startswith(_HEAD))


def learning_rate(config: TrainingConfig, step: int, origin: int = 0) -> float:
    """Half a cosine down to a hundredth, after a linear warm-up from the step where the optimiser began."""
    progress = max(0, step - config.warmup) / max(1, config.steps - config.warmup)
    rate = config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
    return rate * min(1.0, (step - origin + 1) / max(1, config.warmup))


def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the current ones."""
    with torch.no_grad():
        for kept, current in zip(average.parameters(), model.parameters(), strict=True):
            kept.lerp_(current, 1 - decay)


def wants_bfloat16(precision: str, device: str) -> bool:
    """Tell whether a configured precision is bfloat16 on a device: ``auto`` is, where there are instructions for it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
