"""Remarks on a raster: what is assumed of its bands, and what it says other than the profile of its sensor."""

from __future__ import annotations

from collections.abc import Sequence

from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader

from catalog import sentinel2
from catalog.declared_scale import declared_scale, told_in_metadata
from catalog.pixel_size import described_size
from catalog.radiometry import is_assumed
from catalog.scene import BandSpec
from catalog.sensors import SensorProfile


def assumed_note(specs: Sequence[BandSpec], reasons: Sequence[str]) -> list[str]:
    """A word on the bands whose DN are taken for Sentinel-2's because nothing tells what they are."""
    assumed = [(spec.name, reason) for spec, reason in zip(specs, reasons, strict=True) if is_assumed(reason)]
    if not assumed:
        return []
    which = "" if len(assumed) == len(specs) else f"{', '.join(name for name, _ in assumed)}: "
    return [f"{which}reflectance = DN / {sentinel2.QUANTIFICATION} is {assumed[0][1]}"]


def scale_note(specs: Sequence[BandSpec], geobox: GeoBox, sensor: SensorProfile | None) -> list[str]:
    """A word when pixels are not of the size that the instrument's bands have, for its blur is that of those."""
    known = []
    for spec in specs:
        band = sentinel2.BANDS.get(spec.name) if sensor is None else sensor.band(spec.name)
        if band is not None and band.gsd_m is not None and spec.gsd_m is not None:
            known.append((float(band.gsd_m), spec.gsd_m, spec.name))
    # Coarser bands may have been repeated on the finest ones' grid.
    for native, gsd_m, name in sorted(known)[:1]:
        if not 0.8 < gsd_m / native < 1.25:
            whose = "Sentinel-2" if sensor is None else sensor.name
            return [f"pixels of {described_size(geobox)}, where {whose}'s {name} has {native:g} m"]
    return []


def unused_scale_note(raster: DatasetReader, keep: Sequence[int]) -> list[str]:
    """A word on scale and offset that stand in metadata which GDAL does not take them from."""
    told = [
        text
        for i in keep
        if declared_scale(raster, i) == (1.0, 0.0) and (text := told_in_metadata(raster, i)) is not None
    ]
    if not told:
        return []
    return [f"the file's metadata tell {told[0]}, which is not applied: give --scale and --offset if it holds"]


def nodata_note(specs: Sequence[BandSpec], declared: Sequence[float | None]) -> list[str]:
    """A word on bands that declare other nodata values than their product has."""
    others = [
        f"{spec.name} {value:.10g}"
        for spec, value in zip(specs, declared, strict=True)
        if value is not None and str(float(value)) != str(spec.nodata)
    ]
    if not others:
        return []
    return [f"bands have other nodata values ({', '.join(others)}) than the output, whose is {specs[0].nodata:.10g}"]


def contradictions(
    raster: DatasetReader, keep: Sequence[int], specs: Sequence[BandSpec], sensor: SensorProfile
) -> list[str]:
    """Notes where the file contradicts its sensor's profile; the file is believed."""
    notes = []
    declared: dict[tuple[float, float], list[str]] = {}
    for i, spec in zip(keep, specs, strict=True):
        declared.setdefault((raster.scales[i], raster.offsets[i]), []).append(spec.name)
    for (scale, offset), names in sorted(declared.items()):
        if sensor.scale is None or (scale, offset) in ((1.0, 0.0), (sensor.scale, sensor.offset)):
            continue
        which = "" if len(names) == len(specs) else f"{', '.join(names)}: "
        notes.append(
            f"{which}the file's scale {scale:g} and offset {offset:g} are taken, not {sensor.name}'s {sensor.scale:g} "
            f"and {sensor.offset:g}"
        )
    nodata = {raster.nodatavals[i] for i in keep if raster.nodatavals[i] is not None}
    if sensor.nodata is not None and nodata - {sensor.nodata}:
        notes.append(f"the file's nodata {min(nodata):g} is taken, not {sensor.name}'s {sensor.nodata:g}")
    return notes
