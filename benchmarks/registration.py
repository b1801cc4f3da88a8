"""Errors of the shifts, gains and offsets that pairs find in real imagery, under noise and partial cloud.

    python benchmarks/registration.py --data DATA

LR patches are made of real imagery: moved by a known fraction of a pixel in the Fourier domain, which the measurement
does not use, seen through Sentinel-2's blur, brightened, given noise and clouds. Half of the clouds are masked, as a
scene classification masks them; of the other half nothing is told. Patches that do not belong together are screened as
`geosr pairs build` screens them. Without --data the bundled sample is the imagery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from machine import arguments_of, command_of, keep
from scenes import SAMPLE
from scipy import ndimage

from geosr.model.kernels import mtf_to_sigma
from geosr.model.sensor import Sensor
from geosr.pairs.config import Screening
from geosr.pairs.screen import REASONS, examine
from geosr.registration.align import measure_shift
from geosr.registration.harmonise import harmonise
from geosr.registration.observed import Observed, observe

#: Imagery taken as high resolution: files, and the DN of reflectance 1.
IMAGERY = (
    ("hr/quickbird_toulouse/qb_[abd].tif", 2047.0),
    ("hr/quickbird_roads/*.tif", 2047.0),
    ("hr/pleiades/*.tif", 1023.0),
    ("hr/naip_dakota/*_2010.tif", 255.0),
    ("hr/naip_virginia/naip_va.tif", 255.0),
    ("s2/austria_a.tif", 10000.0),
    ("s2/germany_l1c_10m.tif", 10000.0),
)

SCALE = 4
TRANSFERS = (0.26, 0.28, 0.24)
MAX_SHIFT_PX = 4.0

#: Ranges that are drawn from: shift along each axis (LR pixels), gain, offset and noise (reflectance), cloud cover.
SHIFT_PX = 3.0
GAIN = (0.6, 1.6)
OFFSET = (-0.03, 0.08)
NOISE = (0.001, 0.01)
CLOUDS = (0.0, 0.35)
CLOUD_REFLECTANCE = 0.6

#: As a build screens, but for clouds that are masked: a patch that is half covered is measured here all the same.
RULES = Screening(min_valid=0.5)


@dataclass(frozen=True)
class Case:
    """An LR patch, the HR over it, and what was done."""

    lr: np.ndarray
    valid: np.ndarray
    observed: Observed
    shift_px: np.ndarray
    gains: np.ndarray
    offsets: np.ndarray
    clouds: str
    """``none``, ``masked`` or ``unmasked``."""


def read_images(data: Path | None) -> list[np.ndarray]:
    """The first three bands of every image, reflectance."""
    found = [(SAMPLE, 10000.0)]
    if data is not None:
        found = [(path, full) for pattern, full in IMAGERY for path in sorted(data.glob(pattern))]
    images = []
    for path, full in found:
        with rasterio.open(path) as raster:
            images.append(raster.read([1, 2, 3]).astype(np.float64) / full)
    return images


def draw_case(images: Sequence[np.ndarray], side: int, rng: np.random.Generator, *, related: bool = True) -> Case:
    """A patch of ``side`` LR pixels; of other ground than its HR when it is not ``related``."""
    margin = int(np.ceil(MAX_SHIFT_PX)) + 3
    hr, elsewhere = _two_crops(images, SCALE * (side + 2 * margin), rng)
    shift = rng.uniform(-SHIFT_PX, SHIFT_PX, 2)
    moved = _moved(hr if related else elsewhere, SCALE * shift)
    jitter = rng.uniform(0.95, 1.05)
    sensor = Sensor([jitter * mtf_to_sigma(mtf, SCALE) for mtf in TRANSFERS], SCALE)
    lr = sensor.observe(torch.from_numpy(moved[None]).float())[0].numpy().astype(np.float64)
    lr = lr[:, margin:-margin, margin:-margin]
    gains, offsets = rng.uniform(*GAIN, 3), rng.uniform(*OFFSET, 3)
    lr = lr * gains[:, None, None] + offsets[:, None, None]
    lr, valid, clouds = _clouded(lr, rng)
    noise = np.exp(rng.uniform(*np.log(NOISE)))
    lr = lr + noise * rng.standard_normal(lr.shape)
    hr = hr + 0.5 * noise * rng.standard_normal(hr.shape)
    observed = observe(hr, np.ones(hr.shape[1:], bool), TRANSFERS, SCALE, margin)
    return Case(lr, valid, observed, shift, gains, offsets, clouds)


def _two_crops(images: Sequence[np.ndarray], side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Squares of two images, or of one image as far apart as it lets them be."""
    first, second = rng.integers(len(images)), rng.integers(len(images))
    corners = [tuple(rng.integers(length - side + 1) for length in images[i].shape[1:]) for i in (first, second)]
    crops = [images[i][:, y : y + side, x : x + side] for i, (y, x) in zip((first, second), corners, strict=True)]
    # The same image upside down is other ground, however small it is.
    return crops[0], crops[1][:, ::-1, ::-1]


