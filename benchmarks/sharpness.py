"""Effect of sharpness on held-out imagery: detail gained, and fidelity lost.

python benchmarks/sharpness.py --data DATA [--figure FILE.png] [--keep-in-card]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from machine import arguments_of, command_of, keep

import geosr
from geosr.before_after import sheet_of, stretch
from geosr.evaluate.contenders import Opened, contender, sensor_of, transfers_of
from geosr.evaluate.held_out import ImageSet, read_images
from geosr.evaluate.sharpness import SHARES, compare_sharpness
from geosr.model.zoo import DEFAULT_MODEL, read_card
from geosr.release.visual_model import keep_figures

#: The scene in the picture.
SAMPLE, SAMPLE_FOLDER = ImageSet("sample", "sample.tif", 10_000), Path(geosr.__file__).parent / "data"

#: In the picture: corner and side of the part of the Sentinel-2 scene, pixels, and the screen's per pixel of the result.
CORNER, SIDE, ZOOM = (100, 180), 60, 2

CAPTION = f"{10 * SIDE} m across; contains modified Copernicus Sentinel data"

#: Sharpnesses in the picture, beside the source.
SHOWN = (0.0, 0.5, 1.0)


def draw(path: Path, scene_set: ImageSet = SAMPLE, data: Path = SAMPLE_FOLDER) -> None:
    """A part of a Sentinel-2 scene in natural colours: the source, and what is made of it by sharpness."""
    card = read_card(DEFAULT_MODEL)
    bands = card.bands or ()
    scene = read_images(scene_set, data, bands)[0]
    sensor = sensor_of(bands, transfers_of(bands, card))
    colours = [bands.index(band) for band in ("B04", "B03", "B02")]
    (row, col), end = CORNER, SIDE
    # More of the scene than is shown, so that nothing is mirrored there.
    around = scene[:, row - 32 : row + end + 32, col - 32 : col + end + 32]
    shown = {"source, 10 m": around[:, 32:-32, 32:-32].repeat_interleave(4, 1).repeat_interleave(4, 2)}
    for share in SHOWN:
        image = contender(Opened(card.sharpened(share)), bands, sensor).run(around).image
        shown[f"sharpness {share:g}"] = image[:, 128:-128, 128:-128]
    enlarged = {
        title: one[colours].repeat_interleave(ZOOM, 1).repeat_interleave(ZOOM, 2).numpy()
        for title, one in shown.items()
    }
    limits = np.percentile(next(iter(enlarged.values())), (1.0, 99.5))
    sheet_of([(title, stretch(one, limits)) for title, one in enlarged.items()], CAPTION).save(path)


def main() -> None:
    """Measure, and draw if asked to."""
    parser = arguments_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--figure", type=Path, help="write an image of the bundled sample there")
    parser.add_argument("--images", type=int, help="no more than the first so many of each set")
    parser.add_argument("--keep-in-card", action="store_true", help="put the figures into the model's card as well")
    arguments = parser.parse_args()
    kept_in_card, arguments.keep_in_card = arguments.keep_in_card, False
    if arguments.figure is not None:
        draw(arguments.figure)
        arguments.figure = None
    shares, count = ((0.0, 0.5), 1) if arguments.smoke else (SHARES, arguments.images)
    sets = compare_sharpness(read_card(DEFAULT_MODEL), arguments.data, shares, count)
    command = command_of(parser, arguments)
    keep("sharpness", command, {"model": DEFAULT_MODEL, "sets": sets}, arguments.results)
    if kept_in_card:
        keep_figures(read_card(DEFAULT_MODEL).folder / f"{DEFAULT_MODEL}.json", command, sets)


if __name__ == "__main__":
    main()
