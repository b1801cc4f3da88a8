"""Built-up ground by district, in a real scene with a quarter that is moved into it: table and picture of the guide.

    python benchmarks/districts.py --data DATA [--to docs/images]

The scene is Sentinel-2 L1C of towns and orchards in Spain. In the later date a part of one of its towns stands where
orchards were, and a bare field lies where another was green: both have a higher NDBI. The later date is brighter by 2 %
and has noise of its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from catalog import SceneRequest, pixel_sides_m
from geosr.change.detect import detect_change
from geosr.change.districts import DistrictsFile
from geosr.change.request import ChangeRequest

mpl.use("Agg")
from matplotlib import pyplot as plt

SCENE = "s2/spain_l1c_13band.tif"
BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")

#: Part of the scene, and in it the places of the town and the bare field that are taken, and where they go: first row
#: and column, rows and columns.
PART = Window(300, 340, 160, 160)
TAKEN = {"quarter": ((120, 62), (34, 40)), "ploughed": ((80, 86), (10, 12))}
MOVED = {"quarter": (34, 56), "ploughed": (58, 124)}

#: Districts: first and last row and column.
DISTRICTS = {"north": (20, 85, 40, 110), "east": (48, 80, 112, 146), "town": (100, 158, 50, 135)}
NOISE_DN = 10


def main() -> None:
    """Print the table and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--to", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        before, after, hectares = dates_of(arguments.data / SCENE, folder)
        write_districts(folder)
        detect_change(
            ChangeRequest(
                *(SceneRequest(str(folder / f"{date}.tif")) for date in ("before", "after")),
                folder / "built.tif",
                "ndbi",
                districts=DistrictsFile(folder / "districts.geojson", "name"),
            )
        )
        print({name: round(one, 2) for name, one in hectares.items()})
        print((folder / "built_districts.csv").read_text())
        with rasterio.open(folder / "built.tif") as raster:
            classes = raster.read(1)
    draw(arguments.to / "districts.png", before, after, classes)


def dates_of(scene: Path, folder: Path) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Write both dates; return their pixels and the hectares of what is moved."""
    with rasterio.open(scene) as raster:
        indexes = [raster.descriptions.index(band) + 1 for band in BANDS]
        before = raster.read(indexes, window=PART).astype(np.float64)
        transform = raster.window_transform(PART)
        form = {**raster.profile, "count": len(BANDS), "width": PART.width, "height": PART.height, "dtype": "uint16"}
        sides = pixel_sides_m(GeoBox(before.shape[1:], transform, raster.crs))
    after, hectares = before.copy(), {}
    for name, ((row, col), (rows, cols)) in TAKEN.items():
        to_row, to_col = MOVED[name]
        taken = before[:, row : row + rows, col : col + cols]
        after[:, to_row : to_row + rows, to_col : to_col + cols] = taken
        hectares[name] = rows * cols * sides[0] * sides[1] / 10_000
    after = 1.02 * after + np.random.default_rng(0).normal(0, NOISE_DN, after.shape)
    for name, pixels in (("before", before), ("after", after)):
        with rasterio.open(folder / f"{name}.tif", "w", **{**form, "transform": transform, "nodata": 0}) as raster:
            raster.write(np.rint(pixels).clip(1).astype(np.uint16))
            raster.descriptions, raster.scales = BANDS, (1e-4,) * len(BANDS)
    return before, after, hectares


def write_districts(folder: Path) -> None:
    """Write the districts as GeoJSON."""
    with rasterio.open(folder / "before.tif") as raster:
        features = []
        for name, (top, bottom, left, right) in DISTRICTS.items():
            ring = [
                raster.transform * corner for corner in ((left, top), (right, top), (right, bottom), (left, bottom))
            ]
            geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
            features.append({"type": "Feature", "properties": {"name": name}, "geometry": geometry})
    content = {"type": "FeatureCollection", "features": features}
    (folder / "districts.geojson").write_text(json.dumps(content))


def draw(path: Path, before: np.ndarray, after: np.ndarray, classes: np.ndarray) -> None:
    """Draw both dates and the classes, with the districts."""
    figure, panels = plt.subplots(1, 3, figsize=(12, 4.2))
    visible = [BANDS.index(band) for band in ("B04", "B03", "B02")]
    low, high = np.percentile(before[visible], (1, 99))
    shown = [((date[visible] - low) / (high - low)).clip(0, 1).transpose(1, 2, 0) for date in (before, after)]
    grey = np.repeat(shown[0].mean(axis=2).repeat(4, 0).repeat(4, 1)[..., None], 3, axis=2) * 0.5 + 0.45
    grey[classes == 2] = (0.1, 0.3, 0.8)
    grey[classes == 1] = (0.77, 0.24, 0.16)
    for panel, image, title in zip(panels, (*shown, grey), ("before", "after", "more built-up or bare"), strict=True):
        panel.imshow(image, extent=(0, PART.width, PART.height, 0), interpolation="nearest")
        panel.set_title(title, fontsize=10)
        panel.axis("off")
        for name, (top, bottom, left, right) in DISTRICTS.items():
            panel.add_patch(plt.Rectangle((left, top), right - left, bottom - top, fill=False, color="yellow", lw=1))
            panel.text(left + 1, top + 5, name, color="yellow", fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
