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


def _fidelity(result: dict[str, Any]) -> str:
    lines = [
        "## Fidelity",
        f"`{result['command']}` on imagery that no model was trained on, seen through Sentinel-2's blur (sigma 2.09, "
        "2.03, 2.15, 2.09 pixels, noise 0.001). PSNR is the mean over the images of a set; consistency is the mean "
        "absolute difference between input and result seen through the blur, reflectance; the effective resolution is "
        "half the period at which Fourier ring correlation with the truth falls to 0.5, in pixels of the input. "
        f"`{result['model']}` costs {result['multiply_adds_per_lr_px'] / 1e6:.2f} million multiply-adds per input pixel. "
        + _machine(result),
        "| set | model | PSNR, dB | over bicubic | spectral angle, ° | consistency | effective resolution, px |\n"
        "|---|---|---|---|---|---|---|",
    ]
    rows = [
        f"| {name} | {model} | {one['psnr_db']:.2f} | {one['psnr_db'] - models['bicubic']['psnr_db']:+.2f} "
        f"| {one['spectral_angle_deg']:.2f} | {one['consistency']:.4f} | {one['effective_resolution_lr_px']:.2f} |"
        for name, models in result["sets"].items()
        for model, one in models.items()
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


_SECTIONS = {"fidelity": _fidelity, "memory": _memory}


def _read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
