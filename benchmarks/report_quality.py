"""Sections of the page about pixels: how good, how certain, how well in place.

Each takes a kept result, see :mod:`report`, and gives the section's text in Markdown.
"""

from __future__ import annotations

from typing import Any

from machine import in_words

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


def fidelity(result: dict[str, Any]) -> str:
    """Models side by side on imagery held out."""
    sigmas = ", ".join(f"{sigma:.2f}" for sigma in result["sigma_hr_px"].values())
    costs = ", ".join(f"`{name}` {cost / 1e6:.2f}" for name, cost in result["multiply_adds_per_lr_px"].items() if cost)
    lines = [
        "## Fidelity",
        f"`{result['command']}`: `geosr evaluate` of `{result['model']}` on imagery that no model was trained on, blurred and "
        f"sampled like Sentinel-2 (sigma {sigmas} pixels, noise 0.001). [Evaluation](evaluation.md#what-the-figures-say) "
        "explains the figures. Compare a network for three bands with the rows of the same bands. Million multiply-adds per "
        f"input pixel, half-widths included: {costs}. {in_words(result['machine'])}",
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


def uncertainty(result: dict[str, Any]) -> str:
    """Coverage and cost of half-widths."""
    forward, command = result["seconds"]["pass"], result["seconds"]["command"]
    lines = [
        "## Half-widths",
        f"`{result['command']}`: coverage of the 90 % half-widths of `{result['model']}` on held-out imagery, next to an "
        "oracle that knows the true errors of neighbouring pixels, as no method can know from the source. "
        "[Evaluation](evaluation.md#half-widths) explains the columns; the width is relative to a constant width of equal "
        f"coverage. The forward pass takes {forward['ratio']:.3f} times as long with half-widths. The whole command, which "
        f"also computes the measured fraction and writes two more files, takes {command['ratio']:.2f} times as long on a "
        f"scene of {command['side_px']} × {command['side_px']} pixels. {in_words(result['machine'])}",
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


def ablation(result: dict[str, Any]) -> str:
    """Gain by each part of the network."""
    sets = [name for name in next(iter(result["rows"].values())) if name != "multiply_adds_per_lr_px"]
    lines = [
        "## Ablation",
        f"`{result['command']}`: gain over bicubic in PSNR, dB, after {result['steps']} steps from an untrained network. "
        f"Each row changes one thing. {in_words(result['machine'])}",
        f"| run | million multiply-adds | {' | '.join(f'`{name}`' for name in sets)} |\n|---|---|{'---|' * len(sets)}",
    ]
    rows = [
        f"| {name} | {row['multiply_adds_per_lr_px'] / 1e6:.2f} | {' | '.join(f'{row[one]:+.2f}' for one in sets)} |"
        for name, row in result["rows"].items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def adaptation(result: dict[str, Any]) -> str:
    """A published network with more bands, beside others of its size."""
    far = list(result["halo_difference_dn"].items())[-1]
    lines = [
        "## Adaptation",
        f"`{result['command']}`: a network published for photographs (`{result['checkpoint']}`, "
        f"{result['multiply_adds_per_lr_px'] / 1e6:.1f} million multiply-adds per input pixel) adapted to Sentinel-2's bands by "
        f"`geosr models adapt`, without training and after {result['steps']} steps. It is compared with networks of the same "
        "size after as many steps from untrained weights: one that makes the whole image, like the adapted one, and one that "
        f"adds to bicubic interpolation. Steps have {result['batch']} patches of {result['patch_lr_px']} × "
        f"{result['patch_lr_px']} input pixels and learning rate {result['learning_rate']:g}: a start, not a full training. "
        "All rows but bicubic end in the same back-projection steps; the second row has only these. "
        f"Set: {result['set']}, images: {result['images']}. With a margin of {far[0]} pixels, chunks of the adapted network "
        f"still differ from the scene in one piece by up to {far[1]:.1f} DN on the bundled sample. "
        f"{in_words(result['machine'])}",
        f"| model | {' | '.join(title for title, _, _ in _FIGURES)} |\n|---|{'---|' * len(_FIGURES)}",
    ]
    rows = [
        f"| {model} | {' | '.join(_cell(one[key], form) for _, key, form in _FIGURES)} |"
        for model, one in result["rows"].items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def precision(result: dict[str, Any]) -> str:
    """Effect of reduced precision on pixels."""
    lines = [
        "## Precision",
        f"`{result['command']}`: effect of reduced precision on the pixels of `{result['model']}`, on held-out imagery blurred "
        "and sampled like Sentinel-2: differences from float32 in DN, and the change in PSNR. float16 is for GPUs; here it was "
        f"computed on the CPU, which rounds in the same way. {in_words(result['machine'])}",
        "| set | images | engine, type | root mean square, DN | 99.9th percentile, DN | PSNR, dB |\n|---|---|---|---|---|---|",
    ]
    rows = [
        f"| {name} | {one['images']} | {engine} | {one['dn_rms']:.1f} | {one['dn_999']:.1f} | {one['psnr_db']:+.4f} |"
        for name, engines in result["sets"].items()
        for engine, one in engines.items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def sharpness(result: dict[str, Any]) -> str:
    """Gain and cost of sharpness."""
    lines = [
        "## Sharpness",
        f"`{result['command']}`: effect of `--sharpness` on `{result['model']}`, on held-out imagery blurred and sampled like "
        "Sentinel-2. Detail is the share of the image's power at frequencies that the source cannot contain, a measure of "
        "sharpness that needs no truth; the next column has that of the truth. Consistency is the mean difference between the "
        "source and the result blurred and sampled to its pixels. Improvement, omission and hallucination are the shares of "
        f"detail that is right, missing and false. {in_words(result['machine'])}",
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


def registration(result: dict[str, Any]) -> str:
    """Known shifts and gains found again."""
    titles = {
        "all": "all",
        "none": "no clouds",
        "masked": "clouds, masked",
        "unmasked": "clouds, not masked",
        "kept": "cases that a build would keep",
    }
    reasons = ", ".join(f"{name}: {count}" for name, count in result["unrelated_reasons"].items() if count)
    lines = [
        "## Registration",
        f"`{result['command']}`: known shifts up to 3 LR pixels along each axis, gains of 0.6 to 1.6, offsets, noise of 0.001 to "
        f"0.01 and up to 35 % of clouds are put on {result['images']} real images, and measured as `geosr pairs build` does, on "
        f"patches of {result['side_px']} LR pixels. Errors of shifts are in LR pixels, of gains relative, of offsets in "
        f"reflectance, each of the worst band. {in_words(result['machine'])}",
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


def ten_bands(result: dict[str, Any]) -> str:
    """The 20 m bands against their truth, and products against their sources."""
    coarse = result["bands"][result["guides"] :]
    lines = [
        "## Ten bands",
        f"`{result['measured_by']}`: Sentinel-2's 20 m bands sharpened by a run that left the scene out of training. The scene is "
        "reduced and is its own truth (Wald's protocol): from 40 m to 20 m, guided by the 10 m bands reduced to 20 m, and from "
        "80 m to 20 m, guided by the model's result from 10 m bands reduced to 80 m. Errors are root mean squares in DN. "
        "Consistency is the difference, in DN, between the input and the result blurred and sampled to its pixels. The error "
        "against bicubic is the mean over the bands.",
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
        "multiply-adds per 10 m pixel, compared with their sources: error of the grid; shift and difference (consistency) of "
        "the product blurred and sampled to the source's pixels; spectra at the most homogeneous places (spots), with the "
        f"deviation inside them; and indices. {in_words(result['machine'])}"
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


def change(result: dict[str, Any]) -> str:
    """Floods of known area."""

    def found(scale: dict[str, Any], kind: str) -> str:
        one = scale[kind]
        return f"{one['hectares']:.2f} ({one['low_hectares']:.2f} to {one['high_hectares']:.2f})"

    lines = [
        "## Change",
        f"`{result['command']}`: floods of known area between two simulated dates, found by `geosr change` at 2.5 m and at the "
        "source's 10 m. Ground that is water already counts as none; the near infrared of the town qb_c, whose numbers are no "
        "reflectance, is doubled. The later date is shifted by 0.3 and 0.2 source pixels and brighter by 2 %, and has noise of its own. "
        "Hectares have their range in parentheses. "
        "The last columns are the mean absolute difference of NDWI at least 30 m from the flood, with the root mean square: as "
        "the map of differences shows it at 2.5 m, as it is measured at 2.5 m, and at 10 m. "
        f"{in_words(result['machine'])}",
        "| ground, taken as 2.5 m | true hectares | more water, 2.5 m | 10 m | less water, 2.5 m | 10 m | outside, shown "
        f"| measured | 10 m |\n|{'---|' * 9}",
    ]
    rows = [
        f"| {flood['ground']} | {flood['hectares']:.2f} "
        + "".join(f"| {found(flood[scale], kind)} " for kind in ("more", "less") for scale in ("fine", "source"))
        + "".join(
            f"| {flood['outside'][part]['mean']:.4f} ({flood['outside'][part]['rms']:.4f}) "
            for part in ("shown", "measured", "source")
        )
        + "|"
        for flood in result["floods"]
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def fields(result: dict[str, Any]) -> str:
    """Means of fields by size: errors, and coverage of their half-widths."""
    lines = [
        "## Fields",
        f"`{result['command']}`: means of fields in imagery that no model was trained on, nor their half-widths calibrated on, taken "
        "as 2.5 m and blurred, sampled and noisy as Sentinel-2. Fields are segments of the truth of at least 0.1 ha, in thirds by "
        "their size. Errors are root mean squares of the index; at 10 m the source's pixels are weighted by the exact share that "
        "lies in the field. Coverage is the share of fields whose true mean lies within the half-width, which promises 90 %; beside "
        "it, that of half-widths as if the errors of pixels were independent, or one error of all. "
        "The first rows count each set alike, as the calibration does, the next each field alike, of which most are of one set. "
        f"{in_words(result['machine'])}",
        "| set | fields | hectares, least to most | error, 2.5 m | 10 m | bicubic | back-projection | nearer than 10 m "
        f"| half-width, mean | coverage | independent | dependent |\n|{'---|' * 12}",
    ]
    parts = []
    for measure, sets in result["measures"].items():
        rows = [
            f"| {name} | {one['fields']} | {one['hectares'][0]:.2f} to {one['hectares'][2]:.2f} "
            + "".join(f"| {one['rms'][key]:.4f} " for key in ("product", "source", "bicubic", "backprojection"))
            + f"| {100 * one['nearer_than_source']:.0f} % | {one['mean_half_width']:.4f} "
            + "".join(f"| {100 * one['coverage'][key]:.1f} % " for key in ("half_width", "independent", "dependent"))
            + "|"
            for name, thirds in sets.items()
            for one in thirds
        ]
        parts.append(f"{measure.upper()}:\n\n" + lines[2] + "\n" + "\n".join(rows))
    return "\n\n".join([*lines[:2], *parts])


def peers(result: dict[str, Any]) -> str:
    """Other tools on the same judges."""
    side = result["timed_px"]
    fastest = min(one["seconds"] for one in result["contenders"].values())
    lines = [
        "## Other tools",
        f"`{result['command']}`: interpolation, back-projection, opensr-mamba (a model trained for Sentinel-2, from PyPI, on the CPU as "
        "`benchmarks/mamba_peer.py` runs it) and the default model, all judged by the visible bands alone, which are all that "
        "opensr-mamba has. Real images: the share of another date's detail that is left over (less is better; interpolation that is "
        "smoothed at its best strength for these dates is beside it), the grain of calm water as a multiple of the source's (1 adds "
        "none), how well the bands' added detail agrees (1 is best), and values at the lowest DN. Simulated scenes: PSNR and the angle "
        "between spectra, of at most 12 images of a set. "
        f"Time: median for a source of {side} × {side} pixels, all bands that a model has, as a multiple of the fastest, in rounds that "
        "take turns, by PyTorch in 32 bits, as all are judged: products are made by [faster engines](#engines). "
        f"{in_words(result['machine'])}",
        "| | another date left over | smoothed interpolation | grain on water, B02 B03 B04 | agreement | lowest DN, of the source | time |"
        f"\n|{'---|' * 7}",
    ]
    rows = [
        f"| {name} | {one['left_over']:.4f} | {one['left_over_by_smoothing']:.4f} "
        f"| {' '.join(f'{gain:.2f}' for gain in one['noise_gain'].values())} | {one['agreement']:.2f} "
        f"| {100 * one['floor_share']:.3f} %, {100 * one['floor_share_of_source']:.3f} % | {one['seconds'] / fastest:.1f} |"
        for name, one in result["contenders"].items()
    ]
    sets = list(next(iter(result["contenders"].values()))["simulated"])
    head = f"| PSNR, dB; angle, ° | {' | '.join(sets)} |\n|{'---|' * (len(sets) + 1)}"
    simulated = [
        f"| {name} | "
        + " | ".join(
            f"{one['simulated'][key]['psnr_db']:.2f}; {one['simulated'][key]['angle_deg']:.2f}" for key in sets
        )
        + " |"
        for name, one in result["contenders"].items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows) + "\n\n" + head + "\n" + "\n".join(simulated)
