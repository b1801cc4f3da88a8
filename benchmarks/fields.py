"""Errors of fields' means at 2.5 m and at 10 m by size of field, and the coverage of their half-widths.

    python benchmarks/fields.py --data DATA

The imagery is held out from every model and from the calibration of half-widths. It is taken as 2.5 m, blurred and
sampled like Sentinel-2, and upscaled. Its fields are segments of the truth at three scales, of at least 160 pixels (0.1 ha).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from machine import arguments_of, command_of, keep

from geosr.evaluate.contenders import Opened, contender, open_model, sensor_of, transfers_of
from geosr.evaluate.held_out import SETS, observe, read_images
from geosr.evaluate.simulated_fields import bands_of_image, repeated, segments_of
from geosr.fields.half_width import errors_of_model
from geosr.fields.measures import measure_of
from geosr.model.zoo import DEFAULT_MODEL, read_card

MEASURES = ("ndvi", "ndwi", "B04", "B08")
ERRORS = ("product", "source", "bicubic", "backprojection")
SCALE = 4
PIXEL_HA = 2.5**2 / 10_000


def measure_set(which: Any, data: Path, most: int | None) -> list[dict[str, Any]]:
    """Rows of all fields of a set: size, errors of the means, and half-widths."""
    opened = open_model(DEFAULT_MODEL)
    bands = opened.card.bands or ()
    sensor = sensor_of(bands, transfers_of(bands, opened.card))
    errors = errors_of_model(str(opened.card.weights_sha256))
    assert errors is not None
    subject = contender(opened, bands, sensor)
    others = {name: contender(Opened(read_card(name)), bands, sensor) for name in ("bicubic", "backprojection")}
    rows = []
    images = read_images(which, data, bands)[:most]
    for truth, lr in zip(images, observe(images, sensor), strict=True):
        result = subject.run(lr)
        assert result.half_width is not None
        made = {
            "product": result.image.numpy(),
            "source": repeated(lr.numpy(), SCALE),
            **{name: one.run(lr).image.numpy() for name, one in others.items()},
        }
        widths = bands_of_image(result.half_width.numpy(), bands)
        segments = list(segments_of(truth.numpy()))
        for name in MEASURES:
            measure = measure_of(name)
            true = measure.of(bands_of_image(truth.numpy(), bands))
            values = {key: measure.of(bands_of_image(image, bands)) - true for key, image in made.items()}
            of_pixels = measure.half_width(bands_of_image(made["product"], bands), widths)
            for one in segments:
                own = of_pixels[one.window]
                rows.append(
                    {
                        "measure": name,
                        "pixels": one.pixels,
                        **{key: one.mean(error) for key, error in values.items()},
                        "half_width": errors.half_width_of_mean(measure, own, one.mask.astype(float)),
                        "independent": float(np.sqrt((own[one.mask] ** 2).sum()) / one.pixels),
                        "dependent": float(own[one.mask].mean()),
                    }
                )
    return rows


def summary(rows: list[dict[str, Any]], edges: np.ndarray) -> list[dict[str, Any]]:
    """Errors and coverage in each third of the sizes."""
    found = []
    for third, (low, high) in enumerate(pairwise(edges)):
        own = [one for one in rows if low <= one["pixels"] and (one["pixels"] < high or third == len(edges) - 2)]
        if not own:
            continue
        column = {key: np.array([one[key] for one in own]) for key in own[0] if key != "measure"}
        away = np.abs(column["product"])
        found.append(
            {
                "fields": len(own),
                "hectares": [round(float(v) * PIXEL_HA, 3) for v in (low, np.median(column["pixels"]), high)],
                "rms": {key: round(float(np.sqrt((column[key] ** 2).mean())), 5) for key in ERRORS},
                "nearer_than_source": round(float((away < np.abs(column["source"])).mean()), 4),
                "mean_half_width": round(float(column["half_width"].mean()), 5),
                "coverage": {
                    key: round(float((away <= column[key]).mean()), 4)
                    for key in ("half_width", "independent", "dependent")
                },
            }
        )
    return found


def alike(sets: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Summary of several sets, each of which counts as much as any other."""
    found = []
    for thirds in zip(*sets, strict=True):
        one = {"fields": sum(third["fields"] for third in thirds), "hectares": thirds[0]["hectares"]}
        squares = {key: np.mean([third["rms"][key] ** 2 for third in thirds]) for key in ERRORS}
        one["rms"] = {key: round(float(np.sqrt(square)), 5) for key, square in squares.items()}
        for key, digits in (("nearer_than_source", 4), ("mean_half_width", 5)):
            one[key] = round(float(np.mean([third[key] for third in thirds])), digits)
        one["coverage"] = {
            key: round(float(np.mean([third["coverage"][key] for third in thirds])), 4) for key in thirds[0]["coverage"]
        }
        found.append(one)
    return found


def main() -> None:
    """Measure every set."""
    parser = arguments_of(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the held-out imagery")
    arguments = parser.parse_args()
    by_set = {}
    for which in SETS[2:3] if arguments.smoke else SETS:
        by_set[which.name] = measure_set(which, arguments.data, 1 if arguments.smoke else None)
        print(which.name, len(by_set[which.name]), flush=True)
    content: dict[str, Any] = {"model": DEFAULT_MODEL, "measures": {}}
    for name in MEASURES:
        own = {key: [one for one in rows if one["measure"] == name] for key, rows in by_set.items()}
        together = [one for rows in own.values() for one in rows]
        edges = np.quantile([one["pixels"] for one in together], (0, 1 / 3, 2 / 3, 1))
        of_sets = {key: summary(rows, edges) for key, rows in own.items()}
        content["measures"][name] = {
            "all sets alike": alike(list(of_sets.values())),
            "all fields pooled": summary(together, edges),
            **of_sets,
        }
    keep("fields", command_of(parser, arguments), content, arguments.results)


if __name__ == "__main__":
    main()
