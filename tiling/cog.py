"""Assembly of chunk files into one Cloud-Optimized GeoTIFF.

Blocks that chunks have encoded are copied; the others, mostly those of small overviews, are made from them. Memory is
bounded by a few blocks whatever the size of the output. The output is written from its first byte to its last, on a
disk or into storage.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from tiling.chunks import ChunkFile
from tiling.encode import encode, fields_of
from tiling.errors import DamagedChunkError, DiskFullError, OutputError
from tiling.integrity import check_blocks
from tiling.locations import Location, gdal_path
from tiling.overviews import halve, level_shapes
from tiling.plan import Chunk, ChunkPlan
from tiling.product import BLOCK_PX, Product
from tiling.storage import Occupant, explained, read_range, write
from tiling.tiff import ENVELOPE, ImageLayout, block_order, checksum, enveloped, lay_out, overview_fields

Item = TypeVar("Item")
Output = TypeVar("Output")

#: Disk that an output takes, per byte of its chunks: it has their blocks, and those of the small overviews.
_GROWTH = 1.1

#: Reads under way while a COG is written, and blocks being made, per thread.
_AHEAD = 4

#: Who has a block: a chunk, by number, or one of these.
_NOBODY, _SPOOL = -2, -1

#: GDAL's cache of decoded blocks, bytes, which is the unit of rasterio's GDAL_CACHEMAX: overviews of neighbouring
#: chunks are read once.
_CACHE_BYTES = 64 * 2**20


def mosaic(
    plan: ChunkPlan,
    files: Mapping[str, ChunkFile],
    product: Product,
    output: Location,
    work: Location,
    threads: int = 1,
    *,
    expected: Occupant | None = None,
) -> None:
    """Join chunk files into one COG, which appears complete or not at all.

    Overviews are averages that ignore nodata. The bytes depend only on pixels and product, not on the chunks.
    Everything that is copied is verified against its checksums. The chunk files stay as they are.

    Parameters
    ----------
    plan
        Plan of the chunks.
    files
        Chunk files by chunk key.
    product
        Type, bands, tags and compression.
    output
        Location of the COG.
    work
        Folder for temporary data on the same file system or in the same storage; nothing remains there.
    threads
        Threads that make blocks.
    expected
        What :func:`tiling.occupant` found at ``output`` before, which alone is replaced; None for anything.

    Raises
    ------
    DamagedChunkError
        Blocks of a chunk are not as they were written.
    DiskFullError
        The COG does not fit on the disk.
    OccupiedError
        Another file has appeared at ``output``.
    OutputError
        The COG cannot be written.

    """
    disk = work if isinstance(work, Path) else None
    if disk is not None:
        _check_space(files, disk)
    with explained(output), tempfile.TemporaryFile(dir=disk) as spool:
        blocks = _Blocks(plan, files, product, spool)
        blocks.complete(threads)
        shapes = level_shapes(plan.geobox.shape)
        fields = fields_of(product, plan.geobox, product.tags)
        every = [fields, *(overview_fields(fields, width=shape.x, height=shape.y) for shape in shapes[1:])]
        header, _ = lay_out(list(map(ImageLayout, every, blocks.sizes, blocks.checksums)))
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="read") as pool:
            parts = _ahead(pool, lambda run: run(), blocks.runs(), _AHEAD)
            draft = None if disk is None else disk / "mosaic.tif"
            write(output, _chain(header, parts), draft=draft, cached=False, expected=expected)


class _Blocks:
    """Every block of the output, at every level: who has it, where, how large it is, and its checksum."""

    def __init__(self, plan: ChunkPlan, files: Mapping[str, ChunkFile], product: Product, spool: IO[bytes]) -> None:
        self._chunks = list(plan)
        self._plan = plan
        self._files = [files[chunk.key] for chunk in self._chunks]
        #: The highest level of which every chunk has its part.
        self._kept = min(len(file.images) for file in self._files) - 1
        self._product = product
        self._spool = spool
        self._spooled = 0
        self._lock = threading.Lock()
        self._shapes = level_shapes(plan.geobox.shape)
        counts = [(-(-shape.y // BLOCK_PX), -(-shape.x // BLOCK_PX)) for shape in self._shapes]
        self.owners = [np.full(count, _NOBODY, dtype=np.int64) for count in counts]
        self.offsets = [np.zeros(count, dtype=np.int64) for count in counts]
        self.sizes = [np.zeros(count, dtype=np.int64) for count in counts]
        self.checksums = [np.zeros(count, dtype=np.int64) for count in counts]
        #: Chunks' images, by number and level, whose blocks were held against their checksums before GDAL reads them.
        self._checked: set[tuple[int, int]] = set()
        if plan.aligned:
            for number, chunk in enumerate(self._chunks):
                self._adopt(number, chunk)

    def _adopt(self, number: int, chunk: Chunk) -> None:
        """Take over the blocks that a chunk has encoded."""
        for level, image in enumerate(self._files[number].images[: self._plan.own_overviews + 1]):
            top, left = (start // 2**level // BLOCK_PX for start in (chunk.out.row_off, chunk.out.col_off))
            rows, cols = image.sizes.shape
            where = (slice(top, top + rows), slice(left, left + cols))
            self.owners[level][where] = number
            self.offsets[level][where] = image.offsets
            self.sizes[level][where] = image.sizes
            self.checksums[level][where] = image.checksums

    def complete(self, threads: int) -> None:
        """Make what no chunk has."""
        top = len(self._shapes) - 1
        lowest = self._plan.own_overviews + 1 if self._plan.aligned else 0
        if lowest > top:
            return
        # Threads share the work at a level that has enough blocks; what is above is made of theirs.
        levels = range(top, lowest - 1, -1)
        split = next((level for level in levels if self.owners[level].size >= _AHEAD * threads), lowest)
        wanted = [(split, row, col) for row, col in np.ndindex(*self.owners[split].shape)]
        made: dict[tuple[int, int, int], NDArray[Any]] = {}
        with ThreadPoolExecutor(threads, thread_name_prefix="overviews") as pool:
            results = _ahead(pool, lambda block: self._make(*block, {}), wanted, _AHEAD * threads)
            for block, pixels in zip(wanted, results, strict=True):
                # Those of a level this small that is not the top fit into memory; of a single level none is needed.
                if split < top:
                    made[block] = pixels
        if split < top:
            for row, col in np.ndindex(*self.owners[top].shape):
                self._make(top, row, col, made)

    def _make(self, level: int, row: int, col: int, made: Mapping[tuple[int, int, int], NDArray[Any]]) -> NDArray[Any]:
        """The pixels of a block, which is encoded if nobody has it, and so are those below it."""
        if (level, row, col) in made:
            return made[level, row, col]
        if self.owners[level][row, col] >= 0:
            return self._read(level, row, col)
        if level <= self._kept:
            pixels = self._compose(level, row, col)
        else:
            below = self._shapes[level - 1]
            side = 2 * BLOCK_PX
            height, width = min(side, below.y - row * side), min(side, below.x - col * side)
            canvas = np.empty((self._product.bands, height, width), dtype=self._product.dtype)
            for i in range(-(-height // BLOCK_PX)):
                for j in range(-(-width // BLOCK_PX)):
                    block = self._make(level - 1, 2 * row + i, 2 * col + j, made)
                    y, x = i * BLOCK_PX, j * BLOCK_PX
                    canvas[:, y : y + block.shape[1], x : x + block.shape[2]] = block
            pixels = halve(canvas, self._product.overview_nodata)
        self._keep(level, row, col, encode(pixels, self._product)[0])
        return pixels

    def _keep(self, level: int, row: int, col: int, block: bytes) -> None:
        content = b"".join(enveloped(block))
        with self._lock:
            self._spool.seek(self._spooled)
            self._spool.write(content)
            self.owners[level][row, col] = _SPOOL
            self.offsets[level][row, col] = self._spooled + ENVELOPE
            self.sizes[level][row, col] = len(block)
            self.checksums[level][row, col] = checksum(block)
            self._spooled += len(content)

    def _read(self, level: int, row: int, col: int) -> NDArray[Any]:
        """Pixels of a block that a chunk has."""
        number = int(self.owners[level][row, col])
        out, shape = self._chunks[number].out, self._shapes[level]
        top, left = (row * BLOCK_PX, col * BLOCK_PX)
        window = Window(
            left - out.col_off // 2**level,
            top - out.row_off // 2**level,
            min(BLOCK_PX, shape.x - left),
            min(BLOCK_PX, shape.y - top),
        )
        return self._read_window(number, level, window)

    def _compose(self, level: int, row: int, col: int) -> NDArray[Any]:
        """Pixels of a block from the chunks that it lies in."""
        shape = self._shapes[level]
        top, left = row * BLOCK_PX, col * BLOCK_PX
        bottom, right = min(top + BLOCK_PX, shape.y), min(left + BLOCK_PX, shape.x)
        pixels = np.empty((self._product.bands, bottom - top, right - left), dtype=self._product.dtype)
        side = self._plan.core_px * self._plan.scale // 2**level
        for i in range(top // side, -(-bottom // side)):
            for j in range(left // side, -(-right // side)):
                y0, x0 = max(top, i * side), max(left, j * side)
                y1, x1 = min(bottom, (i + 1) * side), min(right, (j + 1) * side)
                window = Window(x0 - j * side, y0 - i * side, x1 - x0, y1 - y0)
                pixels[:, y0 - top : y1 - top, x0 - left : x1 - left] = self._read_window(
                    i * self._plan.cols + j, level, window
                )
        return pixels

    def _read_window(self, number: int, level: int, window: Window) -> NDArray[Any]:
        file = self._files[number]
        # Two threads may check one image at once; neither reads what is not checked.
        if (number, level) not in self._checked:
            _check_image(file, level)
            self._checked.add((number, level))
        return _read_window(file, level, window)

    def runs(self) -> Iterator[Callable[[], bytes]]:
        """Yield functions that each read a run of consecutive blocks, in their envelopes, in the order of the file."""
        for level in block_order(len(self._shapes)):
            rows = zip(self.owners[level], self.offsets[level], self.sizes[level], self.checksums[level], strict=True)
            for owners, offsets, sizes, checksums in rows:
                ends = offsets + sizes + 2 * ENVELOPE
                breaks = np.flatnonzero((owners[1:] != owners[:-1]) | (offsets[1:] != ends[:-1])) + 1
                for first, last in zip([0, *breaks], [*breaks - 1, len(owners) - 1], strict=True):
                    run = slice(first, last + 1)
                    start = int(offsets[first]) - ENVELOPE
                    yield self._reader(int(owners[first]), start, sizes[run].tolist(), checksums[run].tolist())

    def _reader(self, owner: int, start: int, sizes: list[int], checksums: list[int]) -> Callable[[], bytes]:
        stop = start + sum(sizes) + 2 * ENVELOPE * len(sizes)

        def read() -> bytes:
            if owner == _SPOOL:
                with self._lock:
                    self._spool.seek(start)
                    content = self._spool.read(stop - start)
            else:
                content = read_range(self._files[owner].path, start, stop)
            if not check_blocks(content, sizes, checksums):
                return content
            if owner == _SPOOL:
                raise OutputError("overviews that were written to the disk a moment ago are read back damaged")
            raise DamagedChunkError(self._files[owner].path)

        return read


def _check_image(file: ChunkFile, level: int) -> None:
    """Hold the blocks of one image of a chunk's file against their checksums. Raises :class:`DamagedChunkError`."""
    image = file.images[level]
    for offsets, sizes, checksums in zip(image.offsets, image.sizes, image.checksums, strict=True):
        # The blocks of a row follow one another.
        start, stop = int(offsets[0]) - ENVELOPE, int(offsets[-1] + sizes[-1]) + ENVELOPE
        if check_blocks(read_range(file.path, start, stop), sizes.tolist(), checksums.tolist()):
            raise DamagedChunkError(file.path)


def _read_window(file: ChunkFile, level: int, window: Window) -> NDArray[Any]:
    options = {} if level == 0 else {"overview_level": level - 1}
    try:
        with (
            rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES, GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
            rasterio.open(gdal_path(file.path), **options) as raster,
        ):
            pixels: NDArray[Any] = raster.read(window=window)
    except RasterioError as error:
        raise DamagedChunkError(file.path) from error
    return pixels


def _ahead(
    pool: ThreadPoolExecutor, make: Callable[[Item], Output], items: Iterable[Item], most: int
) -> Iterator[Output]:
    """Results in order, of which at most so many are being made, or wait, at a time."""
    waiting: deque[Future[Output]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _chain(header: bytes, parts: Iterator[bytes]) -> Iterator[bytes]:
    yield header
    yield from parts


def _check_space(files: Mapping[str, ChunkFile], work: Path) -> None:
    needed = _GROWTH * sum(file.path.stat().st_size for file in files.values())
    free = shutil.disk_usage(work).free
    if free < needed:
        raise DiskFullError(
            "no space left to assemble the output: "
            f"it takes about {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free"
        )
