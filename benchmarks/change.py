"""Floods of known area between two simulated dates: hectares at 2.5 m and at 10 m, and differences outside of them.

    python benchmarks/change.py --data DATA

The ground is imagery that no model was trained on, taken as 2.5 m: the town qb_c, and the fields and forest of
austria_b, whose own pixels are four times larger. The later date is shifted by 0.3 and 0.2 source pixels, brighter by 2 %, and has noise of its own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import rasterio
import torch
from machine import arguments_of, command_of, keep
from rasterio.transform import from_origin
from scipy import ndimage

from catalog import SceneRequest
from geosr.change.detect import ChangeRequest, detect_change
from geosr.evaluate.held_out import SETS, read_images
from geosr.model.kernels import mtf_to_sigma
from geosr.model.sensor import Sensor

BANDS = ("B02", "B03", "B04", "B08")
MTF = (0.26, 0.28, 0.24, 0.26)
NOISE = 0.001
SHIFT_PX = (1.2, -0.8)
PIXEL_HA = 2.5**2 / 10_000

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
    later = np.stack([ndimage.shift(band, SHIFT_PX, order=3, mode="nearest") for band in 1.02 * later + 0.002])
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        write_date(folder / "before.tif", ground, 1)
        write_date(folder / "after.tif", later, 2)
        scenes = (SceneRequest(str(folder / f"{date}.tif")) for date in ("before", "after"))
        found = detect_change(ChangeRequest(*scenes, folder / "change.tif"))
    return {
        "ground": name,
        "hectares": round(float(flood.sum()) * PIXEL_HA, 3),
        "fine": {**found.as_json()["fine"]},
        "source": {**found.as_json()["source"]},
        "shift_px": [round(found.registration.rows_px, 3), round(found.registration.cols_px, 3)],
    }


def main() -> None:
    """Measure every flood."""
    parser = arguments_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the held-out imagery")
    arguments = parser.parse_args()
    rows = []
    for which in (SETS[2], SETS[3]):
        grounds = read_images(which, arguments.data, BANDS)[: 1 if arguments.smoke else 2]
        for i, ground in enumerate(one.numpy() for one in grounds):
            for lobes in (3,) if arguments.smoke else (3, 5):
                rows.append(measure(f"{which.name} {i}", ground, lobes))
                print(rows[-1])
    keep("change", command_of(parser, arguments), {"floods": rows}, arguments.results)


if __name__ == "__main__":
    main()