def _moved(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Move an image by ``shift`` pixels, by a phase ramp on a mirrored copy that has no seam."""
    rows, cols = image.shape[1:]
    whole = np.concatenate([image, image[:, ::-1]], axis=1)
    whole = np.concatenate([whole, whole[:, :, ::-1]], axis=2)
    ramp = np.exp(
        2j * np.pi * (shift[0] * np.fft.fftfreq(2 * rows)[:, None] + shift[1] * np.fft.rfftfreq(2 * cols)[None, :])
    )
    return np.fft.irfft2(np.fft.rfft2(whole) * ramp, s=whole.shape[1:])[:, :rows, :cols]


def _clouded(lr: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, str]:
    """Clouds with soft edges over a share of the patch, and what is known of them."""
    valid = np.ones(lr.shape[1:], bool)
    kind = ("none", "masked", "unmasked")[rng.choice(3, p=[0.2, 0.4, 0.4])]
    if kind == "none":
        return lr, valid, kind
    field = ndimage.gaussian_filter(rng.standard_normal(lr.shape[1:]), 6, mode="reflect")
    edge = np.quantile(field, 1 - rng.uniform(*CLOUDS))
    opacity = np.clip((field - edge) / (0.3 * field.std()), 0, 1)
    clouded = lr + opacity * (CLOUD_REFLECTANCE * rng.uniform(0.7, 1.3) - lr)
    if kind == "masked":
        valid = ~ndimage.maximum_filter(opacity > 0.2, 3)
    return clouded, valid, kind


def measure(case: Case) -> tuple[float, float, float, bool]:
    """Errors of the shift (LR pixels), of the gain (relative) and of the offset (reflectance), the worst of the bands.

    And whether a build would keep the patch.
    """
    found = measure_shift(case.lr, case.valid, case.observed, MAX_SHIFT_PX)
    at = np.array([found.rows_px, found.cols_px])
    values, seen = case.observed.at(at)
    lines = harmonise(case.lr, values, case.valid & seen)
    gains, offsets = np.array([line.gain for line in lines]), np.array([line.offset for line in lines])
    return (
        float(np.hypot(*(at - case.shift_px))),
        float(np.abs(gains / case.gains - 1).max()),
        float(np.abs(offsets - case.offsets).max()),
        examine(case.lr, case.valid, case.observed, RULES, (found.rows_px, found.cols_px)).reason is None,
    )


def main() -> None:
    """Measure cases that belong together, and screen those that do not."""
    parser = arguments_of(__doc__)
    parser.add_argument("--data", type=Path, help="folder of the imagery")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--unrelated", type=int, default=300)
    parser.add_argument("--side", type=int, default=64, help="of a patch, LR pixels")
    arguments = parser.parse_args()
    side, count, unrelated = arguments.side, arguments.cases, arguments.unrelated
    if arguments.smoke:
        side, count, unrelated = 40, 30, 15
    images = read_images(arguments.data)
    cases = [draw_case(images, side, np.random.default_rng([1, i])) for i in range(count)]
    measured = [measure(case) for case in cases]
    errors = np.array([one[:3] for one in measured])
    kept = np.array([one[3] for one in measured])
    reasons: dict[str, int] = dict.fromkeys([*REASONS, "kept"], 0)
    for i in range(unrelated):
        case = draw_case(images, side, np.random.default_rng([2, i]), related=False)
        found = measure_shift(case.lr, case.valid, case.observed, MAX_SHIFT_PX)
        verdict = examine(case.lr, case.valid, case.observed, RULES, (found.rows_px, found.cols_px))
        reasons[verdict.reason or "kept"] += 1
    result: dict[str, Any] = {
        "side_px": side,
        "images": len(images),
        "cases": count,
        "errors": {"all": _quantiles(errors)}
        | {
            kind: _quantiles(errors[[case.clouds == kind for case in cases]])
            for kind in ("none", "masked", "unmasked")
            if any(case.clouds == kind for case in cases)
        }
        | ({"kept": _quantiles(errors[kept])} if kept.any() else {}),
        "unrelated": unrelated,
        "unrelated_rejected": round(1 - reasons["kept"] / unrelated, 4),
        "unrelated_reasons": reasons,
    }
    keep("registration", command_of(parser, arguments), result, arguments.results)


def _quantiles(errors: np.ndarray) -> dict[str, Any]:
    median, high = np.quantile(errors, (0.5, 0.95), axis=0)
    return {
        "cases": len(errors),
        "shift_px": {"median": round(float(median[0]), 4), "p95": round(float(high[0]), 4)},
        "gain": {"median": round(float(median[1]), 4), "p95": round(float(high[1]), 4)},
        "offset": {"median": round(float(median[2]), 5), "p95": round(float(high[2]), 5)},
    }


if __name__ == "__main__":
    main()
