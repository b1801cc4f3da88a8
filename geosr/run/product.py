"""The product's form and its tags: where it comes from, and how far to trust it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import catalog
from catalog import BandSpec, Scene, SourceError
from catalog.sensors import role_of
from geosr.model.card import ModelCard
from geosr.run.upscale_run import Run
from geosr.version import VERSION
from tiling import ChunkFile, ChunkPlan, Compression, Product

#: GDAL's colour interpretations by the roles of bands.
_COLOURS = {
    **{role: role.capitalize() for role in ("red", "green", "blue", "coastal", "pan")},
    **dict.fromkeys(("rededge071", "rededge075", "rededge078"), "RedEdge"),
    **dict.fromkeys(("nir", "nir08", "nir09"), "NIR"),
    **dict.fromkeys(("swir16", "swir22"), "SWIR"),
}

#: Tag of a chunk's file with the pixels that were measured, and those at which each date took part.
DATES = "DATES"

#: Tag with the digest of the run that a product of several dates would be without the others.
REFERENCE_MANIFEST = "GEOSR_REFERENCE_MANIFEST"

MEASURED_BY_DATES = "corrected by what further dates measured of it"

ESTIMATED = "Detail finer than the source's resolution is estimated, not measured"

NOT_FOR_MEASURING = "detail is sharpened to look like imagery, more of it is false, and it is not for measuring"


def product_of(scene: Scene, compression: Compression) -> Product:
    """Form of the output: type, bands and nodata as in the source."""
    return Product(
        dtype=scene.dtype,
        descriptions=tuple(band.description for band in scene.bands),
        nodata=scene.bands[0].nodata if scene.nodata_declared else None,
        assumed_nodata=scene.bands[0].nodata,
        scales=tuple(band.scale for band in scene.bands) if scene.scaled else (),
        offsets=tuple(band.offset for band in scene.bands) if scene.scaled else (),
        colours=tuple(_colour_of(band, scene) for band in scene.bands),
        compression=compression,
    )


def _colour_of(band: BandSpec, scene: Scene) -> str:
    """GDAL's name of a band's colour, by its role; of a plain image, and where no role is known, as the source says."""
    role = "" if scene.plain_image else band.role or role_of(band.name, None) or ""
    return _COLOURS.get(role, band.colour.capitalize())


def aggregate_consistency(plan: ChunkPlan, files: Mapping[str, ChunkFile], scene: Scene) -> dict[str, float]:
    """Mean absolute consistency per band, DN, from what each chunk recorded.

    Raises :class:`catalog.SourceError` when no pixel of any band was measured.
    """
    counts, sums = [0] * len(scene.bands), [0.0] * len(scene.bands)
    for chunk in plan:
        count, absolute = json.loads(files[chunk.key].tags["CONSISTENCY"])
        for b in range(len(scene.bands)):
            counts[b] += count[b]
            sums[b] += absolute[b]
    if not any(counts):
        raise SourceError(f"{scene.id} has no valid pixel here: all are nodata")
    return {band.name: sums[b] / max(1, counts[b]) for b, band in enumerate(scene.bands)}


def shares_of_dates(run: Run, files: Mapping[str, ChunkFile]) -> list[float]:
    """Share of the measured pixels at which each date took part, from what each chunk recorded."""
    assert run.dates is not None
    measured, used = 0, [0] * len(run.dates.used)
    for chunk in run.plan:
        count, own = json.loads(files[chunk.key].tags.get(DATES, "[0, []]"))
        measured += count
        used = [before + one for before, one in zip(used, own or [0] * len(used), strict=True)]
    return [one / max(1, measured) for one in used]


def notes_of(files: Mapping[str, ChunkFile]) -> list[str]:
    """Warnings of chunks about how they were computed, each once."""
    return sorted({file.tags["NOTE"] for file in files.values() if "NOTE" in file.tags})


def tags_of(run: Run, consistency_dn: Mapping[str, float]) -> dict[str, str]:
    """Tags of the output. Nothing that changes from one attempt to the next."""
    scene, card = run.scene, run.card
    tags = {
        **scene.tags,
        "GEOSR_VERSION": VERSION,
        "GEOSR_MODEL": card.name,
        "GEOSR_WEIGHTS_SHA256": card.weights_sha256 or "none",
        "GEOSR_ENGINE": str(run.model.engine),
        "GEOSR_SOURCE": scene.id,
        "GEOSR_RADIOMETRY": "; ".join(f"{band.name}: {band.conversion}" for band in scene.bands)
        + f" ({_reasons(scene)})",
        "GEOSR_CONSISTENCY_DN": ", ".join(f"{name} {value:.4g}" for name, value in consistency_dn.items()),
        "GEOSR_DETAIL": detail_of(card) + (f"; {MEASURED_BY_DATES}" if run.fuses else ""),
        "GEOSR_MANIFEST": run.manifest.digest,
    }
    if run.dates is not None:
        tags |= run.dates.tags() | {REFERENCE_MANIFEST: run.manifest.of_reference}
    if scene.sensor:
        tags["GEOSR_SENSOR"] = scene.sensor
    if card.sharpness and card.visual is not None:
        tags["GEOSR_SHARPNESS"] = f"{card.sharpness:g}"
        tags["GEOSR_VISUAL_WEIGHTS_SHA256"] = card.visual.weights_sha256
    if scene.notes:
        tags["GEOSR_NOTES"] = "; ".join(scene.notes)
    resolution = effective_resolution(scene, card)
    if resolution:
        tags["GEOSR_EFFECTIVE_RESOLUTION"] = resolution
    return tags


def _reasons(scene: Scene) -> str:
    """Reasons for the conversion of DN to reflectance, by bands where they differ."""
    bands: dict[str, list[str]] = {}
    for band, reason in zip(scene.bands, scene.radiometry, strict=True):
        bands.setdefault(reason, []).append(band.name)
    if len(bands) == 1:
        return next(iter(bands))
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in bands.items())


def detail_of(card: ModelCard) -> str:
    """Sentence on the origin of fine detail in a model's output."""
    if card.sharpness:
        return f"{ESTIMATED}; visual product, sharpness {card.sharpness:g}: {NOT_FOR_MEASURING}"
    if card.learned:
        return ESTIMATED
    return (
        "Sharpened through the sensor's blur; nothing is learned" if card.steps else "Interpolated; no detail is added"
    )


def effective_resolution(scene: Scene, card: ModelCard) -> str | None:
    """Finest detail that is right, in metres where the pixels' size is known."""
    if card.effective_resolution_lr_px is None or scene.plain_image:
        return None
    gsd_m = catalog.gsd_m_of(scene.geobox)
    if gsd_m is None:
        return f"{card.effective_resolution_lr_px:.2f} source pixels"
    return f"{card.effective_resolution_lr_px * gsd_m:.1f} m"


def consistency_in(tags: Mapping[str, str], names: Sequence[str]) -> dict[str, float]:
    """Read the consistency that :func:`tags_of` wrote. Names of bands may hold commas and numbers: they are needed."""
    form = ", ".join(rf"{re.escape(name)} (\S+)" for name in names)
    found = re.fullmatch(form, tags.get("GEOSR_CONSISTENCY_DN", ""))
    return {} if found is None else dict(zip(names, map(float, found.groups()), strict=True))
