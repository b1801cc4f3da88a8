"""Scenes from rasters: GeoTIFFs and the like, local or remote, and plain images without a place on Earth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

from catalog import radiometry, sentinel2
from catalog.acquisition import Acquisition, acquisition_of
from catalog.arrays import measured_pixels, unlike_any
from catalog.declared_scale import declared_scale
from catalog.errors import SourceError
from catalog.gdal import colours_of, open_raster, parts_of
from catalog.grids import repeat, repeated_window
from catalog.identity import look_up, notes_on
from catalog.inherited_tags import holds_for_result
from catalog.paths import is_remote, without_query
from catalog.pixel_size import gsd_m_of
from catalog.placing import check_placed, grid_of_raster, other_placement
from catalog.plain_images import brightness, is_plain_image, plain_image_names
from catalog.radiometry import Radiometry
from catalog.raster_notes import assumed_note, contradictions, nodata_note, scale_note, unused_scale_note
from catalog.sampling import BandSample, sample_band
from catalog.scene import BandSpec, Pixels, Scene
from catalog.sensors import SensorBand, SensorProfile, band_name, known_bands
from catalog.unmeasured import check_pixel_type, has_own_mask, unmeasured_in, with_one_nodata
from catalog.web import patient

#: Most bands of a raster: twice those of any imaging spectrometer. Of each its metadata are looked at.
MOST_BANDS = 1000


@dataclass(frozen=True)
class RasterReader:
    """Bands from one or several rasters on the same grid."""

    files: tuple[tuple[str, int], ...]
    """Path and band number of each band."""
    nodata: tuple[tuple[float, ...], ...]
    """DN without measurement, per band; NaN and infinities never are one."""
    masked: bool = False
    """True if the rasters' own mask also tells which pixels were measured."""
    alpha: tuple[str, int] | None = None
    """Path and number of a band that is 0 where nothing was measured."""
    spans: tuple[int, ...] = ()
    """Pixels of the scene's grid per pixel of each band, along an axis; empty if all bands have the scene's grid."""

    @patient
    def read(self, window: Window) -> Pixels:
        pixels: list[np.ndarray] = []
        valid: list[np.ndarray] = []
        for path, indexes, span in _runs(self.files, self.spans):
            own, inside = repeated_window(window, span)
            with open_raster(path) as raster:
                pixels.append(repeat(raster.read(indexes, window=own), span)[:, *inside])
                if self.masked:
                    valid.append(repeat(raster.read_masks(indexes, window=own), span)[:, *inside] > 0)
        # Copies are spared where there is nothing to join: to touch new memory takes longer than to read a window.
        stacked = pixels[0] if len(pixels) == 1 else np.concatenate(pixels)
        measured = unlike_any(stacked, self.nodata)
        if self.masked:
            measured &= np.concatenate(valid)
        if self.alpha is not None:
            with open_raster(self.alpha[0]) as raster:
                measured &= raster.read(self.alpha[1], window=window) > 0
        return stacked, measured

    @patient
    def sample(self, window: Window) -> list[BandSample]:
        samples = []
        for (path, index), nodata, span in zip(
            self.files, self.nodata, self.spans or (1,) * len(self.files), strict=True
        ):
            own, _ = repeated_window(window, span)
            with open_raster(path) as raster:
                dn, valid = sample_band(raster, index, own, masked=self.masked or self.alpha is not None)
            samples.append((dn, valid & measured_pixels(dn, nodata)))
        return samples

    def select(self, keep: tuple[int, ...]) -> RasterReader:
        return replace(
            self,
            files=tuple(self.files[i] for i in keep),
            nodata=tuple(self.nodata[i] for i in keep),
            spans=tuple(self.spans[i] for i in keep) if self.spans else (),
        )


