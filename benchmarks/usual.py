"""Against the usual way: the published Real-ESRGAN ×4 weights in PyTorch, tile by tile, into an array in memory.

    python benchmarks/usual.py --weights realesrgan_x4plus_rgb_fp16.safetensors

The usual way is written here as its users run it: float32, tiles of 256 pixels with a pad of 10, the image read before
and never written. Beside it stand the same weights and the default model through ``geosr.run.pipeline``: the raster read,
the COG written. All three take turns.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import torch
from machine import arguments_of, command_of, keep
from numpy.typing import NDArray
from safetensors.torch import save_file
from scenes import write_scene

from catalog import SceneRequest
from geosr import hardware
from geosr.engine import choose_engine
from geosr.model.build import build
from geosr.model.card import NetworkSize, read_card_file
from geosr.model.rrdb import RRDBNet
from geosr.model.zoo import DEFAULT_MODEL, ModelRef
from geosr.run.pipeline import super_resolve
from geosr.run.request import UpscaleRequest

TILE_PX = 256
PAD_PX = 10
SCALE = 4
#: Reflectance in DN that is white in a picture.
WHITE_DN = 10_000


def usual(network: torch.nn.Module, image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture ``(3, rows, cols)`` from 0 to 1, upscaled tile by tile."""
    rows, cols = image.shape[1:]
    out = np.empty((3, rows * SCALE, cols * SCALE), np.uint8)
    with torch.inference_mode():
        for top in range(0, rows, TILE_PX):
            for left in range(0, cols, TILE_PX):
                bottom, right = min(top + TILE_PX, rows), min(left + TILE_PX, cols)
                above, before = max(top - PAD_PX, 0), max(left - PAD_PX, 0)
                padded = image[:, above : bottom + PAD_PX, before : right + PAD_PX]
                made = network(torch.from_numpy(np.ascontiguousarray(padded))[None])[0].numpy()
                y, x = (top - above) * SCALE, (left - before) * SCALE
                inside = made[:, y : y + (bottom - top) * SCALE, x : x + (right - left) * SCALE]
                out[:, top * SCALE : bottom * SCALE, left * SCALE : right * SCALE] = np.rint(inside.clip(0, 1) * 255)
    return out


def write_card(weights: Path, folder: Path, size: NetworkSize) -> Path:
    """A card for the weights, with the pad as its halo."""
    (folder / "weights.safetensors").symlink_to(weights.resolve())
    card = folder / "card.json"
    content = {
        "name": weights.stem,
        "description": "Published weights, for comparison.",
        "bands": ["B04", "B03", "B02"],
        "halo_px": PAD_PX,
        "base": "none",
        "steps": 0,
        "network": size.model_dump(),
        "weights": "weights.safetensors",
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    card.write_text(json.dumps(content), encoding="utf-8")
    return card


def seconds_of(work: Callable[[], object]) -> float:
    """Do some work; returns its seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure the three ways in turn."""
    parser = arguments_of(__doc__)
    parser.add_argument("--weights", type=Path, help="the published weights, as safetensors")
    parser.add_argument("--side", type=int, default=512, help="of the scene, pixels")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    side, repeats = (64, 1) if arguments.smoke else (arguments.side, arguments.repeats)
    if not arguments.smoke and arguments.weights is None:
        parser.error("--weights is needed, the file of the published weights")
    torch.set_num_threads(hardware.cores())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size, weights = NetworkSize(features=64, growth=32, blocks=23, tail="interpolate"), arguments.weights
        if arguments.smoke:
            # A small network of the same form stands in for the published one.
            size, weights = (
                NetworkSize(features=8, growth=4, blocks=1, tail="interpolate"),
                folder / "small.safetensors",
            )
            torch.manual_seed(0)
            small = RRDBNet(3, 3, **size.model_dump())
            # Grey with a little of the network: images far from their source are refused.
            torch.nn.init.normal_(small.conv_last.weight, std=0.3)
            torch.nn.init.constant_(small.conv_last.bias, 0.2)
            save_file(small.state_dict(), weights)
        card = write_card(weights, folder, size)
        write_scene(folder / "scene.tif", side)
        with rasterio.open(folder / "scene.tif") as raster:
            image = raster.read([3, 2, 1]).astype(np.float32) / WHITE_DN
        network = build(read_card_file(card), [None] * 3).network
        assert network is not None
        network.float()

        def ours(model: str) -> object:
            # A finished run would not be repeated.
            (folder / "out.tif").unlink(missing_ok=True)
            return super_resolve(
                UpscaleRequest(
                    SceneRequest(str(folder / "scene.tif")), folder / "out.tif", ModelRef(model), overwrite=True
                )
            )

        ways: dict[str, Callable[[], object]] = {
            "usual": lambda: usual(network, image),
            "same_weights": lambda: ours(str(card)),
            "default_model": lambda: ours(DEFAULT_MODEL),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(repeats):
            for way, work in ways.items():
                taken[way].append(seconds_of(work))
    seconds = {way: round(statistics.median(times), 2) for way, times in taken.items()}
    content = {
        "model": DEFAULT_MODEL,
        "engine": str(choose_engine()),
        "side_px": side,
        "repeats": repeats,
        "seconds": seconds,
        "times_as_fast": {
            way: round(statistics.median(u / o for u, o in zip(taken["usual"], taken[way], strict=True)), 2)
            for way in ways
        },
    }
    keep("usual", command_of(parser, arguments), content, arguments.results)


if __name__ == "__main__":
    main()
