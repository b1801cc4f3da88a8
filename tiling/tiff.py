"""Directories of TIFF files: read from what GDAL wrote, and laid out anew as those of a Cloud-Optimized GeoTIFF.

Blocks stay as they were encoded. This module knows what their directories say and where each block lies, and nothing
of pixels. Layout and structural metadata are those of GDAL's COG driver (https://gdal.org/drivers/raster/cog.html).

Two private tags hold checksums (CRC-32, as in zlib): one of each encoded block, in each directory, and one of all bytes
before the blocks, in the first directory. Other readers ignore them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiling.errors import OutputError
from tiling.locations import Content

_SUBFILE, _WIDTH, _HEIGHT = 254, 256, 257
_BLOCK_OFFSETS, _BLOCK_SIZES = 324, 325
_BLOCK_WIDTH, _BLOCK_HEIGHT = 322, 323

#: Checksums, in TIFF's range for private use. The header's has the highest number, so that it ends the directory, and
#: is computed with 0 in its own place.
_BLOCK_CHECKSUMS, _HEADER_CHECKSUM = 65300, 65301

#: Stands for the checksum of a block of a file that stores none.
NO_CHECKSUM = -1

#: Tags that an overview has as well: those that say how its blocks are encoded, and nodata. Place and metadata are the
#: full image's alone.
_OF_OVERVIEWS = frozenset((258, 259, 262, 277, 284, 317, 322, 323, 338, 339, 42113))

_SHORT, _LONG, _LONG8 = 3, 4, 16

#: Bytes of a value of each type of TIFF's.
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8, 17: 8, 18: 8}

_STRUCTURE = (
    "LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    "BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)

#: Bytes before and after each block: its size, and its last bytes once more. From the first a reader learns the size,
#: from the last whether the file was changed since.
ENVELOPE = 4

#: Offsets of a classic TIFF have 32 bits.
_CLASSIC_LIMIT = 2**32 - 1

#: Reads the bytes from a start up to an end, or up to the end of the file where that comes first.
Fetch = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Field:
    """The value of one tag."""

    type: int
    """TIFF's number of the type."""
    count: int
    value: bytes
    """Little-endian."""


@dataclass(frozen=True)
class ImageLayout:
    """One image of a file that is to be laid out, at full or reduced resolution."""

    fields: Mapping[int, Field]
    """By tag, without where blocks lie and their checksums."""
    sizes: NDArray[np.int64]
    """Bytes of each block, ``(block rows, block columns)``."""
    checksums: NDArray[np.int64]
    """CRC-32 of each encoded block, shaped as the sizes; ``NO_CHECKSUM`` in files that store none."""


@dataclass(frozen=True)
class Image(ImageLayout):
    """One image of a file that is there."""

    offsets: NDArray[np.int64]
    """First byte of each block, shaped like the sizes."""


def read_images(fetch: Fetch) -> list[Image]:
    """The images of a tiled, little-endian file with interleaved bands, in the order of their directories.

    Raises :class:`OutputError` for what is none.
    """
    start = fetch(0, 16)
    try:
        mark, version = struct.unpack_from("<2sH", start)
        if mark != b"II" or version not in (42, 43):
            raise OutputError("not a little-endian TIFF")
        form = _Form(big=version == 43)
        at = struct.unpack_from(form.pointer, start, 8 if form.big else 4)[0]
        images, seen = [], set()
        # Damaged links may lead back.
        while at and at not in seen:
            seen.add(at)
            image, at = _read_image(fetch, at, form)
            images.append(image)
        return images
    except (struct.error, LookupError, ValueError, ArithmeticError) as error:
        raise OutputError("the directories of a TIFF are damaged") from error


def overview_fields(fields: Mapping[int, Field], width: int, height: int) -> dict[int, Field]:
    """The fields of an overview of ``width × height`` pixels of the image that has ``fields``."""
    kept = {tag: field for tag, field in fields.items() if tag in _OF_OVERVIEWS}
    return {**kept, _SUBFILE: _long(1), _WIDTH: _long(width), _HEIGHT: _long(height)}


def read_checked_images(fetch: Fetch) -> tuple[list[Image], int]:
    """The images of a file made here, and where its header ends, every byte of which is as it was written.

    Raises :class:`OutputError` for a damaged header, and for a file that stores no checksums.
    """
    images = read_images(fetch)
    if any((image.checksums == NO_CHECKSUM).any() for image in images):
        raise OutputError("no checksums are stored in it")
    try:
        # A header depends on what its directories say alone: one that is damaged is not made again.
        header, _ = lay_out(images)
    except (struct.error, ValueError, OverflowError) as error:
        raise OutputError("its header is damaged") from error
    if fetch(0, len(header)) != header:
        raise OutputError("its header is damaged")
    return images, len(header)


def checksum(content: Content) -> int:
    """CRC-32 of a block's bytes."""
    return zlib.crc32(content)


def lay_out(images: Sequence[ImageLayout]) -> tuple[bytes, list[NDArray[np.int64]]]:
    """Lay out a COG of a full image and its overviews, in falling size.

    Returns all that comes before the blocks, and where each image's blocks begin. Blocks follow in the order of
    :func:`block_order`, each in its envelope. The file is a BigTIFF when it has to be.
    """
    content = sum(int(image.sizes.sum()) + 2 * ENVELOPE * image.sizes.size for image in images)
    for form in (_Form(big=False), _Form(big=True)):
        length = len(_header(form, images, [np.zeros_like(image.sizes) for image in images]))
        if form.big or length + content <= _CLASSIC_LIMIT:
            break
    at = length
    offsets: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * len(images)
    for number in block_order(len(images)):
        sizes = images[number].sizes
        ends = np.cumsum(sizes.ravel() + 2 * ENVELOPE) + at
        offsets[number] = np.reshape(ends - sizes.ravel() - ENVELOPE, sizes.shape)
        at = int(ends[-1])
    return _header(form, images, offsets), offsets


