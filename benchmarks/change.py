"""Floods of known area between two simulated dates: hectares at 2.5 m and at 10 m, and differences outside of them.

    python benchmarks/change.py --data DATA

The ground is imagery that no model was trained on, taken as 2.5 m: the town qb_c, and the fields and forest of
austria_b, whose own pixels are four times larger. Ground that is water already, by the index's own rule, is no part of
a flood. The later date is shifted by 0.3 and 0.2 source pixels, brighter by 2 %, and has noise of its own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import rasterio
import torch
from machine import arguments_of, command_of, keep
from rasterio.transform import from_origin
from rasterio.windows import Window
from scipy import ndimage

from catalog import SceneRequest, open_scene
from geosr.change.dates import Registered, SceneReader
from geosr.change.detect import detect_change
from geosr.change.indices import INDICES
from geosr.change.request import ChangeRequest
from geosr.change.result import ChangeResult
from geosr.evaluate.held_out import SETS, read_images
from geosr.model.kernels import mtf_to_sigma
from geosr.model.sensor import Sensor

DATES = ("before", "after")
BANDS = ("B02", "B03", "B04", "B08")
MTF = (0.26, 0.28, 0.24, 0.26)
NOISE = 0.001
SHIFT_PX = (1.2, -0.8)
EDGE_PX = 12
PIXEL_HA = 2.5**2 / 10_000

#: QuickBird's numbers are no reflectance: as they are, most of the town would be water by its index.
GAINS = {"qb_c 2.4 m": (1.0, 1.0, 1.0, 2.0)}

#: Water's reflectance in the four bands.
WATER = np.array([0.07, 0.06, 0.045, 0.015], np.float32)


def flood_of(shape: tuple[int, int], lobes: int) -> np.ndarray:
    """A ragged area about the middle, ``(rows, cols)``."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    y, x = y - shape[0] / 2, x - shape[1] / 2
    angle = np.arctan2(y, x)
    wave = 0.25 + 0.06 * np.sin(lobes * angle + 1) + 0.03 * np.sin(7 * angle) + 0.015 * np.sin(17 * angle)
    return np.hypot(y, x) < min(shape) * wave


def write_date(path: Path, ground: np.ndarray, seed: int) -> None:
    """Write the sensor's record of ``(bands, rows, cols)`` reflectance."""
    sensor = Sensor([mtf_to_sigma(mtf, 4) for mtf in MTF], 4)
    seen = sensor.observe(torch.from_numpy(ground)[None].float())[0].numpy()
    seen = seen + NOISE * np.random.default_rng(seed).standard_normal(seen.shape)
    form = {"driver": "GTiff", "count": 4, "height": seen.shape[1], "width": seen.shape[2], "dtype": "uint16"}
    transform = from_origin(370_000, 4_830_000, 10, 10)
    with rasterio.open(path, "w", crs="EPSG:32631", transform=transform, nodata=0, **form) as raster:
        raster.write(np.round(seen * 10_000).clip(1, 65_535).astype(np.uint16))
        raster.descriptions = BANDS
        raster.scales = (1e-4,) * 4


def measure(name: str, ground: np.ndarray, lobes: int) -> dict[str, object]:
    """One flood."""
    ground = ground[:, : ground.shape[1] // 4 * 4, : ground.shape[2] // 4 * 4].clip(0.002)
    flood = flood_of(ground.shape[1:], lobes)
    later = ground.copy()
    later[:, flood] = WATER[:, None]
    index = INDICES["ndwi"]
    pair = ground[[BANDS.index(band) for band in index.bands]]
    flooded = flood & ~index.stayed(index.of(pair), index.of(pair))
    later = np.stack([ndimage.shift(band, SHIFT_PX, order=3, mode="nearest") for band in 1.02 * later + 0.002])
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        write_date(folder / "before.tif", ground, 1)
        write_date(folder / "after.tif", later, 2)
        scenes = (SceneRequest(str(folder / f"{date}.tif")) for date in DATES)
        found = detect_change(ChangeRequest(*scenes, folder / "change.tif"))
        outside = outside_of(flood, folder, found)
    return {
        "ground": name,
        "hectares": round(float(flooded.sum()) * PIXEL_HA, 3),
        "fine": {**found.as_json()["fine"]},
        "source": {**found.as_json()["source"]},
        "outside": outside,
        "shift_px": [round(found.registration.rows_px, 3), round(found.registration.cols_px, 3)],
    }


def outside_of(flood: np.ndarray, folder: Path, found: ChangeResult) -> dict[str, dict[str, float]]:
    """Sizes of the differences at least 30 m from a flood: as shown and as measured at 2.5 m, and at the source's 10 m."""
    away = ~ndimage.binary_dilation(flood, iterations=EDGE_PX)
    away[:EDGE_PX], away[-EDGE_PX:], away[:, :EDGE_PX], away[:, -EDGE_PX:] = False, False, False, False
    with rasterio.open(folder / "change_difference.tif") as raster:
        shown, _, measured = raster.read()
    index, registration = INDICES["ndwi"], found.registration
    before, after = (SceneReader(open_scene(SceneRequest(str(folder / f"{date}.tif"))), index.bands) for date in DATES)
    size = (flood.shape[0] // 4, flood.shape[1] // 4)
    moved = Registered(after, size, (registration.rows_px, registration.cols_px), registration.lines)
    whole = Window(0, 0, size[1], size[0])
    source = index.of(moved.read(whole)[0]) - index.of(before.read(whole)[0])
    source -= np.median(source[away[2::4, 2::4]])
    parts = {"shown": shown[away], "measured": measured[away], "source": source[away[2::4, 2::4]]}
    return {
        key: {
            "median": round(float(np.median(np.abs(part))), 4),
            "mean": round(float(np.abs(part).mean()), 4),
            "rms": round(float(np.sqrt((part**2).mean())), 4),
        }
        for key, part in parts.items()
    }


def main() -> None:
    """Measure every flood."""
    parser = arguments_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the held-out imagery")
    arguments = parser.parse_args()
    rows = []
    for which in (SETS[2], SETS[3]):
        grounds = read_images(which, arguments.data, BANDS)[: 1 if arguments.smoke else 2]
        gains = np.array(GAINS.get(which.name, (1, 1, 1, 1)), np.float32)[:, None, None]
        for i, ground in enumerate(one.numpy() * gains for one in grounds):
            for lobes in (3,) if arguments.smoke else (3, 5):
                rows.append(measure(f"{which.name} {i}", ground, lobes))
                print(rows[-1])
    keep("change", command_of(parser, arguments), {"floods": rows}, arguments.results)


if __name__ == "__main__":
    main()
