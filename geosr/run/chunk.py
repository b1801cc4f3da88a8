"""One chunk of a run: read, upscaled, written. Each step can run anywhere, and all three at the same time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import tiling
from catalog.fills import stray_fills
from geosr import hardware
from geosr.engine import Parallel
from geosr.engine.buffers import BufferPool
from geosr.inference.quantize import RowSink
from geosr.inference.upscaled_window import WindowReport
from geosr.inference.upscaler import Upscaler, upscaler_of
from geosr.run.checkpoint import RUN, chunk_path
from geosr.run.product import DATES
from geosr.run.uncertainty_layers import HALF_WIDTH, WEIGHTS, OutputLayer
from geosr.run.upscale_run import Run
from geosr.run.weights_layer import stored_weights
from tiling import BLOCK_PX, Chunk, Content, Location

if TYPE_CHECKING:
    # PyTorch is loaded where dates are fused.
    from geosr.codegen.tiff_blocks import Blocks
    from geosr.run.fused_chunk import DatedWindows, FusedReport

_memory = BufferPool()


@dataclass(frozen=True)
class ChunkJob:
    """All that computing chunks needs, in any process."""

    run: Run
    folder: Location
    """Folder of the chunks."""
    digest: str
    """Digest of the run, which chunks carry: a worker may be late, and another run have its folder."""
    parallel: Parallel = field(default_factory=Parallel)


@dataclass(frozen=True)
class ChunkInput:
    """Pixels of the scene that a chunk needs."""

    chunk: Chunk
    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    notes: tuple[str, ...] = ()
    """Messages on values that may be no measurement."""
    dated: DatedWindows | None = None
    """Pixels of several dates around the chunk, whose pixels are then of their window with its margin; None where no
    further date was measured."""


@dataclass(frozen=True)
class EncodedChunk:
    """Files of a chunk, encoded: the product's file comes last, for it says that the chunk is finished."""

    chunk: Chunk
    files: tuple[tuple[Location, Sequence[Content]], ...]
    note: str | None
    """Warning for the user about how it was computed; in the product's file as well."""


@dataclass(frozen=True)
class FinishedChunk:
    """Result of one finished chunk."""

    key: str
    note: str | None = None


def read_part(job: ChunkJob, chunk: Chunk) -> ChunkInput:
    """The pixels that a chunk needs, mirrored at the scene's edges."""
    run, margin = job.run, upscaler_of(job.run.model, job.parallel).margin_px
    inner, others = chunk.core, None
    if run.dates is not None and run.fuses:
        from geosr.run.fused_chunk import dated_window

        around = dated_window(chunk.core, run.plan.extent.shape)
        others = run.dates.read(around)
        inner = chunk.core if others is None else around
    window = tiling.grow(inner, margin)
    pixels, valid = tiling.read_reflected(run.scene.reader.read, window, run.plan.extent.shape)
    notes = tuple(stray_fills(run.scene, pixels, valid))
    dated = None
    if others is not None:
        from geosr.run.fused_chunk import DatedWindows

        inside = (slice(None), *(slice(margin, side - margin) for side in pixels.shape[1:]))
        all_dates = [(pixels[inside], _shared(valid[inside])), *((one, _shared(known)) for one, known in others)]
        dated = DatedWindows(inner, *zip(*all_dates, strict=True))
    return ChunkInput(chunk, pixels, _shared(valid), notes, dated)


