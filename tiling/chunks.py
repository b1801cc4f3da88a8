"""Chunk files: one small COG for each finished chunk, whose blocks go into the output as they are.

Where a plan's chunks are aligned to the output's blocks, a chunk's blocks are the output's, and so are those of its
first overviews.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import unescape
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from tiling.encode import encode, fields_of
from tiling.errors import OutputError
from tiling.overviews import halve
from tiling.product import BLOCK_PX, Product
from tiling.storage import Location, explained, is_remote, read_range
from tiling.tiff import ENVELOPE, Image, block_order, enveloped, lay_out, overview_fields, read_images

#: Bytes that are read first of a file whose directories are wanted: those of most chunks.
_HEAD_BYTES = 64 * 2**10

_METADATA = 42112


@dataclass(frozen=True)
class ChunkFile:
    """A chunk's file, and what it says of itself."""

    path: Location
    images: list[Image]
    """At full resolution, and its overviews."""
    tags: Mapping[str, str]


def encode_chunk(
    pixels: NDArray[Any],
    geobox: GeoBox,
    product: Product,
    tags: Mapping[str, str],
    *,
    overviews: int = 0,
    threads: int = 1,
) -> list[bytes]:
    """The content of the file of ``(bands, rows, cols)`` on ``geobox``, with so many overviews, in parts.

    ``tags`` travel with the pixels.
    """
    fields, rows = fields_of(product, geobox, tags), [*_rows_of_blocks(pixels)]

    def encoded(row: NDArray[Any]) -> NDArray[np.object_]:
        return encode(row, product)

    def halved(pair: Sequence[NDArray[Any]]) -> NDArray[Any]:
        # Rows of blocks are even, but for the last.
        return np.concatenate([halve(row, product.left_out) for row in pair], axis=1)

    with ThreadPoolExecutor(threads, thread_name_prefix="encode") as pool:
        levels = [(fields, np.stack([*pool.map(encoded, rows)]))]
        for _ in range(overviews):
            rows = [*pool.map(halved, [rows[first : first + 2] for first in range(0, len(rows), 2)])]
            size = {"width": rows[0].shape[2], "height": sum(row.shape[1] for row in rows)}
            levels.append((overview_fields(fields, **size), np.stack([*pool.map(encoded, rows)])))
    header, _ = lay_out([(own, _sizes(blocks)) for own, blocks in levels])
    blocks = (block for number in block_order(len(levels)) for block in levels[number][1].ravel())
    return [header, *(part for block in blocks for part in enveloped(block))]


def _rows_of_blocks(pixels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for top in range(0, pixels.shape[1], BLOCK_PX):
        yield pixels[:, top : top + BLOCK_PX]


def read_chunk(path: Location) -> ChunkFile:
    """Read where a chunk's blocks are, and its tags.

    Raises :class:`OutputError` for a damaged file.
    """
    try:
        images = read_directories(path)
        return ChunkFile(path, images, _tags_of(images[0]))
    except (OutputError, LookupError, ElementTree.ParseError) as error:
        raise OutputError(f"the chunk file {path} is damaged: the same command computes it anew") from error


def read_directories(path: Location) -> list[Image]:
    """The images of a file. Raises :class:`OutputError`."""
    head = read_range(path, 0, _HEAD_BYTES)

    def fetch(start: int, stop: int) -> bytes:
        return head[start:stop] if stop <= len(head) else read_range(path, start, stop)

    return read_images(fetch)


def is_whole(path: Location) -> bool:
    """Whether every block that a file made here has lies inside it, and, on a disk, still begins with its size.

    A disk may lose what it had taken; an object in storage is whole or not there.
    """
    try:
        images = read_directories(path)
        with explained(path):
            size = path.stat().st_size
        if max(int((one.offsets + one.sizes).max()) for one in images) + ENVELOPE > size:
            return False
        if is_remote(path):
            return True
        content = np.memmap(str(path), dtype=np.uint8, mode="r")
        return all(_begin_with_sizes(content, image) for image in images)
    except (OutputError, LookupError, ValueError):
        return False


def _begin_with_sizes(content: NDArray[np.uint8], image: Image) -> bool:
    where = image.offsets.ravel()[:, None] - ENVELOPE + np.arange(ENVELOPE)
    told = np.ascontiguousarray(content[where]).view("<u4").ravel()
    return bool((told == image.sizes.ravel()).all())


def _sizes(blocks: NDArray[np.object_]) -> NDArray[np.int64]:
    return np.asarray([len(block) for block in blocks.ravel()], dtype=np.int64).reshape(blocks.shape)


def _tags_of(image: Image) -> dict[str, str]:
    """Metadata of the image, and not of its bands, as GDAL keeps it."""
    if _METADATA not in image.fields:
        return {}
    root = ElementTree.fromstring(image.fields[_METADATA].value.rstrip(b"\0"))
    own = (item for item in root if not item.attrib.keys() & {"sample", "domain"})
    # GDAL escapes what it keeps twice.
    return {item.attrib["name"]: unescape(item.text or "") for item in own}
