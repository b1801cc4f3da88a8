"""Slices of medical scanners (DICOM): the grid becomes finer, the meaning of the values stays.

What comes out is derived, and says so; it is nothing to diagnose from.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import tiling
from geosr.errors import UsageError
from geosr.plain_images.upscale import Brightness, ImageUpscaler
from geosr.version import VERSION

NOTE = "geosr is no medical device: upscaled slices are for research, presentation and teaching, not for diagnosis"

#: Elements that describe pixels which are no longer there.
_OF_THE_PIXELS = ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingRangeLimit")

#: Sequences by which a file of several frames describes the place of each.
_BY_FRAME = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DetectorInformationSequence")

#: Groups of elements that draw layers over the pixels, on their grid; odd numbers between them are private.
_OVERLAYS = range(0x6000, 0x6100, 2)


@dataclass(frozen=True)
class Slice:
    """One DICOM file."""

    path: Path
    content: FileDataset
    values: NDArray[Any]
    """Stored values ``(frames, rows, cols)``, before the rescale slope and intercept."""


def read_slice(path: Path) -> Slice:
    """Read a slice. Raises :class:`UsageError` for what is no grey DICOM image."""
    try:
        content = pydicom.dcmread(path)
        values = content.pixel_array
    except (InvalidDicomError, AttributeError, ValueError, NotImplementedError, RuntimeError, OSError) as error:
        raise UsageError(f"{path} is no DICOM image that can be read: {error}") from error
    if not str(content.PhotometricInterpretation).startswith("MONOCHROME"):
        raise UsageError(f"{path} has {content.PhotometricInterpretation} colours: slices are grey")
    if any(name in content for name in _BY_FRAME):
        raise UsageError(f"{path} says pixel spacing and position by frame: save each frame as a slice of its own")
    if values.dtype.itemsize > 2:
        raise UsageError(f"{path} has {content.BitsAllocated} bits a pixel: 8 or 16 are taken")
    return Slice(path, content, values.reshape(-1, *values.shape[-2:]))


def brightness_of(series: Sequence[Slice]) -> Brightness:
    """One range for all slices of a series, of the values that are stored."""
    low = min(float(one.values.min()) for one in series)
    high = max(float(one.values.max()) for one in series)
    return Brightness(low, high if high > low else low + 1)


def upscale_slice(one: Slice, upscaler: ImageUpscaler, brightness: Brightness, series_uid: str) -> FileDataset:
    """A slice on the finer grid.

    Rescale slope, intercept and window stay. Pixel spacing and the position of the first pixel's centre follow the
    grid; identifiers are new, and the image is marked as derived.
    """
    scale, made = upscaler.scale, pydicom.dcmread(one.path)
    values = np.stack([upscaler(frame[None], brightness)[0] for frame in one.values])
    made.Rows, made.Columns = values.shape[1:]
    made.PixelData = np.ascontiguousarray(values).tobytes()
    made["PixelData"].VR = "OW"
    made.BitsAllocated = values.dtype.itemsize * 8
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    _refine_grid(made, scale)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID = series_uid
    kind = list(made.get("ImageType", ["ORIGINAL", "PRIMARY"]))
    made.ImageType = ["DERIVED", "SECONDARY", *kind[2:]]
    model = upscaler.model.card.name
    made.DerivationDescription = f"Upscaled {scale} times by geosr {VERSION}, model {model}; detail is estimated"[:1024]
    made.SeriesDescription = f"{made.get('SeriesDescription', '')} upscaled, not for diagnosis".strip()[:64]
    for name in _OF_THE_PIXELS:
        if name in made:
            delattr(made, name)
    for element in list(made):
        if element.tag.group in _OVERLAYS:
            del made[element.tag]
    return made


def write_slice(content: FileDataset, path: Path) -> None:
    """Write a slice; the file is in its place whole, or not at all. Raises :class:`tiling.TilingError`."""
    memory = io.BytesIO()
    content.save_as(memory, enforce_file_format=True)
    tiling.write(path, [memory.getvalue()])


def _refine_grid(made: FileDataset, scale: int) -> None:
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if name in made:
            setattr(made, name, [float(side) / scale for side in getattr(made, name)])
    if {"ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"} <= set(made.dir()):
        # The corner of the first pixel stays where it is, so that its centre moves towards it.
        down, right = (float(side) for side in made.PixelSpacing)
        along = np.array(made.ImageOrientationPatient, dtype=float).reshape(2, 3)
        inwards = (scale - 1) / 2
        moved = np.array(made.ImagePositionPatient, dtype=float) - inwards * (along[0] * right + along[1] * down)
        made.ImagePositionPatient = [round(float(place), 6) for place in moved]
