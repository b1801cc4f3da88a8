"""Makes ``docs/benchmarks.md`` of the kept results.

python benchmarks/report.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from machine import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def page() -> str:
    """The page's text."""
    parts = [
        "# Benchmarks",
        "Made by `python benchmarks/report.py` from `benchmarks/results`. Each table names the command that measured it "
        "and the machine it ran on.",
        *(section(_read(name)) for name, section in _SECTIONS.items() if (RESULTS / f"{name}.json").exists()),
    ]
    return "\n\n".join(parts) + "\n"


#: Columns of the table of fidelity: title, figure, digits.
_FIGURES = (
    ("PSNR, dB", "psnr_db", ".2f"),
    ("over bicubic", "over_bicubic_db", "+.2f"),
    ("SSIM", "ssim", ".3f"),
    ("spectral angle, °", "spectral_angle_deg", ".2f"),
    ("ERGAS", "ergas", ".2f"),
    ("consistency", "consistency", ".4f"),
    ("improvement", "improvement", ".3f"),
    ("omission", "omission", ".3f"),
    ("hallucination", "hallucination", ".3f"),
    ("effective resolution, px", "effective_resolution_lr_px", ".2f"),
)


def _fidelity(result: dict[str, Any]) -> str:
    sigmas = ", ".join(f"{sigma:.2f}" for sigma in result["sigma_hr_px"].values())
    costs = ", ".join(f"`{name}` {cost / 1e6:.2f}" for name, cost in result["multiply_adds_per_lr_px"].items() if cost)
    lines = [
        "## Fidelity",
        f"`{result['command']}`: `geosr evaluate` of `{result['model']}` on imagery that no model was trained on, seen "
        f"through Sentinel-2's blur (sigma {sigmas} pixels, noise 0.001). [Evaluation](evaluation.md) says what the "
        "figures mean. A network for three bands is compared with the rows of the same bands. Million multiply-adds per "
        f"input pixel: {costs}. {_machine(result)}",
        f"| set | model | {' | '.join(title for title, _, _ in _FIGURES)} |\n|---|---|{'---|' * len(_FIGURES)}",
    ]
    rows = [
        f"| {name} | {model} | {' | '.join(_cell(one[key], form) for _, key, form in _FIGURES)} |"
        for name, models in result["sets"].items()
        for model, one in models.items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


#: Columns of the table of half-widths: title, figure, digits.
_COVERAGE = (
    ("coverage", "overall", ".3f"),
    ("brightest", "brightest", ".3f"),
    ("darkest", "darkest", ".3f"),
    ("edges", "edges", ".3f"),
    ("rank correlation", "rank_correlation", ".2f"),
)


def _uncertainty(result: dict[str, Any]) -> str:
    forward, command = result["seconds"]["pass"], result["seconds"]["command"]
    lines = [
        "## Half-widths",
        f"`{result['command']}`: what the 90 % half-widths of `{result['model']}` cover on imagery held out, and what "
        "those of an oracle would that is told the true errors of each pixel's neighbours: more than any half-width "
        "made from the source can know. [Evaluation](evaluation.md#half-widths) says what the columns mean; the width is "
        "relative to a constant one of equal coverage. The forward pass takes "
        f"{forward['ratio']:.3f} times as long with half-widths; the whole command, which also computes the support and "
        f"writes two more files, {command['ratio']:.2f} times on a scene of {command['side_px']} × {command['side_px']} "
        f"pixels. {_machine(result)}",
        f"| set | band | of | {' | '.join(title for title, _, _ in _COVERAGE)} | width |\n|---|---|---|{'---|' * 6}",
    ]
    rows = [
        f"| {name} | {band} | {who} | {' | '.join(_cell(one[key], form) for _, key, form in _COVERAGE)} "
        f"| {one['mean_half_width'] / one['constant_half_width']:.2f} |"
        for name, owners in result["coverage"].items()
        for who, bands in owners.items()
        for band, one in bands.items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def _ablation(result: dict[str, Any]) -> str:
    sets = [name for name in next(iter(result["rows"].values())) if name != "multiply_adds_per_lr_px"]
    lines = [
        "## Ablation",
        f"`{result['command']}`: gain over bicubic in PSNR, dB, after {result['steps']} steps from an untrained network, "
        f"with one thing changed each time. {_machine(result)}",
        f"| run | million multiply-adds | {' | '.join(f'`{name}`' for name in sets)} |\n|---|---|{'---|' * len(sets)}",
    ]
    rows = [
        f"| {name} | {row['multiply_adds_per_lr_px'] / 1e6:.2f} | {' | '.join(f'{row[one]:+.2f}' for one in sets)} |"
        for name, row in result["rows"].items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def _memory(result: dict[str, Any]) -> str:
    lines = [
        "## Memory",
        f"`{result['command']}`: peak resident memory of `geosr upscale` with `{result['model']}` on two scenes, one of "
        f"twice the other's area. The ratio is {result['ratio']:.3f}. {_machine(result)}",
        "| scene, pixels | output, MB | seconds | peak memory, MiB |\n|---|---|---|---|",
    ]
    rows = [
        f"| {run['side_px']} × {run['side_px']} × 4 | {run['output_mb']} | {run['seconds']:.0f} | {run['peak_mib']} |"
        for run in result["runs"]
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def _machine(result: dict[str, Any]) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"Machine: {machine['processor']}, {machine['cores']} cores, "
        f"AVX-512 {'yes' if machine['avx512'] else 'no'}, AMX {'yes' if machine['amx'] else 'no'}; {versions}."
    )


_SECTIONS = {"fidelity": _fidelity, "uncertainty": _uncertainty, "ablation": _ablation, "memory": _memory}


def _read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
