"""Training of a stack's two networks, one after the other.

python -m geosr.training.stack_loop CONFIG --data DATA --output RUN [--leave-out SCENE]

A run keeps a checkpoint for each step and ``coarse.safetensors`` and ``fine.safetensors``, the averaged networks.
Started again with the same folder it goes on where it was. A scene that is left out can be measured on.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from geosr.errors import ResumeError, TrainingError
from geosr.model.fusion import FusionNetwork
from geosr.model.kernels import gaussian_taps, sensor_sigmas
from geosr.model.sensor import blur_and_sample
from geosr.model.stack import build_guide, fusion
from geosr.model.zoo import read_card
from geosr.training.data import turned
from geosr.training.loop import update_average
from geosr.training.optimiser import Optimiser
from geosr.training.reduced_scenes import Scale, StackConfig, StackStep, read_scene, read_stack_config, scales
from geosr.training.training_progress import TrainingProgress

STEPS: tuple[StackStep, ...] = ("coarse", "fine")

#: In a run's folder, what it is a run of.
RUN = "run.json"

#: Reduced pixels cut from each side of a patch, so that its blur never saw the patch's edge.
_MARGIN_PX = 3

#: A patch's brightness is multiplied by up to this, or divided, and each band's by up to the other fraction more.
_GAIN, _BAND_GAIN = 1.6, 0.15

#: Keeps the loss's slope finite where a patch has no error, units of reference reflectance.
_FLOOR = 1e-3

_LOG_EVERY = 50


def train_stack(
    config: StackConfig, data: Path, out: Path, leave_out: str | None = None, *, quiet: bool = False
) -> None:
    """Train both networks, each up to step ``config.steps``.

    Raises :class:`TrainingError` when imagery is missing or a loss is no longer a number, :class:`ResumeError` when
    ``out`` holds another run.
    """
    scenes = [scene for scene in config.scenes if scene.name != leave_out]
    if leave_out is not None and len(scenes) == len(config.scenes):
        raise TrainingError(f"no scene {leave_out}: there are {', '.join(scene.name for scene in config.scenes)}")
    if not scenes:
        raise TrainingError(f"there is nothing to train on without {leave_out}: it is the only scene")
    out.mkdir(parents=True, exist_ok=True)
    _check_run(out / RUN, {"config": config.model_dump(mode="json"), "leave_out": leave_out})
    guide_card = read_card(config.guide)
    guide = build_guide(guide_card, config.mtf_nyquist, len(config.guides))
    images = [read_scene(scene, config, data) for scene in scenes]
    shares = torch.tensor([scene.share for scene in scenes])
    for step in STEPS:
        views = [scales(fine, coarse, config, step, guide) for fine, coarse in images]
        _train_step(config, step, views, shares, out, quiet=quiet)


def check_trained_with(config: StackConfig, run: Path) -> None:
    """Hold what a run says of itself against the configuration that is said to be the run's.

    Raises :class:`TrainingError` when the two differ, or when it says nothing.
    """
    path = run / RUN
    try:
        told = StackConfig.model_validate(json.loads(path.read_text(encoding="utf-8"))["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} does not say how the run was trained: it is not the folder of a run") from error
    differing = [name for name in StackConfig.model_fields if getattr(told, name) != getattr(config, name)]
    if differing:
        raise TrainingError(f"{run} was trained with another configuration, which differs in {', '.join(differing)}")


def untrained(config: StackConfig, step: StackStep) -> FusionNetwork:
    """A step of the stack before training."""
    guides, bands = config.transfers()
    return fusion(config.size(step), guides, bands, config.back_projection_steps)


def _train_step(
    config: StackConfig, step: StackStep, views: Sequence[Sequence[Scale]], shares: Tensor, out: Path, *, quiet: bool
) -> None:
    torch.manual_seed(config.seed)
    model = untrained(config, step)
    average = copy.deepcopy(model).eval()
    optimiser = Optimiser(model, "adamw", config.learning_rate)
    checkpoint = out / f"{step}.pt"
    first = _load(checkpoint, model, average, optimiser)
    running = 0.0
    with TrainingProgress(config.steps, first, quiet=quiet) as progress:
        progress.say(f"training {config.name}, {step}, from step {first}")
        for number in range(first, config.steps):
            coarse, guides, truth, gain = _batch(config, step, views, shares, number)
            error = (model(coarse, guides) - truth) / gain
            loss = (error.square().mean(dim=(-2, -1)) + _FLOOR**2).sqrt().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step(_rate(config, number))
            update_average(average, model, min(config.ema, (1 + number) / (10 + number)))
            running += float(loss.detach())
            done = number + 1
            if done % _LOG_EVERY == 0 or done == config.steps:
                if not math.isfinite(running):
                    raise TrainingError(f"the loss is no longer a number at step {done}: lower learning_rate")
                progress.step(done, running / (done - max(first, (done - 1) // _LOG_EVERY * _LOG_EVERY)))
                running = 0.0
                _save(checkpoint, done, model, average, optimiser)
    weights = out / f"{step}.safetensors"
    save_file({key: value.contiguous() for key, value in average.network.state_dict().items()}, f"{weights}.tmp")
    Path(f"{weights}.tmp").replace(weights)


def _batch(
    config: StackConfig, step: StackStep, views: Sequence[Sequence[Scale]], shares: Tensor, number: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reduced coarse bands, guides, truth, and each patch's gain; they follow from the seed and the step alone."""
    rng = torch.Generator().manual_seed(config.seed * 1_000_003 + 2 * number + (step == "fine"))
    scale, side = config.size(step).scale, config.patch_px + 2 * _MARGIN_PX
    guides: list[Tensor] = []
    truths: list[Tensor] = []
    gains: list[float] = []
    for chosen in torch.multinomial(shares, config.batch, replacement=True, generator=rng).tolist():
        view = views[chosen][int(_uniform(rng, 0, len(views[chosen])))]
        _, rows, cols = view.truth.shape
        if min(rows, cols) < scale * side:
            raise TrainingError(f"a scene of {rows}×{cols} coarse pixels is too small for patches of {scale * side}")
        y, x = (scale * int(_uniform(rng, 0, length // scale - side + 1)) for length in (rows, cols))
        window = (slice(None), slice(y, y + scale * side), slice(x, x + scale * side))
        flips = [_uniform(rng, 0, 1) < 0.5 for _ in range(3)]
        gain = math.exp(_uniform(rng, -math.log(_GAIN), math.log(_GAIN)))
        for image, kept in ((view.guides, guides), (view.truth, truths)):
            spread = 1 + _BAND_GAIN * (2 * torch.rand(len(image), 1, 1, generator=rng) - 1)
            kept.append(turned(image[window], flips) * gain * spread)
        gains.append(gain)
    truth = torch.stack(truths)
    coarse = _reduced(truth, config, scale, rng)
    cut, inner = scale * _MARGIN_PX, _MARGIN_PX
    return (
        coarse[..., inner:-inner, inner:-inner],
        torch.stack(guides)[..., cut:-cut, cut:-cut],
        truth[..., cut:-cut, cut:-cut],
        torch.tensor(gains).reshape(-1, 1, 1, 1),
    )


def _reduced(truth: Tensor, config: StackConfig, scale: int, rng: torch.Generator) -> Tensor:
    """Observe the truth on a grid ``scale`` times coarser, its blur about the nominal one."""
    images, bands, rows, cols = truth.shape
    nominal = torch.tensor(sensor_sigmas(config.transfers()[1], scale)).repeat(images, 1)
    sigma = nominal * (1 + config.blur * (2 * torch.rand(images, 1, generator=rng) - 1))
    taps = torch.from_numpy(gaussian_taps(sigma.flatten().numpy(), scale))
    reduced = blur_and_sample(truth.reshape(1, images * bands, rows, cols), taps, taps, scale)
    reduced = reduced.reshape(images, bands, rows // scale, cols // scale)
    return reduced + config.noise / config.units()[1] * torch.randn(reduced.shape, generator=rng)


def _rate(config: StackConfig, number: int) -> float:
    """Half a cosine down to a hundredth, after a linear warm-up."""
    cosine = 0.5 * (1 + math.cos(math.pi * number / config.steps))
    return config.learning_rate * (0.01 + 0.99 * cosine) * min(1.0, (number + 1) / max(1, config.warmup))


def _uniform(rng: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=rng))


def _check_run(path: Path, identity: dict[str, object]) -> None:
    text = json.dumps(identity, sort_keys=True)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ResumeError(f"{path.parent} holds another run: name another folder")
    path.write_text(text, encoding="utf-8")


def _load(path: Path, model: nn.Module, average: nn.Module, optimiser: Optimiser) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _save(path: Path, step: int, model: nn.Module, average: nn.Module, optimiser: Optimiser) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    torch.save(state, f"{path}.tmp")
    Path(f"{path}.tmp").replace(path)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m geosr.training.stack_loop", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--leave-out", metavar="SCENE", help="a scene that is not trained on")
    arguments = parser.parse_args()
    train_stack(read_stack_config(arguments.config), arguments.data, arguments.output, arguments.leave_out)


if __name__ == "__main__":
    main()
