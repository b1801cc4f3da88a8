"""A kernel for 3 × 3 convolutions by Winograd's minimal filtering, on channels of the polyphase layout.

F(4 × 4, 3 × 3) of Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks* (2016): 36 products where a
direct convolution has 144. A vector holds the same pixel of neighbouring tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from geosr.codegen.builder import I64, Builder, Value
from geosr.codegen.structs import load_fields
from geosr.codegen.winograd.arguments import Conv3x3Arguments

#: Output pixels along a tile's side, and input pixels read for them.
TILE_PX, READ_PX = 4, 6

#: Products per tile and pair of channels.
PRODUCTS = READ_PX * READ_PX

#: Floats of padding between products: without it all of them share a few sets of the processor's caches.
APART = 16

#: Vectors of tiles that go through a layer together; with one row of weights they fill the registers.
VECTORS = 3

#: Transform of a filter's column into factors of products: G of Lavin and Gray.
FILTER_TRANSFORM = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)


class _Group(NamedTuple):
    """Tiles that go through a layer together: their first pixel's row, the first tile, and the number of tiles."""

    top: Value
    tile: Value
    width: Value


def write_convolve(
    build: Builder, task: Value, first: Value, stop: Value, transformed: Value, sums: Value, *, outputs: int
) -> None:
    """Make rows ``first`` to ``stop`` of tiles, a group at a time: transform, sum products, transform back.

    ``transformed`` and ``sums`` are scratch memory: ``[product][channel][tile of the group]``. ``outputs`` channels are
    summed at once. A row may end with half a vector; only the products, which are most of the work, skip the other
    half.
    """
    layer = load_fields(build, Conv3x3Arguments, task)
    group_tiles = VECTORS * build.simd_width
    with build.loop(first, stop) as row:
        top = build.multiply(row.index, TILE_PX)
        with build.loop(0, layer.tiles, group_tiles) as tile:
            width = build.minimum(build.subtract(layer.tiles, tile.index), group_tiles)
            group = _Group(top, tile.index, width)
            _transform(build, layer, group, transformed)
            _multiply(build, layer, transformed, sums, outputs, width)
            _transform_back(build, layer, group, sums)


