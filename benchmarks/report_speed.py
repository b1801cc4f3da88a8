"""Sections of the page about time and memory.

Each takes a kept result, see :mod:`report`, and gives the section's text in Markdown.
"""

from __future__ import annotations

from typing import Any

from machine import in_words
from work import multiply_adds_of_chunk

from geosr.model.zoo import read_card


def end_to_end(result: dict[str, Any]) -> str:
    """From raster to published product, by size."""
    stages = list(result["runs"][0]["stages_s"])
    lines = [
        "## End to end",
        f"`{result['command']}`: `geosr upscale` with `{result['model']}`, {result['engine']}, over the bundled sample "
        f"repeated to scenes of growing size, in chunks of up to {result['core_px']} pixels. The bare network is the same "
        "engine on the scene's pixels, without reading, writing, or margins that are computed twice. Memory is the peak of "
        "the sum over all processes. Disk is the peak of chunks and output together, as a multiple of the output's size. "
        + (f"Time grows with the number of pixels to the power of {result['growth']}. " if result["growth"] else "")
        + in_words(result["machine"]),
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
        + "\n\nShare of the time by stage, percent; stages that run at the same time overlap:\n\n"
        + f"| scene, pixels | {' | '.join(stages)} |\n|{'---|' * (len(stages) + 1)}\n"
        + "\n".join(shares)
    )


def sources(result: dict[str, Any]) -> str:
    """Time by kind of source."""
    side, repeats = result["side"], result["repeats"]
    best = f"; the best of {repeats}" if repeats > 1 else ""
    lines = [
        "## Kinds of source",
        f"`{result['command']}`: `geosr upscale` over {side} × {side} pixels from each kind of source, start-up included"
        f"{best}. The server of the sources over HTTP answers after {result['latency_ms']:g} ms and gives "
        f"{result['mb_per_s']:g} MB/s. Network is the time that the bytes take at that rate. Ratios are to the local GeoTIFF. "
        f"The model `bicubic` computes next to nothing, so its ratios are those of reading. {in_words(result['machine'])}",
        f"| model | source | seconds | ratio | processor time, ratio | requests | MB | network, s |\n|{'---|' * 8}",
    ]
    rows = [
        f"| {row['model']} | {row['source']} | {row['seconds']:.1f} | {row['ratio']:.2f} | {row['cpu_ratio']:.2f} "
        f"| {row['requests']} | {row['mb']:.1f} | {row['network_s']:.1f} |"
        for row in result["rows"]
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def engines(result: dict[str, Any]) -> str:
    """One chunk by engine, precision and size."""
    lines = [
        "## Engines",
        f"`{result['command']}`: one chunk of `{result['model']}` at a time on all cores, in a process of its own. Speed "
        "counts the pixels of the chunk's core. Multiply-adds are those of a direct convolution, margins included. Memory is "
        "the process's peak; the last column is the estimate by which the size of chunks is chosen. "
        f"{in_words(result['machine'])}",
        f"| engine | precision | chunk, pixels | Mpx/s | GMAC/s | peak memory, MiB | estimated, MiB |\n|{'---|' * 7}",
    ]
    card = read_card(result["model"])
    rows = []
    for row in result["rows"]:
        per_pixel = multiply_adds_of_chunk(card, row["engine"], row["core_px"]) / row["core_px"] ** 2
        rows.append(
            f"| {row['engine']} | {row['precision']} | {row['core_px']} | {row['mpx_per_s']:.4f} "
            f"| {row['mpx_per_s'] * per_pixel / 1e3:.0f} | {row['peak_mib']} | {row['reckoned_mib']} |"
        )
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def scaling(result: dict[str, Any]) -> str:
    """Workers, and what a scheduler holds."""
    workers, queued = result["workers"], result["scheduler"]
    lines = [
        "## Workers",
        f"`{result['command']}`: `geosr upscale --scheduler` with `{result['model']}`, {result['engine']}, over "
        f"{workers['side_px']} × {workers['side_px']} pixels in chunks of {workers['core_px']}, with workers on one core "
        "each. The bytes equal those of one process. Two workers are "
        f"{workers['times_as_fast']:.2f} times as fast as one; two independent bare networks on this machine, "
        f"{result['two_bare_networks_times_as_fast']:.2f} times. {in_words(result['machine'])}",
        "| workers | seconds |\n|---|---|\n"
        + "\n".join(f"| {count} | {seconds} |" for count, seconds in workers["seconds"].items()),
        f"With {queued['chunks']} chunks submitted at once the scheduler takes {queued['peak_mib']} MiB, and "
        f"{queued['idle_mib']} MiB before. A run submits only two for each thread of a worker.",
    ]
    return "\n\n".join(lines)


def usual(result: dict[str, Any]) -> str:
    """Against what a user would otherwise run."""
    side = result["side_px"]
    titles = {
        "usual": "published Real-ESRGAN ×4plus in PyTorch, tiles of 256 with a pad of 10, into an array in memory",
        "same_weights": "the same weights in geosr, from raster to COG",
        "default_model": f"`{result['model']}` in geosr, from raster to COG",
    }
    lines = [
        "## Against the usual way",
        f"`{result['command']}`: {side} × {side} pixels, medians of {result['repeats']} alternating rounds; geosr with "
        f"{result['engine']}. {in_words(result['machine'])}",
        "| way | seconds | Mpx/s | times as fast |\n|---|---|---|---|",
    ]
    rows = [
        f"| {title} | {result['seconds'][way]:.1f} | {side * side / 1e6 / result['seconds'][way]:.4f} "
        f"| {result['times_as_fast'][way]:.2f} |"
        for way, title in titles.items()
    ]
    return "\n\n".join(lines) + "\n" + "\n".join(rows)


def startup(result: dict[str, Any]) -> str:
    """From a cold start."""
    side = result["side_px"]
    titles = {
        "python": "`python -c pass`",
        "help": "`geosr --help`",
        "imports": "all imports of a run",
        "service": "all imports of the service",
        "job": f"`geosr upscale`, {side} × {side} pixels",
    }
    rows = [f"| {title} | {result['seconds'][what]:.2f} |" for what, title in titles.items()]
    return (
        f"## Cold start\n\n`{result['command']}`: medians, each in a process of its own; {result['engine']}. "
        f"{in_words(result['machine'])}\n\n| what | seconds |\n|---|---|\n" + "\n".join(rows)
    )


def service(result: dict[str, Any]) -> str:
    """Tiles, and many clients at once."""
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
        f"{result['engine']}, in chunks of {result['core_px']} source pixels. The bare network takes "
        f"{result['bare_ms_per_chunk']:.0f} ms for one chunk. {_busy(result)}{in_words(result['machine'])}",
        "| clients | tiles | chunks | uncached, ms | 95 % | time over the bare network's | cached, ms | 95 % |\n"
        "|---|---|---|---|---|---|---|---|\n" + "\n".join(rows),
        f"{load['clients']} clients at once for {load['seconds']:g} s load tiles, query jobs and order some. Responses by "
        f"status: {answers}. Orders that became jobs: {load['jobs']}; lost: {load['jobs_lost']}; duplicated: "
        f"{load['jobs_twice']}. Wrong responses: {len(load['wrong'])}. Peak memory of the service and its jobs: "
        f"{load['peak_mib']} MiB.",
    ]
    return "\n\n".join([*lines, *_routes_and_page(result)])


