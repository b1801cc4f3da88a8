"""Sentinel-2's 20 m bands sharpened: on scenes that a run left out, and whether a product keeps what was measured.

    python benchmarks/ten_bands.py --data DATA

The figures on left-out scenes are those that ``geosr.release.stack_model`` measured, from the model's card. The
products are of one scene that no run has seen, and of one that was trained on: what they keep is not learned.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from machine import arguments_of, command_of, keep
from numpy.typing import NDArray
from rasterio.transform import from_origin
from skimage.registration import phase_cross_correlation
from torch.nn import functional as F

from catalog import SceneRequest
from geosr.model.card import ModelCard
from geosr.model.kernels import sensor_sigmas
from geosr.model.sensor import Sensor
from geosr.model.zoo import ModelRef, read_card
from geosr.run.pipeline import super_resolve
from geosr.run.request import UpscaleRequest

MODEL = "s2-ten-x4"

#: Each with the files of its fine and of its coarse bands, where there are two.
SCENES = {
    "catalonia_20200128, never seen": ("s2/catalonia_20200128.tif",),
    "germany, trained on": ("s2/germany_l1c_10m.tif", "s2/germany_l1c_20m.tif"),
}

#: Normalised differences: name, bands, whether both have 10 m pixels.
INDICES = (("NDVI", "B08", "B04", True), ("NDRE", "B8A", "B05", False), ("NBR", "B8A", "B12", False))

#: Side of a spot, 20 m pixels, and the share of all places that are taken for homogeneous ones.
_SPOT_PX, _SMOOTHEST = 5, 0.05

#: Left out on each side, 20 m pixels.
_BORDER_PX = 6


def main() -> None:
    """Make the products, measure, keep."""
    parser = arguments_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    arguments = parser.parse_args()
    card = read_card(MODEL)
    products: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, files) in enumerate(SCENES.items()):
            if arguments.smoke and number:
                continue
            source = Path(folder) / f"{number}.tif"
            write_scene([arguments.data / one for one in files], card, source, side=160 if arguments.smoke else None)
            output = Path(folder) / f"{number}_out.tif"
            super_resolve(UpscaleRequest(SceneRequest(str(source)), output, model=ModelRef(MODEL)))
            products[name] = measure(source, output, card)
    keep(
        "ten_bands",
        command_of(parser, arguments),
        {
            "model": MODEL,
            "bands": card.bands,
            "guides": card.stack.guides if card.stack else 0,
            "multiply_adds_per_lr_px": card.multiply_adds_per_lr_px,
            "measured_by": card.figures["command"],
            "left_out": card.figures["left_out"],
            "products": products,
        },
        arguments.results,
    )


def write_scene(files: list[Path], card: ModelCard, target: Path, side: int | None) -> None:
    """All bands on the fine ones' grid; a scene without a place on Earth is given one."""
    bands: dict[str, NDArray[Any]] = {}
    for path in files:
        with rasterio.open(path) as raster:
            crs, transform = raster.crs, raster.transform
            for name, pixels in zip(raster.descriptions, raster.read(), strict=True):
                finest = next(iter(bands.values()), pixels).shape[0]
                bands[name] = pixels.repeat(finest // len(pixels), axis=0).repeat(finest // len(pixels), axis=1)
    if crs is None:
        crs, transform = "EPSG:32632", from_origin(500000, 5400000, 10, 10)
    pixels = np.stack([bands[name] for name in card.bands or ()])[:, :side, :side]
    # Blocks are whole.
    pixels = pixels[:, : pixels.shape[1] // 2 * 2, : pixels.shape[2] // 2 * 2]
    count, height, width = pixels.shape
    shape = {"count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with rasterio.open(target, "w", driver="GTiff", crs=crs, transform=transform, nodata=0, **shape) as raster:
        raster.write(pixels)
        raster.descriptions = card.bands


def measure(source: Path, output: Path, card: ModelCard) -> dict[str, Any]:
    """Compare the product of a scene with it: grid, shift, consistency, spectra and indices."""
    assert card.stack is not None
    assert card.mtf_nyquist is not None
    with rasterio.open(source) as raster, rasterio.open(output) as made:
        low, high = (torch.from_numpy(one.read().astype(np.float32))[None] for one in (raster, made))
        corners = max(
            abs(a - b) for a, b in zip((~raster.transform) * (made.transform * (4.0, 4.0)), (1.0, 1.0), strict=True)
        )
        bounds = max(abs(a - b) for a, b in zip(raster.bounds, made.bounds, strict=True)) / abs(raster.transform.a)
    count, span = card.stack.guides, card.stack.span
    transfers = card.mtf_nyquist
    seen_fine = Sensor(sensor_sigmas(transfers[:count], 4), 4).observe(high[:, :count])
    seen_coarse = Sensor(sensor_sigmas(transfers[count:], 4 * span), 4 * span).observe(high[:, count:])
    own_coarse = F.avg_pool2d(low[:, count:], span)
    names = card.bands or ()
    seen = dict(zip(names, (*seen_fine[0].numpy(), *seen_coarse[0].numpy()), strict=True))
    own = dict(zip(names, (*low[0, :count].numpy(), *own_coarse[0].numpy()), strict=True))
    blocks = F.avg_pool2d(high, 4 * span)[0].numpy()
    means = torch.cat([F.avg_pool2d(low[:, :count], span), own_coarse], dim=1)[0].numpy()
    return {
        "grid_off_px": max(corners, bounds),
        "shift_px": {name: _shift(seen[name], own[name], name in names[:count], span) for name in names},
        "consistency_dn": {name: float(np.abs(_cut(seen[name] - own[name])).mean()) for name in names},
        "spots": _spots(blocks, means, names),
        "indices": {
            index: _index_error(seen, own, first, second, fine, span) for index, first, second, fine in INDICES
        },
    }


def _shift(seen: NDArray[Any], own: NDArray[Any], fine: bool, span: int) -> float:
    """Distance that the product, seen by the sensor, is off its source: pixels of the fine bands."""
    shift, _, _ = phase_cross_correlation(_cut(own), _cut(seen), upsample_factor=100)
    return float(np.hypot(*shift)) * (1 if fine else span)


def _spots(blocks: NDArray[Any], means: NDArray[Any], names: tuple[str, ...]) -> dict[str, Any]:
    """At the most homogeneous places: by how much spectra differ, and the deviation inside a spot; DN."""
    side = _SPOT_PX
    view = np.lib.stride_tricks.sliding_window_view(means, (side, side), axis=(1, 2))[:, _BORDER_PX:-_BORDER_PX]
    view = view[:, ::side, _BORDER_PX:-_BORDER_PX:side]
    made = np.lib.stride_tricks.sliding_window_view(blocks, (side, side), axis=(1, 2))[:, _BORDER_PX:-_BORDER_PX]
    made = made[:, ::side, _BORDER_PX:-_BORDER_PX:side]
    deviation = view.std(axis=(3, 4))
    relative = (deviation / view.mean(axis=(3, 4))).max(axis=0)
    smooth = relative <= np.quantile(relative, _SMOOTHEST)
    difference = (made.mean(axis=(3, 4)) - view.mean(axis=(3, 4)))[:, smooth]
    return {
        "count": int(smooth.sum()),
        "difference_dn": dict(zip(names, np.abs(difference).mean(axis=1).tolist(), strict=True)),
        "deviation_dn": dict(zip(names, deviation[:, smooth].mean(axis=1).tolist(), strict=True)),
    }


def _index_error(
    seen: dict[str, NDArray[Any]], own: dict[str, NDArray[Any]], first: str, second: str, fine: bool, span: int
) -> float:
    """Mean absolute difference of a normalised difference, of the product observed and of its source."""

    def index(bands: dict[str, NDArray[Any]]) -> NDArray[Any]:
        a, b = (bands[name].astype(np.float64) for name in (first, second))
        return (a - b) / np.maximum(a + b, 1)

    return float(np.abs(_cut(index(seen) - index(own), span if fine else 1)).mean())


def _cut(image: NDArray[Any], span: int = 1) -> NDArray[Any]:
    border = _BORDER_PX * span
    return image[border:-border, border:-border]


if __name__ == "__main__":
    main()
