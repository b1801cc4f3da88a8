"""Verification of stored checksums against the bytes of a chunk file or a product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tiling.errors import OutputError, StorageError
from tiling.locations import Location, is_remote
from tiling.product import BLOCK_PX
from tiling.storage import explained, read_range
from tiling.tiff import ENVELOPE, Image, block_order, checksum, read_checked_images

#: Bytes that are read first of a file whose header is wanted: those of most chunks.
_HEAD_BYTES = 64 * 2**10

#: Bytes of blocks that are read at a time.
_READ_BYTES = 8 * 2**20


def read_header(path: Location) -> tuple[list[Image], int]:
    """The images of a file and where its header ends.

    Raises :class:`OutputError` for a damaged header, a file without checksums, and one that cannot be read.
    """
    head = read_range(path, 0, _HEAD_BYTES)

    def fetch(start: int, stop: int) -> bytes:
        return head[start:stop] if stop <= len(head) else read_range(path, start, stop)

    return read_checked_images(fetch)


def is_whole(path: Location) -> bool:
    """Tell whether a file is, byte for byte, as it was written.

    Storage has checksums of its own: of a remote object only header and size are checked, so that the rest is not
    fetched.

    Parameters
    ----------
    path
        Chunk file or product.

    Returns
    -------
    bool
        False also for a file that is missing or cannot be read.

    """
    try:
        if is_remote(path):
            images, end = read_header(path)
            return _size_of(path) == _end_of(images, end)
        return next(find_damage(path), None) is None
    except OutputError:
        return False


def find_damage(path: Location) -> Iterator[str]:
    """Yield a line for each part of a file that is not as it was written.

    Every byte is checked: header and blocks by their checksums, the envelopes of blocks by the blocks, the file's size
    by theirs.

    Parameters
    ----------
    path
        Chunk file or product.

    Yields
    ------
    str
        Description of a damaged part; nothing for a whole file.

    Raises
    ------
    OutputError
        The file does not exist.
    StorageError
        Storage does not answer.

    """
    size = _size_of(path)
    try:
        images, end = read_header(path)
    except StorageError:
        raise
    except OutputError as error:
        yield str(error)
        return
    for level in block_order(len(images)):
        yield from _damage_in(path, level, images[level])
    expected = _end_of(images, end)
    if size != expected:
        yield f"it has {size} bytes, and {expected} were written"


def check_blocks(content: bytes, sizes: Sequence[int], checksums: Sequence[int]) -> list[int]:
    """Return the places, from 0, of damaged blocks among consecutive blocks in their envelopes."""
    view, at, damaged = memoryview(content), 0, []
    for place, (size, stored) in enumerate(zip(sizes, checksums, strict=True)):
        start, stop = at + ENVELOPE, at + ENVELOPE + size
        block = view[start:stop]
        leader, trailer = view[at:start], view[stop : stop + ENVELOPE]
        whole = (
            len(trailer) == ENVELOPE
            and int.from_bytes(leader, "little") == size
            and bytes(trailer) == bytes(block[-ENVELOPE:]).rjust(ENVELOPE, b"\0")
            and checksum(block) == stored
        )
        if not whole:
            damaged.append(place)
        at = stop + ENVELOPE
    return damaged


def _damage_in(path: Location, level: int, image: Image) -> Iterator[str]:
    """Lines for an image's blocks, which follow one another in the file, row by row."""
    sizes, checksums = image.sizes.ravel().tolist(), image.checksums.ravel().tolist()
    offsets, columns = image.offsets.ravel().tolist(), image.sizes.shape[1]
    first = 0
    while first < len(sizes):
        last, total = first, 0
        while last < len(sizes) and (last == first or total + sizes[last] <= _READ_BYTES):
            total += sizes[last] + 2 * ENVELOPE
            last += 1
        start = offsets[first] - ENVELOPE
        try:
            content = read_range(path, start, start + total)
        except StorageError:
            raise
        except OutputError:
            # A sector that the disk cannot read.
            content = b""
        for place in check_blocks(content, sizes[first:last], checksums[first:last]):
            row, col = divmod(first + place, columns)
            of = "the full image" if level == 0 else f"overview {level}"
            yield f"pixels from row {row * BLOCK_PX} and column {col * BLOCK_PX} of {of}"
        first = last


def _end_of(images: Sequence[Image], header: int) -> int:
    return header + sum(int(image.sizes.sum()) + 2 * ENVELOPE * image.sizes.size for image in images)


def _size_of(path: Location) -> int:
    with explained(path, "read"):
        return int(path.stat().st_size)