def _busy(result: dict[str, Any]) -> str:
    """Sentence on a machine that had other work; empty for one that had not, and for results that do not tell."""
    average = result.get("load_average", 0.0)
    if average < 1:
        return ""
    return f"The machine was busy, with a load average of {average:g} before: of the figures, the ratios count. "


def _routes_and_page(result: dict[str, Any]) -> list[str]:
    """Routes under load and attack, and the page; results of earlier versions have none."""
    lines = []
    if (routes := result.get("routes")) is not None:
        medians = ", ".join(f"{name} {value:.1f} ms" for name, value in routes["median_ms"].items())
        times = ", ".join(f"{name} {value:.2f}" for name, value in routes["times_jobs"].items())
        lines.append(f"{routes['clients']} clients, medians: {medians}; times that of jobs: {times}.")
    if (attack := result.get("attack")) is not None:
        times = ", ".join(f"{name} {value:.2f}" for name, value in attack["times_calm"].items())
        lines.append(
            f"While one address opens {attack['connections']} connections and sends half a request's head on each, "
            f"medians of another address are, over those without: {times}."
        )
    if (page := result.get("first_map")) is not None:
        again = ", ".join(f"{one['usable_s']:.1f} s" for one in page["again"])
        lines.append(
            f"The page in Chromium shows its first map after {page['first']['usable_s']:.1f} s, and all of it sharpened "
            f"after {page['first']['sharpened_s']:.1f} s; opened again, its map after {again}."
        )
    return lines