@patient
def open_raster_scene(
    path: str,
    *,
    bands: Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    plain_image: bool = False,
    sensor: SensorProfile | None = None,
    acquired: Acquisition | None = None,
) -> Scene:
    """A scene from one raster.

    ``bands`` names the raster's bands in order when it does not name them itself, or chooses among those it names.
    ``scale`` and ``offset`` override what the file says, ``nodata`` is no measurement besides what it declares.
    ``plain_image`` takes the values as brightness and asks for neither CRS nor radiometry. ``sensor`` names bands and
    decides their radiometry where the file does not. ``acquired`` overrides when the file says that it was acquired.

    Raises :class:`SourceError` or :class:`catalog.errors.RadiometryError`.
    """
    # This opens and closes rasters: not while one of them is in use.
    rasters = look_up(parts_of(path))
    with open_raster(path) as raster:
        _check_count(raster, path)
        geobox = grid_of_raster(raster)
        for dtype in raster.dtypes:
            check_pixel_type(dtype, path)
        if not plain_image:
            check_placed(raster)
        names, notes = _name_bands(raster, path, bands, sensor)
        plain = plain_image or (sensor is None and is_plain_image(raster, names))
        if plain:
            names, left_out = plain_image_names(raster, names)
            notes += left_out
        _check_names(names, path, sensor)
        names = _unique(names)
        keep = [i for i, name in enumerate(names) if name not in ("alpha", "-")]
        if not keep:
            raise SourceError(f"{path} has no band with pixels to upscale, only alpha")
        if raster.crs is None and not plain:
            raise SourceError(
                f"{path} has no CRS, so its output could not be placed: assign one with gdal_edit.py -a_srs EPSG:…, "
                "or give --plain-image to upscale it without"
            )
        if plain and raster.crs is None:
            notes.append("a plain image without a CRS: brightness is upscaled, and the output has no CRS either")
        placement = other_placement(raster)
        if placement is not None:
            notes.append(f"the source is placed by {placement[0]}, which the output does not have")
        masked = has_own_mask(raster, [i + 1 for i in keep])
        alpha = (path, names.index("alpha") + 1) if "alpha" in names else None
        transparent = masked or alpha is not None
        if transparent:
            notes.append("transparent pixels become nodata")
        specs, reasons, unmeasured = [], [], []
        for i in keep:
            own = unmeasured_in(raster, i + 1, plain=plain, transparent=transparent, sensor=sensor, given=nodata)
            spec, reason = _band_spec(raster, i, names[i], scale, offset, plain, sensor)
            specs.append(replace(spec, gsd_m=gsd_m_of(geobox)))
            reasons.append(reason)
            unmeasured.append(own)
        dtype, declared = _common_dtype(raster, keep, path), [raster.nodatavals[i] for i in keep]
        unmeasured = with_one_nodata(unmeasured, declared, dtype)
        specs = [
            replace(spec, nodata=own.nodata, also_nodata=own.also) for spec, own in zip(specs, unmeasured, strict=True)
        ]
        notes += nodata_note(specs, declared)
        notes += assumed_note(specs, reasons)
        acquired = acquired or acquisition_of(raster, path)
        if acquired is not None and acquired.told_by == "TIFFTAG_DATETIME":
            notes.append("acquired at the file's TIFFTAG_DATETIME, if that is not when it was made: see --acquired")
        notes += scale_note(specs, geobox, sensor)
        notes += [] if plain or scale is not None else unused_scale_note(raster, keep)
        notes += notes_on(rasters)
        notes += [] if sensor is None else contradictions(raster, keep, specs, sensor)
        return Scene(
            id=Path(without_query(path)).stem,
            bands=tuple(specs),
            geobox=geobox,
            area=Window(0, 0, raster.width, raster.height),
            dtype=dtype,
            reader=RasterReader(
                files=tuple((path, i + 1) for i in keep),
                nodata=tuple(own.read for own in unmeasured),
                masked=masked,
                alpha=alpha,
            ),
            radiometry=tuple(reasons),
            identity={
                **rasters[path],
                "bands": [i + 1 for i in keep],
                "files": list(rasters.values()),
            },
            datetime=None if acquired is None else acquired.instant,
            period=None if acquired is None else acquired.period,
            nodata_declared=any(value is not None for value in declared) or transparent or nodata is not None,
            scaled=not plain and any(map(_is_known, specs, reasons)),
            plain_image=plain,
            sources=(without_query(path),),
            files=tuple(file for file in rasters if not is_remote(file)),
            rasters=rasters,
            notes=tuple(notes),
            tags=_tags(raster),
            sensor=None if sensor is None else sensor.name,
        )


def _check_count(raster: DatasetReader, path: str) -> None:
    if raster.count > MOST_BANDS:
        raise SourceError(
            f"{path} has {raster.count} bands, and no more than {MOST_BANDS} are taken: extract those that you need, "
            "gdal_translate -b 1 -b 2 … IN OUT"
        )


def _name_bands(
    raster: DatasetReader, path: str, bands: Sequence[str] | None, sensor: SensorProfile | None
) -> tuple[list[str], list[str]]:
    described = [band_name(text, sensor) if text else None for text in raster.descriptions]
    names = [name or text or "" for name, text in zip(described, raster.descriptions, strict=True)]
    # GDAL takes the fourth of four byte bands for alpha when nobody says otherwise: a name does.
    transparency = [colour == ColorInterp.alpha for colour in colours_of(raster)]
    known = known_bands(sensor)
    names = ["alpha" if alpha and name not in known else name for name, alpha in zip(names, transparency, strict=True)]
    if bands is None:
        return (names, []) if sensor is None else _names_by_profile(raster, path, described, transparency, sensor)
    wanted = [band_name(band, sensor) or band for band in bands]
    if all(band in names for band in wanted):
        return [name if name in (*wanted, "alpha") else "-" for name in names], []
    if any(described):
        missing = [band for band in wanted if band not in names]
        raise SourceError(
            f"{path} has no band {', '.join(missing)}: its bands are {', '.join(n or '?' for n in names)}"
        )
    if len(wanted) != raster.count:
        raise SourceError(f"{path} has {raster.count} unnamed bands and --bands names {len(wanted)}")
    unknown = [band for band in wanted if band != "-" and band_name(band, sensor) is None]
    if unknown:
        raise SourceError(
            f"unknown band name {', '.join(unknown)}: known are {', '.join(known)}, their colours, and - to skip a band"
        )
    named = ["alpha" if band == "-" and alpha else band for band, alpha in zip(wanted, transparency, strict=True)]
    return named, ["bands named by the user"]


