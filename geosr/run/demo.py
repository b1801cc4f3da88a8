"""The demonstration: the bundled Sentinel-2 sample, upscaled, with a before/after picture."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from rasterio.windows import Window

from catalog import SceneRequest
from geosr.before_after import before_after
from geosr.errors import ExistsError
from geosr.progress import Reporter
from geosr.run.pipeline import UpscaleRequest, super_resolve
from geosr.run.product import Published
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
    plain = UpscaleRequest(SceneRequest(str(sample)), folder / "sample_bicubic.tif", model="bicubic", overwrite=True)
    bicubic = super_resolve(plain, reporter)
    picture = before_after(
        sample,
        [("bicubic", bicubic.cog), ("geosr, 2.5 m", published.cog)],
        folder / "before_after.png",
        crop=_CROP,
        caption=_CAPTION,
    )
    return published, picture
