"""The quality report of a set: ``report.json`` with figures, ``report.html`` with plots, maps and sample patches."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

import tiling
from catalog.strict_json import to_json
from geosr.before_after import CLIPPED, stretch
from geosr.pairs import plots
from geosr.pairs.block_work import Unit
from geosr.pairs.figures import Found, figures_of

_COLOURS = ("B04", "B03", "B02")

#: Squares along each side of the pattern in which LR and HR alternate.
_SQUARES = 8


def write_report(output: Path, found: Found, kept: Sequence[Unit]) -> None:
    """Write both files; ``kept`` are the units whose patches are in the set."""
    figures = figures_of(found)
    page = _page(found, figures, kept)
    tiling.write(output / "report.html", [page.encode()])
    tiling.write(output / "report.json", [(to_json(figures, indent=1) + "\n").encode()])


def _page(found: Found, figures: dict[str, Any], kept: Sequence[Unit]) -> str:
    style = files("geosr").joinpath("data", "report.css").read_text(encoding="utf-8")
    title = f"Pair set {found.config.name}"
    body = "\n".join(_body(found, figures, kept))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _body(found: Found, figures: dict[str, Any], kept: Sequence[Unit]) -> Iterator[str]:
    patches = figures["patches"]
    yield (
        f"<p>{patches['kept']} of {patches['looked_at']} blocks of {found.config.patch_lr_px} LR pixels are kept, with "
        f"HR {found.config.scale} times finer. Shifts are in LR pixels; correlations are of LR with the HR as the LR "
        "sensor sees it.</p>"
    )
    for key, heading in (("kept", "Patches that are kept"), ("all_aligned", "All blocks that show their shift")):
        if figures[key] is not None:
            yield f"<h2>{heading}</h2>"
            yield _table(found.config.bands, figures[key], heading)
    counts = {"kept": patches["kept"], **patches["rejected"]}
    yield "<h2>Shifts and correlations</h2>"
    yield '<div class="plots">'
    yield _image(plots.shift_clouds(found), "Shifts of all blocks before and after")
    yield _image(plots.correlations(found), "Correlations by band before and after")
    yield _image(plots.reasons(counts), ", ".join(f"{name}: {count}" for name, count in counts.items()))
    yield "</div>"
    yield "<h2>Pairs of scenes</h2>"
    for number, match in enumerate(found.matches):
        own = figures["matches"][number]
        yield f"<h3>{escape(own['lr'])} and {escape(own['hr'])}</h3><p>{escape(_of_match(own, match.days))}</p>"
        yield _image(plots.shift_maps(found, number), "Maps of the shifts: before, smooth model, after")
    if kept:
        yield "<h2>Patches</h2>"
        yield (
            "<p>LR, HR in its radiometry, and both in turn: lines that break at the squares' edges show a shift that "
            "is left. All three share one stretch of each band.</p>"
        )
        for what, unit in _samples(kept, found):
            yield f"<h3>{escape(what)}: {unit.block.key}</h3>"
            yield _image(plots.patch_panels(_panels(unit)), f"Patch {unit.block.key}")


def _of_match(own: dict[str, Any], days: float | None) -> str:
    apart = "Days between them are not known" if days is None else f"{days:.1f} days apart"
    surface = own["surface"]
    if surface is None:
        return f"{apart}. No block shows its shift well enough: nothing is kept."
    return (
        f"{apart}. {own['kept']} of {own['blocks']} blocks are kept. The shift is a polynomial of order "
        f"{surface['order']} through {surface['patches']} blocks, from which they depart by "
        f"{surface['spread_px']:.3f} LR pixels (root mean square); outvoted: {surface['outliers']}."
    )


def _table(bands: Sequence[str], figures: dict[str, Any], name: str) -> str:
    rows = [
        ("shift, median", *(f"{figures[key]['median']:.3f}" for key in ("shift_before_px", "shift_after_px"))),
        ("shift, 95th percentile", *(f"{figures[key]['p95']:.3f}" for key in ("shift_before_px", "shift_after_px"))),
    ]
    for band in bands:
        for what, title in (("median", "median"), ("p5", "5th percentile")):
            values = (figures[key][band][what] for key in ("correlation_before", "correlation_after"))
            rows.append((f"correlation {band}, {title}", *(f"{value:.3f}" for value in values)))
    body = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("", "before", "after"))
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(name)}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _samples(kept: Sequence[Unit], found: Found) -> Iterator[tuple[str, Unit]]:
    """Kept patches with the highest, the median and the lowest correlation."""
    after = {block.key: one for block, one in zip(found.blocks, found.after, strict=True)}
    order = sorted(kept, key=lambda unit: (-float(np.mean(after[unit.block.key]["correlations"])), unit.block.key))
    places = {"highest correlation": 0, "median correlation": len(order) // 2, "lowest correlation": len(order) - 1}
    for what, place in places.items():
        yield what, order[place]


def _panels(unit: Unit) -> list[tuple[str, NDArray[np.uint8]]]:
    patch = load_file(unit.tensors)
    config = unit.config
    visible = [config.bands.index(band) for band in _COLOURS] if set(_COLOURS) <= set(config.bands) else [0, 0, 0]
    low = patch["lr"][visible].astype(np.float64).repeat(config.scale, 1).repeat(config.scale, 2)
    high = patch["hr"][visible].astype(np.float64)
    rows, cols = (np.arange(length) * _SQUARES // length for length in low.shape[1:])
    mixed = np.where((rows[:, None] + cols[None, :]) % 2 == 0, low, high)
    dark, bright = np.percentile(low, CLIPPED, axis=(1, 2), keepdims=True)
    span = np.maximum(bright - dark, 1.0)
    titles = ("LR", f"HR, {config.scale} times finer", "in turn")
    return [
        (title, stretch((image - dark) / span, np.array([0.0, 1.0])))
        for title, image in zip(titles, (low, high, mixed), strict=True)
    ]


def _image(png: bytes, alt: str) -> str:
    return (
        f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(alt)}" style="max-width:100%">'
    )
