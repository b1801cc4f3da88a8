"""Chunk files: a small COG per finished chunk, whose blocks are copied into the output.

If a plan's chunks are aligned to the output's blocks, a chunk's blocks are the output's blocks, and so are those of its
first overviews.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import unescape
from typing import Any, Protocol
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from tiling.accelerators import Accelerator
from tiling.encode import encode, fields_of
from tiling.errors import DamagedChunkError, OutputError, StorageError
from tiling.integrity import read_header
from tiling.locations import Content, Location
from tiling.overviews import halve
from tiling.product import BLOCK_PX, Product
from tiling.tiff import Image, ImageLayout, block_order, checksum, enveloped, lay_out, overview_fields

_METADATA = 42112


@dataclass(frozen=True)
class ChunkFile:
    """A chunk file and the contents of its header."""

    path: Location
    """Location of the file."""
    images: list[Image]
    """The image at full resolution, and its overviews."""
    tags: Mapping[str, str]
    """Metadata of the image."""


def encode_chunk(
    pixels: NDArray[Any],
    geobox: GeoBox,
    product: Product,
    tags: Mapping[str, str],
    *,
    overviews: int = 0,
    threads: int = 1,
) -> list[Content]:
    """Encode a chunk's file.

    Parameters
    ----------
    pixels
        ``(bands, rows, cols)``.
    geobox
        Grid of the pixels.
    product
        Type, bands and compression.
    tags
        Metadata to store with the pixels.
    overviews
        Number of overviews to add.
    threads
        Threads to encode with.

    Returns
    -------
    list[Content]
        Parts of the file, in order.

    """
    encoder = ChunkEncoder(pixels.shape, product, overviews=overviews)
    tops = range(0, pixels.shape[1], BLOCK_PX)
    with ThreadPoolExecutor(threads, thread_name_prefix="encode") as pool:
        list(pool.map(encoder.add, tops, (pixels[:, top : top + BLOCK_PX] for top in tops)))
    return encoder.parts(geobox, tags)


class Allocate(Protocol):
    """Function that lends memory of ``size`` bytes, reused under the same ``name``; it is returned automatically."""

    def __call__(self, name: str, size: int, /) -> NDArray[np.uint8]: ...


class ChunkEncoder:
    """Encoder of one chunk file: takes rows of blocks from any thread and keeps only the encoded blocks."""

    def __init__(
        self,
        shape: Sequence[int],
        product: Product,
        *,
        overviews: int = 0,
        allocate: Allocate | None = None,
        accelerator: Accelerator | None = None,
    ) -> None:
        """Prepare for ``shape`` ``(bands, rows, cols)`` with a number of overviews.

        Encoded blocks are stored one after another in memory from ``allocate``, as far as it is large enough. Separate
        memory per block would be requested from and returned to the system each time.
        """
        self._product, self._accelerator = product, accelerator
        self._allocate, self._scratch, self._used = allocate or _new_memory, memoryview(b""), 0
        # With all its overviews, an image is a third larger.
        self._most = math.prod(shape) * np.dtype(product.dtype).itemsize * 4 // 3
        _, rows, cols = shape
        sizes = [(rows, cols)]
        for _ in range(overviews):
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        self._sizes = sizes
        self._blocks = [[np.empty(0, object)] * -(-size[0] // BLOCK_PX) for size in sizes]
        self._checksums = [[np.empty(0, np.int64)] * -(-size[0] // BLOCK_PX) for size in sizes]
        #: By level and row: overviews' rows of blocks in the making, and how many of those below they still wait for.
        self._pairs: dict[tuple[int, int], NDArray[Any]] = {}
        self._missing: dict[tuple[int, int], int] = {}
        self._lock = threading.Lock()

    def add(self, top: int, pixels: NDArray[Any]) -> None:
        """Encode one row of blocks. Thread-safe.

        Parameters
        ----------
        top
            First row of the pixels, a multiple of the block size.
        pixels
            ``(bands, rows, cols)`` of the whole width, from the first row of the blocks to their last.

        """
        self._add(0, top // BLOCK_PX, pixels)

    def _add(self, level: int, row: int, pixels: NDArray[Any]) -> None:
        blocks = encode(pixels, self._product, self._accelerator)
        self._checksums[level][row] = np.asarray([checksum(block) for block in blocks], dtype=np.int64)
        self._blocks[level][row] = self._kept(blocks)
        if level + 1 == len(self._sizes):
            return
        # Rows of blocks are even, but for the last: two of them make one of the next level.
        above, bottom = row // 2, row % 2
        pair, half_rows = self._pair(level + 1, above), BLOCK_PX // 2
        place = pair[:, half_rows:] if bottom else pair[:, :half_rows]
        halve(pixels, self._product.overview_nodata, accelerator=self._accelerator, out=place)
        with self._lock:
            self._missing[level + 1, above] -= 1
            if self._missing[level + 1, above]:
                # Whoever comes with the other goes on with both.
                return
            del self._pairs[level + 1, above]
        self._add(level + 1, above, pair)

    def _pair(self, level: int, row: int) -> NDArray[Any]:
        """Return the memory in which a row of blocks of an overview is assembled."""
        with self._lock:
            if (level, row) not in self._pairs:
                rows, cols = self._sizes[level]
                shape = (self._product.bands, min(BLOCK_PX, rows - row * BLOCK_PX), cols)
                dtype = np.dtype(self._product.dtype)
                scratch = self._allocate(f"overview {level}", math.prod(shape) * dtype.itemsize)
                self._pairs[level, row] = scratch.view(dtype).reshape(shape)
                self._missing[level, row] = min(2, len(self._blocks[level - 1]) - 2 * row)
            return self._pairs[level, row]

    def _kept(self, blocks: NDArray[np.object_]) -> NDArray[np.object_]:
        with self._lock:
            if not self._scratch:
                self._scratch = self._allocate("blocks", self._most).data
            start = self._used
            self._used += int(_sizes(blocks).sum())
            if self._used > len(self._scratch):
                return blocks
        for number, block in enumerate(blocks):
            place = self._scratch[start : start + len(block)]
            place[:] = block
            blocks[number] = place
            start += len(block)
        return blocks

    def parts(self, geobox: GeoBox, tags: Mapping[str, str]) -> list[Content]:
        """Assemble the file after all rows have been added.

        Parameters
        ----------
        geobox
            Grid of the pixels.
        tags
            Metadata to store with the pixels.

        Returns
        -------
        list[Content]
            Parts of the file, in order.

        """
        fields = fields_of(self._product, geobox, tags)
        blocks = [np.stack(rows) for rows in self._blocks]
        levels = [
            ImageLayout(
                overview_fields(fields, height=height, width=width) if level else fields,
                _sizes(blocks[level]),
                np.stack(self._checksums[level]),
            )
            for level, (height, width) in enumerate(self._sizes)
        ]
        header, _ = lay_out(levels)
        ordered = (block for number in block_order(len(blocks)) for block in blocks[number].ravel())
        return [header, *(part for block in ordered for part in enveloped(block))]


def _new_memory(_: str, size: int) -> NDArray[np.uint8]:
    return np.empty(size, np.uint8)


def read_chunk(path: Location) -> ChunkFile:
    """Read the header of a chunk file: where its blocks are, their checksums, and its tags.

    Parameters
    ----------
    path
        Location of the file.

    Returns
    -------
    ChunkFile
        Contents of the header.

    Raises
    ------
    DamagedChunkError
        The file does not exist or its header is damaged.
    StorageError
        Storage does not answer.

    """
    try:
        images, _ = read_header(path)
        return ChunkFile(path, images, _tags_of(images[0]))
    except StorageError:
        raise
    except (OutputError, LookupError, ElementTree.ParseError) as error:
        raise DamagedChunkError(path) from error


def _sizes(blocks: NDArray[np.object_]) -> NDArray[np.int64]:
    return np.asarray([len(block) for block in blocks.ravel()], dtype=np.int64).reshape(blocks.shape)


def _tags_of(image: Image) -> dict[str, str]:
    """Return the metadata of the image, without that of its bands."""
    if _METADATA not in image.fields:
        return {}
    root = ElementTree.fromstring(image.fields[_METADATA].value.rstrip(b"\0"))
    own = (item for item in root if not item.attrib.keys() & {"sample", "domain"})
    # GDAL escapes what it keeps twice.
    return {item.attrib["name"]: unescape(item.text or "") for item in own}
