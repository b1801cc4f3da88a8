"""Makes ``docs/benchmarks.md`` of the kept results.

python benchmarks/report.py
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from machine import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def page(results: Path) -> str:
    """The page's text."""
    parts = [
        "# Benchmarks",
        "Made by `python benchmarks/report.py` from `benchmarks/results`. Each table names the command that measured it "
        "and the machine it ran on.",
        *(section(_read(path)) for name, section in _SECTIONS.items() if (path := results / f"{name}.json").exists()),
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


def _adaptation(result: dict[str, Any]) -> str:
    far = list(result["halo_difference_dn"].items())[-1]
    lines = [
        "## Adaptation",
        f"`{result['command']}`: a network published for pictures (`{result['checkpoint']}`, "
        f"{result['multiply_adds_per_lr_px'] / 1e6:.1f} million multiply-adds per input pixel) adapted to Sentinel-2's bands by "
        f"`geosr models adapt`, as it is and after {result['steps']} steps, beside networks of the same size after as many "
        "steps from untrained weights: one that makes the whole image, as the adapted one does, and one that adds to "
        f"bicubic interpolation. Steps of {result['batch']} patches of {result['patch_lr_px']} × {result['patch_lr_px']} "
        f"input pixels, learning rate {result['learning_rate']:g} for all: a beginning, not a training. All but bicubic end "
        "in the same steps of back-projection; the "
        f"second row is what those alone are worth. Set: {result['set']}, images: {result['images']}. With a margin of "
        f"{far[0]} pixels, chunks of the adapted network still "
        f"differ from the scene in one piece by up to {far[1]:.1f} DN on the bundled sample. {_machine(result)}",
        f"| model | {' | '.join(title for title, _, _ in _FIGURES)} |\n|---|{'---|' * len(_FIGURES)}",
    ]
    rows = [
        f"| {model} | {' | '.join(_cell(one[key], form) for _, key, form in _FIGURES)} |"
        for model, one in result["rows"].items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def _end_to_end(result: dict[str, Any]) -> str:
    stages = list(result["runs"][0]["stages_s"])
    lines = [
        "## End to end",
        f"`{result['command']}`: `geosr upscale` with `{result['model']}`, {result['engine']}, over the bundled sample "
        f"repeated to scenes of growing size, in chunks of {result['core_px']} pixels. The bare network is the same "
        "engine on the scene's pixels: nothing read or written, no margin computed twice. Memory is the highest sum over "
        "all processes, disk the most that chunks and output took together, as a multiple of the output's size. "
        + (f"Time grows with the number of pixels to the power of {result['growth']}. " if result["growth"] else "")
        + _machine(result),
        "| scene, pixels | seconds | bare network, s | ratio | pixels computed, per pixel | peak memory, MiB | output, MB "
        f"| disk, × output | assembly, MB/s |\n|{'---|' * 9}",
    ]
    rows = [
        f"| {run['side_px']} × {run['side_px']} × 4 | {run['seconds']:.0f} | {run['bare_s']:.0f} | {run['ratio']:.2f} "
        f"| {run['computed_px_per_px']:.2f} | {run['peak_mib']} | {run['output_mb']} | {run['peak_disk_of_output']:.2f} "
        f"| {run['assembly_mb_per_s']} |"
        for run in result["runs"]
    ]
    shares = [
        f"| {run['side_px']} × {run['side_px']} × 4 | "
        + " | ".join(f"{100 * run['stages_s'][stage] / run['seconds']:.1f}" for stage in stages)
        + " |"
        for run in result["runs"]
    ]
    return (
        "\n\n".join(lines)
        + "\n"
        + "\n".join(rows)
        + "\n\nOf the time, percent; stages that go on at the same time overlap:\n\n"
        + f"| scene, pixels | {' | '.join(stages)} |\n|{'---|' * (len(stages) + 1)}\n"
        + "\n".join(shares)
    )


def _engines(result: dict[str, Any]) -> str:
    lines = [
        "## Engines",
        f"`{result['command']}`: one chunk of `{result['model']}` at a time on all cores, in a process of its own. Speed "
        "counts the chunk's own pixels; multiply-adds also those of its margin. Memory is the process's peak, beside what "
        f"the size of chunks is chosen by. {_machine(result)}",
        f"| engine | precision | chunk, pixels | Mpx/s | GMAC/s | peak memory, MiB | reckoned, MiB |\n|{'---|' * 7}",
    ]
    rows = [
        f"| {row['engine']} | {row['precision']} | {row['core_px']} | {row['mpx_per_s']:.4f} | {row['gmac_per_s']:.0f} "
        f"| {row['peak_mib']} | {row['reckoned_mib']} |"
        for row in result["rows"]
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def _precision(result: dict[str, Any]) -> str:
    lines = [
        "## Precision",
        f"`{result['command']}`: what bfloat16 does to the pixels of `{result['model']}` on imagery held out, seen through "
        f"Sentinel-2's blur: differences from float32 in DN, and the change in PSNR. {_machine(result)}",
        "| set | images | root mean square, DN | 99.9th percentile, DN | PSNR, dB |\n|---|---|---|---|---|",
    ]
    rows = [
        f"| {name} | {one['images']} | {one['dn_rms']:.1f} | {one['dn_999']:.1f} | {one['psnr_db']:+.4f} |"
        for name, one in result["sets"].items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def _sharpness(result: dict[str, Any]) -> str:
    lines = [
        "## Sharpness",
        f"`{result['command']}`: what `--sharpness` does to `{result['model']}` on imagery held out, seen through "
        "Sentinel-2's blur. Detail is the share of the image's power at frequencies that its source cannot hold, a measure "
        "of sharpness that needs no truth; the truth's own is beside it. Consistency is the mean difference between the "
        "source and the result seen through the sensor. Improvement, omission and hallucination are the shares of detail "
        f"that is right, missing and false. {_machine(result)}",
        "| set | images | sharpness | detail, % | that of the truth, % | PSNR, dB | consistency, DN | to that of 0 | improvement "
        f"| omission | hallucination |\n|{'---|' * 11}",
    ]
    rows = [
        f"| {name} | {found['images']} | {share} | {100 * one['detail_share']:.2f} | {100 * found['truth_detail_share']:.2f} "
        f"| {one['psnr_db']:.2f} | {one['consistency_dn']:.2f} "
        f"| {one['consistency_dn'] / found['sharpness']['0']['consistency_dn'] - 1:+.1%} "
        f"| {one['improvement']:.3f} | {one['omission']:.3f} | {one['hallucination']:.3f} |"
        for name, found in result["sets"].items()
        for share, one in found["sharpness"].items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


#: Errors of the table of registration, with their digits.
_ERRORS = (("shift_px", 3), ("gain", 3), ("offset", 4))


def _registration(result: dict[str, Any]) -> str:
    titles = {
        "all": "all",
        "none": "no clouds",
        "masked": "clouds, masked",
        "unmasked": "clouds, nothing told",
        "kept": "those that a build would keep",
    }
    reasons = ", ".join(f"{name}: {count}" for name, count in result["unrelated_reasons"].items() if count)
    lines = [
        "## Registration",
        f"`{result['command']}`: known shifts up to 3 LR pixels along each axis, gains of 0.6 to 1.6, offsets, noise of 0.001 to "
        f"0.01 and up to 35 % of clouds put on {result['images']} real images, and found again as `geosr pairs build` finds them, on "
        f"patches of {result['side_px']} LR pixels. Shifts are off by LR pixels, gains by their share, offsets by reflectance, "
        f"of the worst band. {_machine(result)}",
        "| cases | number | shift, median | 95 % | gain, median | 95 % | offset, median | 95 % |\n|---|---|---|---|---|---|---|---|",
    ]
    rows = [
        f"| {title} | {one['cases']} "
        + " ".join(f"| {one[what][which]:.{digits}f}" for what, digits in _ERRORS for which in ("median", "p95"))
        + " |"
        for kind, title in titles.items()
        if (one := result["errors"].get(kind)) is not None
    ]
    return (
        "\n\n".join(lines)
        + "\n"
        + "\n".join(rows)
        + f"\n\nOf {result['unrelated']} patches that do not belong to their HR, {100 * result['unrelated_rejected']:.1f} % are "
        f"rejected ({reasons})."
    )


def _scaling(result: dict[str, Any]) -> str:
    workers, queued = result["workers"], result["scheduler"]
    lines = [
        "## Workers",
        f"`{result['command']}`: `geosr upscale --scheduler` with `{result['model']}`, {result['engine']}, over "
        f"{workers['side_px']} × {workers['side_px']} pixels in chunks of {workers['core_px']}, with workers on one core "
        "each. The bytes are those of one process. Two workers are "
        f"{workers['times_as_fast']:.2f} times as fast as one; two bare networks that share nothing but this machine, "
        f"{result['two_bare_networks_times_as_fast']:.2f} times. {_machine(result)}",
        "| workers | seconds |\n|---|---|\n"
        + "\n".join(f"| {count} | {seconds} |" for count, seconds in workers["seconds"].items()),
        f"With {queued['chunks']} chunks handed out at once, where a run hands out two for each thread of a worker, the "
        f"scheduler takes {queued['peak_mib']} MiB, and {queued['idle_mib']} before.",
    ]
    return "\n\n".join(lines)


def _usual(result: dict[str, Any]) -> str:
    side = result["side_px"]
    titles = {
        "usual": "published Real-ESRGAN ×4plus in PyTorch, tiles of 256 with a pad of 10, into an array in memory",
        "same_weights": "the same weights by geosr, from raster to COG",
        "default_model": f"`{result['model']}` by geosr, from raster to COG",
    }
    lines = [
        "## Against the usual way",
        f"`{result['command']}`: {side} × {side} pixels, medians of rounds in turn (here {result['repeats']}); geosr with "
        f"{result['engine']}. {_machine(result)}",
        "| way | seconds | Mpx/s | times as fast |\n|---|---|---|---|",
    ]
    rows = [
        f"| {title} | {result['seconds'][way]:.1f} | {side * side / 1e6 / result['seconds'][way]:.4f} "
        f"| {result['times_as_fast'][way]:.2f} |"
        for way, title in titles.items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def _startup(result: dict[str, Any]) -> str:
    side = result["side_px"]
    titles = {
        "python": "`python -c pass`",
        "help": "`geosr --help`",
        "imports": "all that an upscaling imports",
        "job": f"`geosr upscale`, {side} × {side} pixels",
        "job in bfloat16": "the same with `--precision bfloat16`",
    }
    # The last only where the processor computes in it.
    rows = [
        f"| {title} | {result['seconds'][what]:.2f} |" for what, title in titles.items() if what in result["seconds"]
    ]
    return (
        f"## Cold start\n\n`{result['command']}`: each a process of its own, medians; {result['engine']}. "
        f"{_machine(result)}\n\n| what | seconds |\n|---|---|\n" + "\n".join(rows)
    )


def _service(result: dict[str, Any]) -> str:
    rows = [
        f"| {one['clients']} | {one['tiles']} | {one['chunks']} | {one['uncached_ms']['median']:.0f} | "
        f"{one['uncached_ms']['p95']:.0f} | {one['times_the_bare_network']:.2f} | {one['cached_ms']['median']:.1f} | "
        f"{one['cached_ms']['p95']:.1f} |"
        for one in result["tiles"]
    ]
    load = result["load"]
    answers = ", ".join(f"{what}: {count}" for what, count in load["answers"].items())
    lines = [
        "## The service",
        f"`{result['command']}`: tiles of 256 × 256 pixels at about the product's resolution, with `{result['model']}`, "
        f"{result['engine']}, in chunks of {result['core_px']} source pixels, for each of which the bare network takes "
        f"{result['bare_ms_per_chunk']:.0f} ms. {_machine(result)}",
        "| clients | tiles | chunks | uncached, ms | 95 % | time over the bare network's | cached, ms | 95 % |\n"
        "|---|---|---|---|---|---|---|---|\n" + "\n".join(rows),
        f"{load['clients']} clients at once for {load['seconds']:g} s look at tiles, ask for jobs and order some: {answers} "
        f"(by status). Orders that became jobs: {load['jobs']}; lost {load['jobs_lost']}, twice {load['jobs_twice']}. "
        f"Answers that should not be: {len(load['wrong'])}. The service and its jobs held {load['peak_mib']} MiB at most.",
    ]
    return "\n\n".join(lines)


def _machine(result: dict[str, Any]) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"Machine: {machine['processor']}, {machine['cores']} cores, "
        f"AVX-512 {'yes' if machine['avx512'] else 'no'}, AMX {'yes' if machine['amx'] else 'no'}; {versions}."
    )


def _ten_bands(result: dict[str, Any]) -> str:
    coarse = result["bands"][result["guides"] :]
    lines = [
        "## Ten bands",
        f"`{result['measured_by']}`: Sentinel-2's 20 m bands sharpened by a run that left the scene out, which is reduced "
        "to be its own truth (Wald's protocol): from 40 m to 20 m guided by 10 m bands seen at 20 m, and from 80 m to "
        "20 m guided by what the model makes of those from 80 m. Root mean square error, and how far the result, seen "
        "through the sensor, is off its input, both in DN. Against bicubic the error is the mean over the bands.",
    ]
    head = f"| scene | step | | {' | '.join(coarse)} | against bicubic | spectral angle, ° | consistency, DN |"
    rows = [head, f"|---|---|---|{'---|' * (len(coarse) + 3)}"]
    for scene, steps in result["left_out"].items():
        for step, contenders in steps.items():
            reference = sum(contenders["bicubic"]["rmse"])
            for name, one in contenders.items():
                errors = " | ".join(f"{1e4 * value:.0f}" for value in one["rmse"])
                consistency = ", ".join(f"{1e4 * value:.1f}" for value in one["consistency"])
                ratio = f"{100 * (sum(one['rmse']) / reference - 1):+.0f} %"
                angle = f"{one['spectral_angle_deg']:.2f}"
                title = {"coarse": "40 m to 20 m", "fine": "80 m to 20 m"}[step]
                rows.append(f"| {scene} | {title} | {name} | {errors} | {ratio} | {angle} | {consistency} |")
    lines.append("\n".join(rows))
    lines.append(
        f"`{result['command']}`: products of `{result['model']}`, {result['multiply_adds_per_lr_px'] / 1e6:.2f} million "
        "multiply-adds per 10 m pixel, held against their sources: how far the grid is off, the shift of what the sensor "
        "would see of them, its difference from the source, spectra at the most homogeneous places with the deviation "
        f"inside those, and indices. {_machine(result)}"
    )
    for name, one in result["products"].items():
        spots = one["spots"]
        indices = ", ".join(f"{index} {value:.4f}" for index, value in one["indices"].items())
        lines.append(
            f"{name}: grid off by {one['grid_off_px']:.6f} pixels; indices differ by {indices}; {spots['count']} spots.\n\n"
            "| band | shift, 10 m pixels | consistency, DN | spectra at spots, DN | deviation inside spots, DN |\n"
            "|---|---|---|---|---|\n"
            + "\n".join(
                f"| {band} | {one['shift_px'][band]:.2f} | {one['consistency_dn'][band]:.2f} | "
                f"{spots['difference_dn'][band]:.2f} | {spots['deviation_dn'][band]:.1f} |"
                for band in result["bands"]
            )
        )
    return "\n\n".join(lines)


_SECTIONS = {
    "fidelity": _fidelity,
    "ten_bands": _ten_bands,
    "uncertainty": _uncertainty,
    "end_to_end": _end_to_end,
    "engines": _engines,
    "precision": _precision,
    "sharpness": _sharpness,
    "registration": _registration,
    "usual": _usual,
    "scaling": _scaling,
    "startup": _startup,
    "service": _service,
    "ablation": _ablation,
    "adaptation": _adaptation,
}


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def main() -> None:
    """Make the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where results are kept")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="where the page goes")
    arguments = parser.parse_args()
    arguments.page.write_text(page(arguments.results), encoding="utf-8")
    print(f"wrote {arguments.page}")


if __name__ == "__main__":
    main()
