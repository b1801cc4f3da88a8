"""The commands ``geosr image`` and ``geosr video``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geosr.cli import options as opt
from geosr.cli.errors import errors
from geosr.cli.output import print_pairs
from geosr.cli.run_request import engine_of, model_of


def image(
    sources: Annotated[
        list[Path], typer.Argument(metavar="IMAGE…", help="PNG, JPEG, TIFF, WebP, GIF, BMP or DICOM files, or folders.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="Image (.png, .jpg, .tif), or folder for several.")
    ],
    full_scale: Annotated[
        int | None,
        typer.Option(
            "--full-scale",
            min=1,
            max=65535,
            metavar="VALUE",
            help="Value that is white, in all images.",
            show_default="255; of 16 bits, the bits that the series uses",
        ),
    ] = None,
    model: opt.Model = None,
    sharpness: opt.Sharpness = 0.0,
    engine: opt.Engine = None,
    device: opt.Device = None,
    precision: opt.Precision = None,
    overwrite: opt.Overwrite = False,
    quiet: opt.Quiet = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Upscale photographs, scans or slices four times, into files of their own kind.

    Colour profile, transparency and orientation are kept. Scenes with a place on Earth are for geosr upscale.
    """
    with errors(debug):
        from geosr.plain_images.convert import ImageJob, upscale_images
        from geosr.plain_images.upscale import ImageUpscaler
        from geosr.progress import reporter_for

        job = ImageJob.of(sources, output, overwrite=overwrite)
        upscaler = ImageUpscaler(model_of(model, sharpness), engine_of(engine, device, precision))
        reporter = reporter_for(as_json=as_json, quiet=quiet)
        made = upscale_images(job, upscaler, reporter, full_scale=full_scale)
        print_pairs({"images": len(made), "output": str(output)}, as_json=as_json)


def video(
    source: Annotated[Path, typer.Argument(metavar="VIDEO", help="Video that FFmpeg reads.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.mp4", help="Video to write: .mp4, .mkv or .mov.")
    ],
    model: opt.Model = None,
    sharpness: opt.Sharpness = 0.0,
    engine: opt.Engine = None,
    device: opt.Device = None,
    precision: opt.Precision = None,
    overwrite: opt.Overwrite = False,
    quiet: opt.Quiet = False,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Upscale a video four times, frame by frame; rate and sound are kept.

    Interrupted, the same command goes on where it was.
    """
    with errors(debug):
        from geosr.errors import UsageError
        from geosr.plain_images.upscale import ImageUpscaler
        from geosr.progress import reporter_for

        try:
            from geosr.plain_images.video import upscale_video
        except ImportError as error:
            raise UsageError("videos need the extra [video]: pip install 'geosr[video]'") from error
        if not source.is_file():
            raise UsageError(f"{source} is no file")
        upscaler = ImageUpscaler(model_of(model, sharpness), engine_of(engine, device, precision))
        reporter = reporter_for(as_json=as_json, quiet=quiet)
        frames = upscale_video(source, output, upscaler, reporter, overwrite=overwrite)
        print_pairs({"frames": frames, "output": str(output)}, as_json=as_json)
