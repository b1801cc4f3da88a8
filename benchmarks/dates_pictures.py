"""Pictures of one date beside several: a town and a shore that are simulated, and fields of a real series.

    python benchmarks/dates_pictures.py --data DATA [--to docs/images]

The simulated dates are those of ``benchmarks/dates.py``. Of the real series there is no finer image to compare with.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from dates import fused
from numpy.typing import NDArray
from torch import Tensor

from geosr.dates.correct import DatedWindow, correction
from geosr.dates.survey import Tile, survey_dates
from geosr.evaluate.held_out import ImageSet, read_images
from geosr.evaluate.metrics import psnr
from geosr.evaluate.real.dates import read_series
from geosr.evaluate.real.subject import BANDS, VISIBLE, Subject, subject_of
from geosr.evaluate.simulated_dates import simulate_dates

mpl.use("Agg")
from matplotlib import pyplot as plt

#: Simulated scenes: image set, number of the image in it, and its part, fine pixels.
SIMULATED = {
    "town": (ImageSet("claremont 0.6 m", "hr/naip_california/claremont_80.tif", 255), (slice(0, 240), slice(0, 240))),
    "shore": (ImageSet("catalonia 10 m", "s2/catalonia_20200128.tif", 10_000), (slice(40, 280), slice(130, 370))),
}

#: Real series, the reference, and the number of dates.
SERIES, REFERENCE, COUNT = "series/c", dt.date(2023, 7, 18), 4

_DPI, _PANEL_IN = 100, 3.0


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--to", type=Path, default=Path("docs/images"))
    parser.add_argument("--model", default="rgbn-x4")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    subject = subject_of(arguments.model)
    for name, (which, part) in SIMULATED.items():
        draw(arguments.to / f"dates_{name}.png", simulated(subject, read_images(which, arguments.data, BANDS)[0], part))
    draw(arguments.to / "dates_fields.png", real(subject, arguments.data / SERIES))


def simulated(subject: Subject, truth: Tensor, part: tuple[slice, slice]) -> dict[str, NDArray[np.float32]]:
    """Images of a simulated place, reflectance."""
    truth = truth[:, part[0], part[1]]
    frames, _ = simulate_dates(truth, subject.sensor(BANDS), COUNT, seed=0)
    single = subject(torch.from_numpy(frames[0]), BANDS)
    several, _ = fused(single, frames, subject)
    print(f"{COUNT} dates over one: {psnr(several, truth) - psnr(single, truth):+.2f} dB")
    return {
        "source": frames[0],
        "one date": single.numpy(),
        f"{COUNT} dates": several.numpy(),
        "truth": truth.numpy(),
    }


def real(subject: Subject, folder: Path) -> dict[str, NDArray[np.float32]]:
    """Images of a field, reflectance; NaN around it."""
    dates = sorted(read_series(folder), key=lambda one: abs((one.when - REFERENCE).days))
    reference = dates[0]
    days = [float(abs((one.when - reference.when).days)) for one in dates[1:COUNT]]
    windows = [DatedWindow(one.pixels.astype(np.float32), one.measured) for one in dates[:COUNT]]
    tile = Tile(0, 0, [one.pixels for one in windows], [one.valid for one in windows])
    sensor = subject.sensor(VISIBLE)
    transfers = [subject.transfers[one] for one in VISIBLE]
    survey = survey_dates([tile], transfers, sensor, reference.measured.shape, days)
    single = subject(torch.from_numpy(windows[0].pixels), VISIBLE).numpy()
    change, _ = correction(single, windows[0], windows[1:], survey, sensor)
    fine = reference.measured.repeat(4, 0).repeat(4, 1)
    return {
        "source": np.where(reference.measured, windows[0].pixels, np.nan),
        "one date": np.where(fine, single, np.nan),
        f"{COUNT} dates": np.where(fine, single + change, np.nan),
    }


def draw(path: Path, images: Mapping[str, NDArray[np.float32]]) -> None:
    """Draw images side by side, in true colours with one stretch."""
    # Blue, green and red are the first bands.
    colours = {title: image[2::-1].transpose(1, 2, 0) for title, image in images.items()}
    low, high = np.nanpercentile(colours["one date"], [1, 99], axis=(0, 1))
    figure, axes = plt.subplots(1, len(colours), figsize=(_PANEL_IN * len(colours), _PANEL_IN + 0.3), dpi=_DPI)
    for axis, (title, image) in zip(axes, colours.items(), strict=True):
        axis.imshow(np.nan_to_num(np.clip((image - low) / (high - low), 0, 1), nan=1.0), interpolation="nearest")
        axis.set_title(title, fontsize=11)
        axis.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 0.91, 0.02, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
    print(path)


if __name__ == "__main__":
    main()
