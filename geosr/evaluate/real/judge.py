"""All judges on the standard data: a model's figures as one flat table of names and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geosr.evaluate.contenders import SCALE
from geosr.evaluate.held_out import SETS, ImageSet, read_images
from geosr.evaluate.real import dates, detail, edges, fidelity, noise, several_dates
from geosr.evaluate.real.subject import BANDS, VISIBLE, Subject
from geosr.model.measured_fraction import MeasuredFraction
from geosr.model.sensor import Sensor

#: The real scene, of bands B02, B03, B04 and B08.
SCENE = ImageSet("austria_b", "s2/austria_b.tif", 10_000)

#: Where dates of series lie in the data folder.
SERIES = "series"

#: Standard deviations of noise, reflectance: passed on, and of residuals.
NOISES, RESIDUAL_NOISES = (0.001, 0.002), (0.0005, 0.001, 0.002)

#: Images of each simulated set that are used here.
_IMAGES = 2

#: Side of the part of a scene that is used where the whole is not needed, source pixels.
_PART_PX = 96

#: Sources with a shorter side, pixels, are nearly all edge.
_SMALLEST_PX = 32

Figures = dict[str, float]
_Judge = Callable[[Subject, Path], Figures]


def read_scene(data: Path) -> Tensor:
    """The real scene, reflectance ``(bands, rows, cols)`` of ``BANDS``. Raises :class:`UsageError` without it."""
    return read_images(SCENE, data, BANDS)[0]


def judge_scene(subject: Subject, data: Path) -> Figures:
    """Noise gain on calm water, agreement of bands and range, on the real scene as a whole."""
    scene = read_scene(data)
    common = subject.common(BANDS)
    lr = scene[[BANDS.index(one) for one in common]]
    sr = subject(scene, BANDS)
    calm = noise.calm_water(scene, BANDS)
    return scene_figures(sr, lr, common, calm) | measured_figures(sr, lr, subject.sensor(common), calm)


def measured_figures(sr: Tensor, lr: Tensor, sensor: Sensor, calm: np.ndarray) -> Figures:
    """Median of the measured fraction on calm water and elsewhere, percent."""
    fraction = MeasuredFraction(sensor, [1.0] * len(lr))(sr[None].float(), lr[None].float())[0].numpy()
    fine = calm.repeat(SCALE, 0).repeat(SCALE, 1)
    places = {"water": fine, "other ground": ~fine}
    return {
        f"measured fraction on {name}, %": 100 * float(np.median(fraction[where])) if where.any() else float("nan")
        for name, where in places.items()
    }


def scene_figures(sr: Tensor, lr: Tensor, bands: Sequence[str], calm: np.ndarray) -> Figures:
    """Figures of :func:`judge_scene` for a product that exists already."""
    gains = noise.noise_gain(sr, lr, calm)
    figures = {f"noise gain on water, {one}": gain for one, gain in zip(bands, gains, strict=True)}
    figures["agreement of added detail"] = detail.agreement(sr, lr, bands)
    figures["agreement on calm ground"] = detail.agreement(sr, lr, bands, calm)
    of = detail.value_range(sr, lr, bands)
    figures |= {
        "floor share": of.floor_share,
        "floor share of the source": of.source_floor_share,
        "share above 1.5 x the source around": of.too_high_share,
        "share of NDVI > 0.98": of.extreme_index_share,
        "share of NDVI > 0.98 in the source": of.source_extreme_index_share,
        "largest reflectance": of.largest,
        "largest reflectance of the source": of.source_largest,
    }
    return figures


def judge_dates(subject: Subject, data: Path, pairs: Sequence[dates.Pair] | None = None) -> Figures:
    """Another date predicted, beside the two baselines at their best."""
    pairs = dates.find_pairs(data / SERIES) if pairs is None else pairs
    ours = float(np.mean(dates.left_over(subject, pairs)))
    smoothing, smoothed = dates.best_smoothing(pairs)
    steps, projected = dates.best_back_projection(pairs, _visible_only(subject))
    best = min(float(np.mean(smoothed)), float(np.mean(projected)))
    return {
        "pairs of dates": len(pairs),
        "left over of another date": ours,
        "left over by interpolation": float(np.mean(dates.left_over_by_interpolation(pairs, 0.0))),
        "left over by smoothed interpolation": float(np.mean(smoothed)),
        "its smoothing, px": smoothing,
        "left over by back-projection": float(np.mean(projected)),
        "its steps": steps,
        "less left over than the best of these": 1 - ours / best,
    }


def judge_several_dates(subject: Subject, data: Path, pairs: Sequence[dates.Pair] | None = None) -> Figures:
    """Another date predicted from images of one, two, four and eight dates."""
    pairs = dates.find_pairs(data / SERIES) if pairs is None else pairs
    shares = several_dates.left_over_by_count(subject, pairs, data / SERIES)
    return {f"left over of another date, {count} used": float(np.mean(one)) for count, one in shares.items()}


def judge_noise(subject: Subject, data: Path) -> Figures:
    """Noise passed on from a clean source, by noise and band, and residuals in units of the noise."""
    clean = _clean_source(subject, data)
    common = subject.common(BANDS)
    figures: Figures = {}
    for level in NOISES:
        gains = noise.passed_noise(subject, clean, common, level)
        figures |= {f"noise {level:g} passed on, {one}": gain for one, gain in zip(common, gains, strict=True)}
    sources = [clean, *_simulated_sources(subject, data)]
    for level in RESIDUAL_NOISES:
        found = [fidelity.residual(subject, one, common, level) for one in sources]
        figures[f"residual at noise {level:g}, in noise"] = float(np.mean([one.in_noise for one in found]))
        figures[f"mean over 8 x 8 at noise {level:g}, DN"] = max(one.blocks_dn for one in found)
    return figures


def judge_edges(subject: Subject, data: Path) -> Figures:
    """Overshoot at an ideal edge by blur, and the reach of one bright pixel."""
    figures = {f"overshoot at {one:g} x blur": edges.overshoot(subject, BANDS, one) for one in edges.BLUR_FACTORS}
    scene = read_scene(data)
    common = subject.common(BANDS)
    figures["reach of a pixel of 12,000 DN, DN"] = edges.reach_of_bright_pixel(
        subject, scene[[BANDS.index(one) for one in common]], common
    )
    return figures


def judge_blurs(subject: Subject, data: Path) -> Figures:
    """Gain over bicubic where the sensor is sharper or softer than assumed: mean of the simulated sets there are."""
    there = [one for one in SETS[:-1] if any(data.glob(one.glob))]
    sets = [read_images(one, data, BANDS)[:_IMAGES] for one in there]
    return {
        f"gain over bicubic at {factor:g} x blur, dB": float(
            np.mean([fidelity.gain_at_blur(subject, truths, BANDS, factor) for truths in sets])
        )
        for factor in edges.BLUR_FACTORS
    }


def judge_compression(subject: Subject, data: Path) -> Figures:
    """Plain images over bicubic, dB, by JPEG quality."""
    if subject.for_plain_images is None:
        return {}
    truths = [one[[2, 1, 0]] for one in read_images(SETS[0], data, BANDS)[: 4 * _IMAGES]]
    figures = {}
    for quality in fidelity.QUALITIES:
        found = fidelity.compressed(subject, truths, quality)
        assert found is not None
        figures[f"over bicubic, {'PNG' if quality is None else f'JPEG {quality}'}, dB"] = found[0] - found[1]
    return figures


#: All judges by name, the quick ones first.
JUDGES: Mapping[str, _Judge] = {
    "edges": judge_edges,
    "noise": judge_noise,
    "dates": judge_dates,
    "several dates": judge_several_dates,
    "compression": judge_compression,
    "blurs": judge_blurs,
    "scene": judge_scene,
}


def _clean_source(subject: Subject, data: Path) -> Tensor:
    """A part of the real scene as its own ground, seen through the sensor: a source without noise."""
    return _observed(subject, read_scene(data))


def _simulated_sources(subject: Subject, data: Path) -> list[Tensor]:
    """The first image of each simulated set, where it is large enough, seen through the sensor without noise."""
    there = [one for one in SETS if one.glob != SCENE.glob and any(data.glob(one.glob))]
    seen = [_observed(subject, read_images(one, data, BANDS)[0]) for one in there]
    return [one for one in seen if min(one.shape[1:]) >= _SMALLEST_PX]


def _observed(subject: Subject, truth: Tensor) -> Tensor:
    common = subject.common(BANDS)
    with torch.inference_mode():
        seen = subject.sensor(common).observe(truth[[BANDS.index(one) for one in common]][None])[0]
    return seen[:, :_PART_PX, :_PART_PX].clone()


def _visible_only(subject: Subject) -> Subject:
    """A subject for the visible bands with the same blur, for baselines."""
    bands = subject.common(VISIBLE)
    return Subject(subject.name, bands, subject.upscale, {one: subject.transfers[one] for one in bands})