def _transform(build: Builder, layer: SimpleNamespace, group: _Group, transformed: Value) -> None:
    """Transform the group's pixels of each input channel.

    Pixels are prefetched twice: the next group's, from memory, and this group's in the next channel, which are in an
    outer cache by then.
    """
    group_tiles = VECTORS * build.simd_width
    stride = _product_stride(build, layer.inputs, group_tiles)
    start = build.multiply(build.subtract(group.top, 1), layer.row_stride)
    window = build.at(layer.source, build.add(start, group.tile))
    next_tile = build.add(group.tile, group_tiles)
    next_row = build.subtract(build.multiply(layer.row_stride, TILE_PX), group.tile)
    row_ends = build.compare(">=", next_tile, layer.tiles)
    next_group = build.where(row_ends, next_row, I64(group_tiles))
    with build.loop(0, layer.inputs) as channel:
        here, after = (build.load(layer.channel_offsets, build.add(channel.index, further), I64) for further in (0, 1))
        next_channel = build.subtract(after, here)
        source = build.at(window, here)
        target = build.at(transformed, build.multiply(channel.index, group_tiles))
        with build.loop(0, group.width, build.simd_width) as vector:
            pointer, rows = build.at(source, vector.index), []
            for row in range(READ_PX):
                if row:
                    pointer = build.at(pointer, layer.row_stride)
                columns = _columns(build, layer, pointer)
                # A tile reads one pixel of each neighbour beside it.
                pixels = [build.at(columns[-1], -1), *columns, build.at(columns[0], 1)]
                for column in columns:
                    build.prefetch(build.at(column, next_channel))
                    if row >= READ_PX - TILE_PX:
                        build.prefetch(build.at(column, next_group))
                rows.append(_to_products(build, [build.load_vector(pixel) for pixel in pixels]))
            columns = [_to_products(build, [row[column] for row in rows]) for column in range(READ_PX)]
            place = build.at(target, vector.index)
            for number in range(PRODUCTS):
                if number:
                    place = build.at(place, stride)
                build.store(columns[number % READ_PX][number // READ_PX], place)


def _multiply(
    build: Builder, layer: SimpleNamespace, transformed: Value, sums: Value, outputs: int, width: Value
) -> None:
    """Sum products over the input channels, in a loop of its own for each number of vectors that a group may have."""
    # Half a vector takes as long as a whole one, except on processors that add wide vectors in two steps.
    cases = [(1, build.simd_width // 2), *((vectors, build.simd_width) for vectors in range(1, VECTORS + 1))]
    less = 0
    for vectors, floats in cases:
        tiles = vectors * floats
        more = build.compare(">", width, less)
        with build.when(build.ir.and_(more, build.compare("<=", width, tiles))):
            _sum_products(build, layer, transformed, sums, outputs, vectors, floats)
        less = tiles


def _sum_products(
    build: Builder,
    layer: SimpleNamespace,
    transformed: Value,
    sums: Value,
    outputs: int,
    vectors: int,
    floats: int,
) -> None:
    """Sum products of ``vectors`` vectors of ``floats`` floats, for ``outputs`` output channels at once."""
    group_tiles = VECTORS * build.simd_width
    with build.loop(0, PRODUCTS) as product:
        pairs = build.multiply(layer.inputs, layer.outputs)
        filters = build.at(layer.filters, build.multiply(product.index, pairs))
        stride = _product_stride(build, layer.inputs, group_tiles)
        source = build.at(transformed, build.multiply(product.index, stride))
        stride = _product_stride(build, layer.outputs, group_tiles)
        target = build.at(sums, build.multiply(product.index, stride))
        with build.loop(0, layer.outputs, outputs) as first:
            weights = build.at(filters, build.multiply(first.index, layer.inputs))
            zeros = [build.zeros(floats)] * (outputs * vectors)
            with build.loop(0, layer.inputs, carried=zeros) as channel:
                pixels = build.at(source, build.multiply(channel.index, group_tiles))
                read = [build.load_vector(build.at(pixels, vector * floats), floats) for vector in range(vectors)]
                row = build.at(weights, build.multiply(channel.index, outputs))
                spread = [build.splat(build.load(row, output), floats) for output in range(outputs)]
                channel.values = [
                    build.fused_multiply_add(weight, one, channel.values[vectors * output + vector])
                    for output, weight in enumerate(spread)
                    for vector, one in enumerate(read)
                ]
            made = build.at(target, build.multiply(first.index, group_tiles))
            for number, total in enumerate(channel.values):
                output, vector = divmod(number, vectors)
                build.store(total, build.at(made, output * group_tiles + vector * floats))


def _transform_back(build: Builder, layer: SimpleNamespace, group: _Group, sums: Value) -> None:
    """Transform the sums of each output channel into pixels, finish and store them."""
    group_tiles = VECTORS * build.simd_width
    stride = _product_stride(build, layer.outputs, group_tiles)
    start = build.add(build.multiply(group.top, layer.row_stride), group.tile)
    window = build.at(layer.out, start)
    bases = [
        (build.at(base, start), gain, build.is_given(base))
        for base, gain in ((layer.base, layer.gain), (layer.second_base, layer.second_gain))
    ]
    with build.loop(0, layer.outputs) as channel:
        offset = build.multiply(channel.index, layer.channel_stride)
        source = build.at(sums, build.multiply(channel.index, group_tiles))
        bias = build.splat(build.load(layer.bias, channel.index))
        with build.loop(0, group.width, build.simd_width) as vector:
            here = build.add(offset, vector.index)
            place, products = build.at(source, vector.index), []
            for product in range(PRODUCTS):
                if product:
                    place = build.at(place, stride)
                products.append(build.load_vector(place))
            columns = [_to_pixels(build, products[column::READ_PX]) for column in range(READ_PX)]
            mask = _columns(build, layer, build.at(layer.mask, build.add(group.tile, vector.index)))
            for row in range(TILE_PX):
                pixels = _to_pixels(build, [column[row] for column in columns])
                pixels = [build.add(pixel, bias) for pixel in pixels]
                inside = build.compare("<", build.add(group.top, row), layer.rows)
                from_top = build.add(here, build.multiply(layer.row_stride, row))
                for place in _columns(build, layer, build.at(window, from_top)):
                    build.prefetch(build.at(place, layer.channel_stride), to_write=True)
                with build.when(inside):
                    _finish(build, layer, window, bases, pixels, from_top, mask)


def _finish(
    build: Builder,
    layer: SimpleNamespace,
    window: Value,
    bases: Sequence[tuple[Value, Value, Value]],
    pixels: list[Value],
    offset: Value,
    mask: Sequence[Value],
) -> None:
    """Apply the activation to a tile's row, add the bases that are given, and store it."""
    pixels = [build.maximum(pixel, build.multiply(pixel, layer.slope)) for pixel in pixels]
    for base, gain, given in bases:
        with build.when(given, pixels) as total:
            below = _columns(build, layer, build.at(base, offset))
            total.values = [
                build.fused_multiply_add(gain, pixel, build.load_vector(place))
                for pixel, place in zip(pixels, below, strict=True)
            ]
        pixels = total.values
    places = _columns(build, layer, build.at(window, offset))
    for pixel, place, covered in zip(pixels, places, mask, strict=True):
        build.store(build.masked(pixel, build.load_vector(covered)), place)


def _product_stride(build: Builder, channels: Value, group_tiles: int) -> Value:
    """Floats between the products of one group, of so many channels."""
    return build.add(build.multiply(channels, group_tiles), APART)


def _columns(build: Builder, layer: SimpleNamespace, pointer: Value) -> list[Value]:
    """Addresses of the four polyphase channels of a row, from that of the first."""
    places = [pointer]
    while len(places) < TILE_PX:
        places.append(build.at(places[-1], layer.phase_stride))
    return places


def _to_products(build: Builder, read: Sequence[Value]) -> list[Value]:
    """Transform six pixels into factors of products: the transposed B of Lavin and Gray's F(4, 3)."""
    d0, d1, d2, d3, d4, d5 = read
    fma = build.fused_multiply_add
    even, odd = fma(-4, d2, d4), fma(-4, d1, d3)
    far, across = build.subtract(d4, d2), build.subtract(d3, d1)
    return [
        fma(4, d0, fma(-5, d2, d4)),
        build.add(even, odd),
        build.subtract(even, odd),
        fma(2, across, far),
        fma(-2, across, far),
        fma(4, d1, fma(-5, d3, d5)),
    ]


def _to_pixels(build: Builder, products: Sequence[Value]) -> list[Value]:
    """Transform six sums of products into four pixels: their transposed A."""
    m0, m1, m2, m3, m4, m5 = products
    fma = build.fused_multiply_add
    near, across = build.add(m1, m2), build.subtract(m1, m2)
    far, beyond = build.add(m3, m4), build.subtract(m3, m4)
    return [
        build.add(build.add(m0, near), far),
        fma(2, beyond, across),
        fma(4, far, near),
        build.add(fma(8, beyond, across), m5),
    ]
