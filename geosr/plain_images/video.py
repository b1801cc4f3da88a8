"""Videos, frame by frame: rate and sound stay, and what is done when a run is interrupted is kept.

Frames are encoded in pieces of a second or two. A piece is a file of its own in a folder beside the output until all
are there; then they are put together with the times of the source's frames and its sound.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

import tiling
from geosr.errors import ExistsError, ResumeError, UsageError
from geosr.plain_images.upscale import Brightness, ImageUpscaler
from geosr.progress import Reporter
from geosr.version import VERSION

#: Endings of files that are written.
ENDINGS = (".mp4", ".mkv", ".mov")

#: Frames of a piece.
PIECE_FRAMES = 48

#: Without frames that look ahead, packets come in the order of frames. One thread gives the same bytes each time.
_CODECS = {"libx264": {"crf": "18", "preset": "medium", "bf": "0", "threads": "1"}, "mpeg4": {"qscale": "2", "bf": "0"}}

_BRIGHTNESS = Brightness(0.0, 255.0)

#: BT.709 with the range of television, as FFmpeg numbers them.
_BT709, _TELEVISION = 1, 1


@dataclass(frozen=True)
class _Identity:
    """Everything that decides the pieces' bytes."""

    source: str
    bytes: int
    modified_ns: int
    model: str
    digest: str
    engine: str
    software: str
    piece_frames: int


def upscale_video(
    source: Path, output: Path, upscaler: ImageUpscaler, reporter: Reporter, *, overwrite: bool = False
) -> int:
    """Upscale a video; the same call goes on where an interrupted one was.

    Parameters
    ----------
    source
        Video that FFmpeg reads.
    output
        Path of the result: ``.mp4``, ``.mkv`` or ``.mov``.
    upscaler
        Model.
    reporter
        Listener.
    overwrite
        Replace a file that is in the way.

    Returns
    -------
    int
        Number of frames.

    Raises
    ------
    UsageError
        The source is no video, or the output no form that is written.
    ExistsError
        The output exists.
    ResumeError
        What an interrupted run left is of another source or model.
    tiling.TilingError
        Something cannot be written.

    """
    if output.suffix.lower() not in ENDINGS:
        raise UsageError(f"the output {output} has to be a video: name it {', '.join(ENDINGS)}")
    if output.exists() and source.exists() and output.samefile(source):
        raise ExistsError(f"writing {output} would replace the source itself: write to another file")
    if output.exists() and not overwrite:
        raise ExistsError(f"{output} exists: --overwrite replaces it")
    folder = output.with_name(f"{output.name}.geosr")
    try:
        times = _times(source)
        _open_folder(folder, _identity(source, upscaler))
        _make_pieces(source, folder, len(times), upscaler, reporter)
        reporter.stage("joining the pieces and the sound")
        joined = folder / f"joined{output.suffix.lower()}"
        _join(source, _pieces(folder, len(times)), joined, times)
    except FFmpegError as error:
        raise UsageError(f"{source} is no video that can be read and written: {error}") from error
    finally:
        reporter.end()
    tiling.move(joined, output)
    shutil.rmtree(folder)
    return len(times)


def _identity(source: Path, upscaler: ImageUpscaler) -> _Identity:
    told = source.stat()
    card, engine = upscaler.model.card, upscaler.engine.for_card(upscaler.model.card)
    return _Identity(
        str(source.resolve()),
        told.st_size,
        told.st_mtime_ns,
        card.name,
        card.digest_in(engine.precision),
        str(engine),
        VERSION,
        PIECE_FRAMES,
    )


def _open_folder(folder: Path, identity: _Identity) -> None:
    ledger, content = folder / "run.json", json.dumps(asdict(identity), indent=2)
    if folder.exists():
        if not ledger.exists() or ledger.read_text(encoding="utf-8") != content:
            raise ResumeError(f"{folder} is of another source, model or engine: delete it to begin anew")
        return
    folder.mkdir()
    tiling.write(ledger, [content.encode()])


def _times(source: Path) -> list[int]:
    """Presentation times of all frames, in units of the stream's time base."""
    with av.open(str(source)) as container:
        if not container.streams.video:
            raise UsageError(f"{source} has no video stream")
        found = [frame.pts for frame in container.decode(video=0)]
    times = [one for one in found if one is not None]
    if not found:
        raise UsageError(f"{source} has no frames")
    if len(times) < len(found) or sorted(set(times)) != times:
        raise UsageError(f"{source} has frames without a time of their own: convert it first, ffmpeg -i IN OUT.mp4")
    return times


def _pieces(folder: Path, frames: int) -> list[Path]:
    return [folder / f"{first:08d}.mkv" for first in range(0, frames, PIECE_FRAMES)]