def block_order(images: int) -> list[int]:
    """In which order images have their blocks in the file: the smallest overview first, the full image last."""
    return list(reversed(range(images)))


def enveloped(block: Content) -> tuple[Content, Content, Content]:
    """A block as it stands in the file, in parts: its size, itself, and its own last bytes."""
    return struct.pack("<I", len(block)), block, bytes(block[-ENVELOPE:]).rjust(ENVELOPE, b"\0")


class _Form:
    """Classic TIFF or BigTIFF."""

    def __init__(self, *, big: bool) -> None:
        self.big = big
        self.pointer = "<Q" if big else "<I"
        self.counter = "<Q" if big else "<H"
        self.entry = "<HHQ8s" if big else "<HHI4s"
        self.inline = 8 if big else 4
        self.start = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0)


def _read_image(fetch: Fetch, at: int, form: _Form) -> tuple[Image, int]:
    """The image whose directory begins ``at``, and where the next one does."""
    counter, entry = struct.calcsize(form.counter), struct.calcsize(form.entry)
    count = struct.unpack(form.counter, fetch(at, at + counter))[0]
    table = fetch(at + counter, at + counter + count * entry + form.inline)
    fields = {}
    for number in range(count):
        tag, kind, length, value = struct.unpack_from(form.entry, table, number * entry)
        size = _BYTES[kind] * length
        if size > form.inline:
            where = struct.unpack(form.pointer, value)[0]
            value = fetch(where, where + size)
        if len(value) < size:
            raise ValueError("a value is cut off")
        fields[tag] = Field(kind, length, value[:size])
    following = struct.unpack_from(form.pointer, table, count * entry)[0]
    width, height = (int(_integers(fields[tag])[0]) for tag in (_WIDTH, _HEIGHT))
    across, down = (int(_integers(fields[tag])[0]) for tag in (_BLOCK_WIDTH, _BLOCK_HEIGHT))
    shape = (-(-height // down), -(-width // across))
    offsets, sizes = (_integers(fields.pop(tag)).reshape(shape) for tag in (_BLOCK_OFFSETS, _BLOCK_SIZES))
    stored = fields.pop(_BLOCK_CHECKSUMS, None)
    fields.pop(_HEADER_CHECKSUM, None)
    checksums = np.full(shape, NO_CHECKSUM, np.int64) if stored is None else _integers(stored).reshape(shape)
    return Image(fields, sizes, checksums, offsets), following


def _header(form: _Form, images: Sequence[ImageLayout], offsets: Sequence[NDArray[np.int64]]) -> bytes:
    """All that comes before the blocks."""
    structure = f"GDAL_STRUCTURAL_METADATA_SIZE={len(_STRUCTURE):06d} bytes\n{_STRUCTURE}".encode()
    parts = bytearray(form.start + structure)
    link, own = len(form.start) - form.inline, 0
    for number, (image, where) in enumerate(zip(images, offsets, strict=True)):
        _align(parts)
        struct.pack_into(form.pointer, parts, link, len(parts))
        whole = {
            **image.fields,
            _BLOCK_OFFSETS: _numbers(_LONG8 if form.big else _LONG, where),
            _BLOCK_SIZES: _numbers(_LONG, image.sizes),
            _BLOCK_CHECKSUMS: _numbers(_LONG, image.checksums),
        }
        if number == 0:
            whole[_HEADER_CHECKSUM] = _long(0)
        link = _append_directory(parts, form, whole)
        if number == 0:
            # The value of the last entry, before the link to the next directory.
            own = link - form.inline
    _align(parts)
    struct.pack_into("<I", parts, own, zlib.crc32(parts))
    return bytes(parts)


def _append_directory(parts: bytearray, form: _Form, fields: Mapping[int, Field]) -> int:
    """Append a directory and its values; returns where the link to the next one goes."""
    parts += struct.pack(form.counter, len(fields))
    at, entry = len(parts), struct.calcsize(form.entry)
    link = at + len(fields) * entry
    parts += bytes(link + form.inline - at)
    for number, (tag, field) in enumerate(sorted(fields.items())):
        value = field.value
        if len(value) > form.inline:
            _align(parts)
            value, appended = struct.pack(form.pointer, len(parts)), value
            parts += appended
        struct.pack_into(form.entry, parts, at + number * entry, tag, field.type, field.count, value)
    return link


def _align(parts: bytearray) -> None:
    """Directories and values begin on even bytes."""
    parts += bytes(len(parts) % 2)


def _long(value: int) -> Field:
    return _numbers(_LONG, np.asarray([value]))


def _numbers(kind: int, values: NDArray[np.int64]) -> Field:
    return Field(kind, values.size, values.astype("<u8" if kind == _LONG8 else "<u4").tobytes())


def _integers(field: Field) -> NDArray[np.int64]:
    return np.frombuffer(field.value, dtype=f"<u{_BYTES[field.type]}").astype(np.int64)
