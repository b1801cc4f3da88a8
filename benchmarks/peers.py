"""geosr beside interpolation and another trained model, on the same judges: real dates, real water, simulated scenes.

    OPENSR_MAMBA=FOLDER python benchmarks/peers.py --data DATA

The other model is opensr-mamba, see ``benchmarks/mamba_peer.py``. It has the visible bands only, so that all are
judged by these. Without OPENSR_MAMBA it is left out.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import torch
from machine import arguments_of, command_of, keep

from catalog.sentinel2 import BANDS as SENTINEL2
from geosr.evaluate.held_out import SETS, observe, read_images
from geosr.evaluate.metrics import psnr, spectral_angle_deg
from geosr.evaluate.real.judge import judge_dates, judge_scene
from geosr.evaluate.real.subject import BANDS, VISIBLE, Subject, interpolation, subject_of
from geosr.model.zoo import DEFAULT_MODEL

#: Steps of back-projection, as the model of that name has.
STEPS = 3

#: Images of each simulated set, pixels at their edges that are left out, and side and rounds of the timed source.
MOST, MARGIN_PX, TIMED_PX, ROUNDS = 12, 16, 128, 5


def subjects() -> list[Subject]:
    """All that are compared."""
    ours = subject_of(DEFAULT_MODEL)
    found = [interpolation("bicubic", ours), interpolation(f"back-projection, {STEPS} steps", ours, STEPS)]
    if "OPENSR_MAMBA" in os.environ:
        from mamba_peer import BANDS as OTHERS
        from mamba_peer import upscale

        transfers = {one: SENTINEL2[one].mtf_nyquist or 0.26 for one in OTHERS}
        found.append(Subject("opensr-mamba 0.0.1", OTHERS, upscale, transfers))
    return [*found, ours]


def judge_simulated(subject: Subject, data: Path, most: int) -> dict[str, dict[str, float]]:
    """Mean PSNR and angle of the visible bands on each simulated set."""
    sensor = subject_of(DEFAULT_MODEL).sensor(BANDS)
    visible = [BANDS.index(one) for one in VISIBLE]
    inner = slice(MARGIN_PX, -MARGIN_PX)
    found = {}
    for which in SETS:
        truths = read_images(which, data, BANDS)[:most]
        figures = []
        for truth, lr in zip(truths, observe(truths, sensor), strict=True):
            made = subject(lr, BANDS)[[subject.common(BANDS).index(one) for one in VISIBLE]]
            pair = (made[:, inner, inner], truth[visible][:, inner, inner])
            figures.append((psnr(*pair), spectral_angle_deg(*pair)))
        decibels, degrees = zip(*figures, strict=True)
        found[which.name] = {
            "psnr_db": round(statistics.mean(decibels), 2),
            "angle_deg": round(statistics.mean(degrees), 2),
        }
    return found


def times(compared: list[Subject], data: Path) -> dict[str, float]:
    """Median seconds for one source, in rounds that take turns."""
    lr = read_images(SETS[-1], data, BANDS)[0][:, :TIMED_PX, :TIMED_PX]
    seconds: dict[str, list[float]] = {one.name: [] for one in compared}
    for number in range(ROUNDS + 1):
        for one in compared:
            began = time.perf_counter()
            one(lr, BANDS)
            if number:
                # The first round loads and compiles.
                seconds[one.name].append(time.perf_counter() - began)
    return {name: round(statistics.median(own), 3) for name, own in seconds.items()}


def main() -> None:
    """Measure every contender."""
    parser = arguments_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    compared = subjects()
    content = {}
    for one in compared:
        scene, dates = judge_scene(one, arguments.data), judge_dates(one, arguments.data)
        content[one.name] = {
            "left_over": round(dates["left over of another date"], 4),
            "left_over_by_smoothing": round(dates["left over by smoothed interpolation"], 4),
            "noise_gain": {band: round(scene[f"noise gain on water, {band}"], 2) for band in VISIBLE},
            "agreement": round(scene["agreement of added detail"], 2),
            "floor_share": round(scene["floor share"], 5),
            "floor_share_of_source": round(scene["floor share of the source"], 5),
            "simulated": judge_simulated(one, arguments.data, 1 if arguments.smoke else MOST),
        }
        print(one.name, content[one.name], flush=True)
    for name, seconds in times(compared, arguments.data).items():
        content[name]["seconds"] = seconds
    keep("peers", command_of(parser, arguments), {"timed_px": TIMED_PX, "contenders": content}, arguments.results)


if __name__ == "__main__":
    main()