def _make_pieces(source: Path, folder: Path, frames: int, upscaler: ImageUpscaler, reporter: Reporter) -> None:
    pieces, aspect = _pieces(folder, frames), _pixel_aspect(source)
    done = sum(piece.exists() for piece in pieces)
    for number, (piece, images) in enumerate(
        zip(pieces, _groups(source, upscaler, pieces, reporter, done), strict=True)
    ):
        if images is not None:
            part = piece.with_suffix(".part.mkv")
            _encode(images, part, aspect)
            part.replace(piece)
            reporter.chunk(piece.stem, sum(one.exists() for one in pieces[: number + 1]), len(pieces))


def _groups(
    source: Path, upscaler: ImageUpscaler, pieces: list[Path], reporter: Reporter, done: int
) -> Iterator[Iterator[NDArray[np.uint8]] | None]:
    """Upscaled frames of each piece; None for a piece that is there."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        reporter.begin(f"upscaling {len(pieces)} pieces of {PIECE_FRAMES} frames", len(pieces), done, 0)
        decoded = container.decode(stream)
        for piece in pieces:
            if piece.exists():
                for _ in zip(range(PIECE_FRAMES), decoded, strict=False):
                    # Frames refer to those before them: they are decoded, and passed over.
                    pass
                yield None
            else:
                yield (
                    upscaler(_upright(one), _BRIGHTNESS) for _, one in zip(range(PIECE_FRAMES), decoded, strict=False)
                )


def _upright(frame: Any) -> NDArray[np.uint8]:
    """Red, green and blue ``(3, rows, cols)``, turned as players turn it."""
    colours = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.moveaxis(np.rot90(colours, _turns(frame)), -1, 0))


def _turns(frame: Any) -> int:
    """Quarter turns, against the clock, by which players show a frame."""
    return round(float(frame.rotation) / 90)


def _pixel_aspect(source: Path) -> Fraction:
    """Width of a pixel by its height, in upright frames."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        aspect = stream.sample_aspect_ratio or Fraction(1)
        return 1 / aspect if _turns(next(container.decode(stream))) % 2 else aspect


def _codec() -> str:
    return next(name for name in _CODECS if name in av.codecs_available)


def _encode(images: Iterator[NDArray[np.uint8]], piece: Path, aspect: Fraction) -> None:
    with av.open(str(piece), "w") as container:
        stream: Any = None
        for number, image in enumerate(images):
            if stream is None:
                stream = container.add_stream(_codec(), rate=25, options=_CODECS[_codec()])
                # 4:2:0 has one colour for two rows and columns; four times any number is even.
                stream.height, stream.width, stream.pix_fmt = *image.shape[1:], "yuv420p"
                context = stream.codec_context
                context.colorspace = context.color_primaries = context.color_trc = _BT709
                context.color_range = _TELEVISION
                context.sample_aspect_ratio = aspect
            frame: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.moveaxis(image, 0, -1)), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            frame.pts = number
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))


def _join(source: Path, pieces: list[Path], joined: Path, times: list[int]) -> None:
    """Put the pieces' packets at the times of the source's frames, and its sound beside them."""
    original: Any
    container: Any
    with av.open(str(source)) as original, av.open(str(joined), "w") as container:
        with av.open(str(pieces[0])) as first:
            video = container.add_stream_from_template(first.streams.video[0])
        base = original.streams.video[0].time_base
        video.time_base = base
        durations = _durations(times, original.streams.video[0])
        sounds = {one.index: container.add_stream_from_template(one) for one in original.streams.audio}
        waiting = _sound(original, sounds)
        sound = next(waiting, None)
        number = 0
        for piece in pieces:
            opened: Any
            with av.open(str(piece)) as opened:
                for packet in opened.demux(video=0):
                    if packet.size == 0:
                        continue
                    packet.pts = packet.dts = times[number]
                    packet.duration = durations[number]
                    packet.time_base, packet.stream = base, video
                    while sound is not None and sound.dts * sound.time_base <= times[number] * base:
                        _mux(container, sound, sounds)
                        sound = next(waiting, None)
                    container.mux(packet)
                    number += 1
        while sound is not None:
            _mux(container, sound, sounds)
            sound = next(waiting, None)


def _durations(times: list[int], stream: Any) -> list[int]:
    """Durations of frames in units of the stream's time base; the last has that of the one before it."""
    between = [after - before for before, after in pairwise(times)]
    alone = round(1 / (stream.average_rate * stream.time_base)) if stream.average_rate else 0
    return [*between, between[-1] if between else alone]


def _sound(original: Any, sounds: dict[int, Any]) -> Iterator[Any]:
    if sounds:
        yield from (packet for packet in original.demux(*original.streams.audio) if packet.dts is not None)


def _mux(container: Any, packet: Any, sounds: dict[int, Any]) -> None:
    packet.stream = sounds[packet.stream.index]
    container.mux(packet)