def _names_by_profile(
    raster: DatasetReader,
    path: str,
    described: Sequence[str | None],
    transparency: Sequence[bool],
    sensor: SensorProfile,
) -> tuple[list[str], list[str]]:
    """The sensor's names of a raster's bands: by what the raster calls them, by their order when it does not."""
    if not any(described):
        ordered = sensor.order_of(raster.count - transparency[-1]) or sensor.order_of(raster.count)
        if ordered is None:
            every = known_bands(sensor)
            raise SourceError(
                f"{path} has {raster.count} unnamed bands, and {sensor.name} has {len(every)}: "
                f"name them with --bands, as {','.join(every)} and - for those to leave out"
            )
        names = [*ordered, *["alpha"] * (raster.count - len(ordered))]
        return names, [f"bands named in the order of the sensor profile {sensor.name}"]
    names = [name or ("alpha" if alpha else "-") for name, alpha in zip(described, transparency, strict=True)]
    strange = [raster.descriptions[i] or f"band {i + 1}" for i, name in enumerate(names) if name == "-"]
    # Other instruments' bands may have the names of Sentinel-2's, and none of their meaning.
    return names, [f"bands left out, for {sensor.name} has none of these: {', '.join(strange)}"] if strange else []


def _band_spec(
    raster: DatasetReader,
    i: int,
    name: str,
    scale: float | None,
    offset: float | None,
    plain: bool,
    sensor: SensorProfile | None,
) -> tuple[BandSpec, str]:
    dtype = raster.dtypes[i]
    if plain:
        decided = brightness(raster)
    elif scale is not None:
        # A scale from the user stands in for whatever the type would mean; an offset in the file holds on.
        decided = Radiometry(scale, declared_scale(raster, i)[1] if offset is None else offset, "given by the user")
    else:
        own = (dtype, *declared_scale(raster, i))
        decided = radiometry.of_raster(*own) if sensor is None else radiometry.of_sensor(*own, sensor)
    if scale is not None or offset is not None:
        decided = radiometry.override(scale, offset, decided)
    band = sentinel2.BANDS.get(name) if sensor is None else sensor.band(name)
    spec = BandSpec(
        name=name or f"band {i + 1}",
        gsd_m=None,
        scale=decided.scale,
        offset=decided.offset,
        nodata=None,
        mtf_nyquist=band.mtf_nyquist if band else None,
        description=raster.descriptions[i] or "",
        colour=_colour(raster, i),
        role=band.role if isinstance(band, SensorBand) else "",
    )
    return spec, decided.reason


def _is_known(spec: BandSpec, reason: str) -> bool:
    """Tell whether a file, a user or a profile gives a band's scale and offset, which a product then declares."""
    return (spec.scale, spec.offset) != (1.0, 0.0) and not radiometry.is_assumed(reason)


def _colour(raster: DatasetReader, i: int) -> str:
    """A band's colour; one that is upscaled is no alpha, whatever GDAL takes it for."""
    colour = colours_of(raster)[i]
    return str((ColorInterp.undefined if colour == ColorInterp.alpha else colour).name)


def _check_names(names: Sequence[str], path: str, sensor: SensorProfile | None) -> None:
    known = [name for name in names if name in known_bands(sensor)]
    if len(set(known)) < len(known):
        raise SourceError(f"{path} names a band twice: {', '.join(names)}")


def _unique(names: Sequence[str]) -> list[str]:
    """Names of other instruments' bands with a number where several share one: ``refl 1``, ``refl 2``."""
    free = ("", "-", "alpha")
    shared = [name not in free and names.count(name) > 1 for name in names]
    numbered = [
        f"{name} {1 + names[:i].count(name)}" if several else name
        for i, (name, several) in enumerate(zip(names, shared, strict=True))
    ]
    if any(several and numbered.count(name) > 1 for name, several in zip(numbered, shared, strict=True)):
        return _unique(numbered)
    return numbered


def _common_dtype(raster: DatasetReader, keep: Sequence[int], path: str) -> str:
    dtypes = {raster.dtypes[i] for i in keep}
    if len(dtypes) > 1:
        raise SourceError(f"{path} mixes pixel types {', '.join(sorted(dtypes))}: convert it to one")
    return str(dtypes.pop())


def _tags(raster: DatasetReader) -> dict[str, str]:
    """The file's metadata, but for what describes its own pixels."""
    return {key: value for key, value in raster.tags().items() if key != "AREA_OR_POINT" and holds_for_result(key)}


def _runs(files: tuple[tuple[str, int], ...], spans: tuple[int, ...]) -> list[tuple[str, list[int], int]]:
    """Consecutive bands of the same raster, so that each is opened once, with the span of their pixels."""
    runs: list[tuple[str, list[int], int]] = []
    for (path, index), span in zip(files, spans or (1,) * len(files), strict=True):
        if runs and runs[-1][0] == path:
            runs[-1][1].append(index)
        else:
            runs.append((path, [index], span))
    return runs
