"""Files of plain images, upscaled to files of the same kind, alone or as a series with one scale of brightness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geosr.errors import ExistsError, UsageError
from geosr.model.zoo import ModelRef
from geosr.plain_images import files
from geosr.plain_images.upscale import Brightness, ImageUpscaler
from geosr.progress import Reporter
from tiling import OutputError

_DICOM = ".dcm"

#: A DICOM file has these bytes after 128 others.
_MAGIC, _MAGIC_AT = b"DICM", 128

#: Interpolation by which transparency is upscaled: detail of a network's would be a fringe.
_OF_ALPHA = ModelRef("bicubic")


@dataclass(frozen=True)
class ImageJob:
    """Images to be upscaled, and the places of the results."""

    sources: tuple[Path, ...]
    outputs: tuple[Path, ...]
    slices: bool
    """True for DICOM."""

    @classmethod
    def of(cls, named: Sequence[Path], output: Path, *, overwrite: bool = False) -> ImageJob:
        """Plan a conversion; nothing is written.

        Parameters
        ----------
        named
            Files, or folders whose images are taken.
        output
            A file for one image; a folder for several, in which each has its source's name.
        overwrite
            Replace files that are in the way.

        Returns
        -------
        ImageJob
            Sources and outputs.

        Raises
        ------
        UsageError
            There is no image, kinds are mixed, or names do not fit.
        ExistsError
            An output exists, or is a source.
        tiling.OutputError
            The folder of the output does not exist.

        """
        sources = [one for path in named for one in _images_of(path)]
        if not sources:
            raise UsageError(f"{named[0]} has no images: {', '.join(files.ENDINGS)} or DICOM")
        kinds = {_is_dicom(one) for one in sources}
        if len(kinds) > 1:
            raise UsageError("DICOM slices and other images are series of their own: upscale them one after the other")
        (slices,) = kinds
        alone = len(sources) == 1 and not named[0].is_dir() and not output.is_dir() and bool(output.suffix)
        outputs = [output] if alone else [output / _name_of(one, slices=slices) for one in sources]
        if not output.parent.is_dir():
            raise OutputError(f"cannot write {output}: the folder {output.parent} does not exist")
        _check_outputs(sources, outputs, slices=slices, overwrite=overwrite)
        return cls(tuple(sources), tuple(outputs), slices)


def upscale_images(
    job: ImageJob, upscaler: ImageUpscaler, reporter: Reporter, *, full_scale: int | None = None
) -> list[Path]:
    """Upscale images, one after the other.

    Parameters
    ----------
    job
        Sources and outputs.
    upscaler
        Model.
    reporter
        Listener.
    full_scale
        Value that is white, for all images; None for 255 of 8 bits, and of 16 bits for the bits that the whole series
        uses. Slices have the range of their series.

    Returns
    -------
    list of Path
        The outputs.

    Raises
    ------
    UsageError
        A file is no image that can be upscaled, or its result no image that can be written.
    tiling.TilingError
        An output cannot be written.

    """
    folder, pixels = job.outputs[0].parent, len(job.sources)
    made = not folder.is_dir()
    folder.mkdir(exist_ok=True)
    reporter.begin(f"upscaling {pixels} {'image' if pixels == 1 else 'images'}", pixels, 0, 0)
    try:
        (_slices if job.slices else _photographs)(job, upscaler, reporter, full_scale)
    except BaseException:
        if made and not any(folder.iterdir()):
            folder.rmdir()
        raise
    finally:
        reporter.end()
    return list(job.outputs)


def _photographs(job: ImageJob, upscaler: ImageUpscaler, reporter: Reporter, full_scale: int | None) -> None:
    bits = max(files.bits_in_use(files.read_image(one).pixels) for one in job.sources)
    if bits > 8:
        white = 2**bits - 1 if full_scale is None else full_scale
        reporter.note(f"white is {white}" + ("" if full_scale is not None else ": --full-scale names another value"))
    interpolation = replace(upscaler, model=_OF_ALPHA)
    for number, (source, output) in enumerate(zip(job.sources, job.outputs, strict=True), start=1):
        image = files.read_image(source)
        own = 8 if image.pixels.dtype == np.uint8 else bits
        brightness = Brightness.of_bits(own) if full_scale is None else Brightness(0.0, float(full_scale))
        if image.pixels.max(initial=0) > brightness.white:
            raise UsageError(
                f"{source} has values up to {image.pixels.max()}, above --full-scale {full_scale}: give one that is "
                "at least as large"
            )
        alpha = image.alpha
        if alpha is not None:
            # Opaque is all bits set, whatever is white.
            alpha = interpolation(alpha[None], Brightness.of_bits(alpha.dtype.itemsize * 8))[0]
        made = replace(image, pixels=upscaler(image.pixels, brightness), alpha=alpha)
        files.write_image(made, output)
        reporter.chunk(source.name, number, len(job.sources))


def _slices(job: ImageJob, upscaler: ImageUpscaler, reporter: Reporter, full_scale: int | None) -> None:
    try:
        from pydicom.uid import generate_uid

        from geosr.plain_images import slices
    except ImportError as error:
        raise UsageError("DICOM needs the extra [medical]: pip install 'geosr[medical]'") from error

    if full_scale is not None:
        raise UsageError("--full-scale is for other images: DICOM slices keep their values, and their rescale tags")
    reporter.note(slices.NOTE)
    series = [slices.read_slice(one) for one in job.sources]
    brightness, uids = slices.brightness_of(series), {one.content.get("SeriesInstanceUID"): "" for one in series}
    uids = {uid: generate_uid() for uid in uids}
    for number, (one, output) in enumerate(zip(series, job.outputs, strict=True), start=1):
        made = slices.upscale_slice(one, upscaler, brightness, uids[one.content.get("SeriesInstanceUID")])
        slices.write_slice(made, output)
        reporter.chunk(one.path.name, number, len(series))


def _images_of(path: Path) -> list[Path]:
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    if not path.is_dir():
        return [path]
    inside = sorted(one for one in path.iterdir() if one.is_file())
    return [one for one in inside if one.suffix.lower() in files.ENDINGS or _is_dicom(one)]


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() == _DICOM:
        return True
    with path.open("rb") as file:
        file.seek(_MAGIC_AT)
        return file.read(len(_MAGIC)) == _MAGIC


def _name_of(source: Path, *, slices: bool) -> str:
    if slices:
        return source.name
    return source.name if source.suffix.lower() in files.DRIVERS else f"{source.stem}.png"


def _check_outputs(sources: Sequence[Path], outputs: Sequence[Path], *, slices: bool, overwrite: bool) -> None:
    for name, count in Counter(outputs).items():
        if count > 1:
            raise UsageError(f"{count} images would become {name}: upscale them into folders of their own")
    for source, output in zip(sources, outputs, strict=True):
        if not slices and output.suffix.lower() not in files.DRIVERS:
            raise UsageError(f"the output {output} has to be an image: name it {', '.join(files.DRIVERS)}")
        if slices and output.suffix.lower() not in (_DICOM, "", source.suffix.lower()):
            raise UsageError(f"the output {output} has to be a DICOM slice, as its source is: name it {_DICOM}")
        if output.exists() and any(output.samefile(one) for one in sources):
            raise ExistsError(f"writing {output} would replace the source itself: write to another place")
        if output.exists() and not overwrite:
            raise ExistsError(f"{output} exists: --overwrite replaces it")
