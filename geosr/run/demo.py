"""The demonstration: the bundled Sentinel-2 sample, upscaled, with a before/after picture."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

from rasterio.windows import Window

from catalog import SceneRequest
from geosr.before_after import before_after
from geosr.errors import ExistsError
from geosr.model.zoo import ModelRef
from geosr.progress import Reporter
from geosr.run.pipeline import super_resolve
from geosr.run.publishing import Published
from geosr.run.request import UpscaleRequest
from tiling import OutputError, replacing

#: A part of the sample with fields, a road and houses, pixels.
_CROP = Window(0, 180, 110, 110)

_CAPTION = "Contains modified Copernicus Sentinel data. True location unpublished: placed on Null Island."


def run_demo(folder: Path, reporter: Reporter) -> tuple[Published, Path]:
    """Upscale the sample with the default model and with bicubic interpolation, and draw them side by side.

    Safe to run again: what is up to date is left alone.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
    with as_file(files("geosr") / "data" / "sample.tif") as bundled:
        sample = folder / "sample.tif"
        if not sample.exists():
            with replacing(sample) as temporary:
                temporary.write_bytes(bundled.read_bytes())
        elif sample.read_bytes() != bundled.read_bytes():
            raise ExistsError(f"{sample} is not the bundled sample: remove it, or name another folder")
    reporter.note(f"sample: {sample}; {_CAPTION}")
    request = UpscaleRequest(SceneRequest(str(sample)), folder / "sample_2.5m.tif", overwrite=True)
    published = super_resolve(request, reporter)
    plain = replace(request, output=folder / "sample_bicubic.tif", model=ModelRef("bicubic"))
    bicubic = super_resolve(plain, reporter)
    picture = before_after(
        sample,
        [("bicubic", bicubic.cog), ("geosr, 2.5 m", published.cog)],
        folder / "before_after.png",
        crop=_CROP,
        caption=_CAPTION,
    )
    return published, picture