def _shared(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A validity; several wait at a time, and what is the same everywhere takes no memory."""
    return np.broadcast_to(np.True_, valid.shape) if valid.all() else valid


def upscale_part(job: ChunkJob, part: ChunkInput) -> EncodedChunk:
    """Upscale and encode, each row of blocks when it is made."""
    run, upscaler = job.run, upscaler_of(job.run.model, job.parallel)
    out, overviews = part.chunk.out, run.plan.kept_overviews
    geobox = run.plan.geobox[out.toslices()]
    shape = (run.product.bands, out.height, out.width)
    encoder = tiling.ChunkEncoder(
        shape, run.product, overviews=overviews, allocate=_allocate, accelerator=_accelerator()
    )
    outside = None if run.clip is None else run.clip.outside(geobox)
    sink = _sink(encoder, run, outside)
    own, files = {RUN: job.digest}, []
    if part.dated is None:
        made: WindowReport = upscaler.stream_rows(
            part.pixels, part.valid, sink, rows=BLOCK_PX, uncertainty=run.uncertainty
        )
    else:
        made = fused = _fused(job, part, upscaler, sink)
        own[DATES] = json.dumps([fused.measured, fused.used])
    for layer in run.layers:
        pixels, path = _pixels_of(layer, job, part, made), chunk_path(job.folder, part.chunk, layer.name)
        if outside is not None:
            pixels = np.where(outside, pixels.dtype.type(layer.product.nodata), pixels)
        content = tiling.encode_chunk(
            pixels, geobox, layer.product, own, overviews=overviews, threads=job.parallel.threads
        )
        files.append((path, content))
    tags = {**own, "CONSISTENCY": json.dumps([made.consistency.count, made.consistency.absolute_dn])}
    note = "; ".join(filter(None, (*part.notes, made.note))) or None
    if note is not None:
        tags["NOTE"] = note
    files.append((chunk_path(job.folder, part.chunk), encoder.parts(geobox, tags)))
    return EncodedChunk(part.chunk, tuple(files), note)


def _pixels_of(layer: OutputLayer, job: ChunkJob, part: ChunkInput, made: WindowReport) -> NDArray[Any]:
    """Values of a chunk as a layer stores them, ``(bands, rows, cols)``."""
    run = job.run
    if layer.name == WEIGHTS:
        from geosr.run.fused_chunk import FusedReport

        assert run.dates is not None
        others, scale = len(run.dates.others), run.card.scale
        if isinstance(made, FusedReport):
            return stored_weights(made.weights, run.dates.used, others, made.valid, scale)
        margin = upscaler_of(run.model, job.parallel).margin_px
        inside = tuple(slice(margin, side - margin) for side in part.valid.shape[1:])
        return stored_weights(None, (), others, part.valid[:, *inside], scale)
    assert made.uncertainty is not None
    pixels = layer.pixels_of(made.uncertainty)
    return pixels[list(run.keep)] if run.keep is not None and layer.name == HALF_WIDTH else pixels


def _fused(job: ChunkJob, part: ChunkInput, upscaler: Upscaler, sink: RowSink) -> FusedReport:
    """Upscale the reference and correct it by the other dates."""
    from geosr.run.date_survey import fuser_of
    from geosr.run.fused_chunk import Fusion, stream_fused

    run, dates = job.run, job.run.dates
    assert dates is not None
    assert dates.survey is not None
    assert part.dated is not None
    calibration = None if run.uncertainty is None else run.uncertainty.calibration.dates
    fuser, threads = fuser_of(run.card, run.scene, dates.bands), job.parallel.threads
    fusion = Fusion(fuser, dates.survey, run.plan.area, threads, calibration)
    upscaled = upscaler(part.pixels, part.valid, uncertainty=run.uncertainty)
    return stream_fused(upscaled, part.dated, part.chunk.core, fusion, sink, BLOCK_PX)


def _sink(encoder: tiling.ChunkEncoder, run: Run, outside: NDArray[np.bool_] | None) -> RowSink:
    """Receiver of an image's rows, which are encoded with the bands to keep and nodata ``outside``."""
    if run.keep is None and outside is None:
        return encoder.add

    def add(first: int, rows: NDArray[Any]) -> None:
        # The rows are measured after this as they are.
        kept = rows if run.keep is None else rows[list(run.keep)]
        if outside is not None:
            kept = np.where(outside[first : first + rows.shape[1]], rows.dtype.type(run.product.nodata), kept)
        encoder.add(first, kept)

    return add


def _accelerator() -> Blocks | None:
    """Compiled code for the encoder, where this machine can run it."""
    if not hardware.has_native():
        return None
    from geosr.codegen.tiff_blocks import Blocks

    return Blocks()


def _allocate(name: str, size: int) -> NDArray[np.uint8]:
    """Memory for what becomes of a chunk, which another chunk had before it."""
    return _memory.borrow(name, (size,), np.uint8)


def write_encoded(encoded: EncodedChunk) -> FinishedChunk:
    """Write a chunk's files."""
    for path, parts in encoded.files:
        # A late worker of an earlier attempt may write the same chunk: each has a draft of its own.
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part") if isinstance(path, Path) else None
        tiling.write(path, parts, draft=draft)
    return FinishedChunk(encoded.chunk.key, encoded.note)
