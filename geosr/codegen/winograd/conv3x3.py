"""3 × 3 convolutions by Winograd's minimal filtering, as code for planes.

F(4 × 4, 3 × 3) of Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks* (2016): 36 products where a
direct convolution has 144. Vectors hold tiles side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from geosr.codegen.builder import Writer
from geosr.codegen.structs import fields
from geosr.codegen.winograd.arguments import Conv3x3Arguments

#: Output pixels along a tile's side, and those read for them.
TILE_PX, READ_PX = 4, 6

#: Products per tile and pair of planes.
PRODUCTS = READ_PX * READ_PX

#: Floats by which products lie further apart than they must: else all of them fall into the same few sets of a cache.
APART = 16

#: Vectors of tiles that go through a layer together; with one row of weights they fill the registers.
VECTORS = 3

#: Three weights as what pixels are multiplied by: their G.
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


def convolve(write: Writer, outputs: int) -> None:
    """For rows of tiles, some vectors of tiles at a time: transform, multiply, transform back.

    Rows may end with half a vector. Only products are spared there: they are most of the work.
    """
    layer = fields(write, Conv3x3Arguments, "%layer")
    together = VECTORS * write.simd_width

    def row(tile_row: str, _: list[str]) -> tuple[()]:
        top = write.count("mul", tile_row, TILE_PX)

        def group(tile: str, _: list[str]) -> tuple[()]:
            left = write.count("sub", layer["tiles"], tile)
            width = write.either("sgt", left, together, left)
            _transform(write, layer, top, tile, width)
            _multiply(write, layer, outputs, width)
            _transform_back(write, layer, top, tile, width)
            return ()

        write.loop(0, layer["tiles"], together, group)
        return ()

    write.loop("%first", "%stop", 1, row)


def _transform(write: Writer, layer: dict[str, str], top: str, tile: str, width: str) -> None:
    """Each input plane's tiles: ``in[product][plane][tile]``.

    What is read is called for twice: from memory while the tiles before these are at work, and near the core while the
    plane before is.
    """
    together = VECTORS * write.simd_width
    stride = _product_stride(write, layer["inputs"], together)
    start = write.count("mul", write.count("sub", top, 1), layer["row_stride"])
    window = write.at(layer["x"], write.count("add", start, tile))
    next_tile = write.count("add", tile, together)
    next_row = write.count("sub", write.count("mul", layer["row_stride"], TILE_PX), tile)
    row_ends = write.get(f"icmp sge i64 {next_tile}, {layer['tiles']}")
    later = write.get(f"select i1 {row_ends}, i64 {next_row}, i64 {together}")

    def plane(number: str, _: list[str]) -> tuple[()]:
        here, after = (write.item("i64", layer["planes"], write.count("add", number, further)) for further in (0, 1))
        next_plane = write.count("sub", after, here)
        source = write.at(window, here)
        target = write.at("%in", write.count("mul", number, together))

        def vector(offset: str, _: list[str]) -> tuple[()]:
            pointer, rows = write.at(source, offset), []
            for row in range(READ_PX):
                if row:
                    pointer = write.at(pointer, layer["row_stride"])
                phases = _phases(write, layer, pointer)
                # A tile reads one pixel of the tiles on its left and right.
                pixels = [write.at(phases[-1], -1), *phases, write.at(phases[0], 1)]
                for phase in phases:
                    write.prefetch(write.at(phase, next_plane))
                    if row >= READ_PX - TILE_PX:
                        write.prefetch(write.at(phase, later))
                rows.append(_to_products(write, [write.load(pixel) for pixel in pixels]))
            columns = [_to_products(write, [row[column] for row in rows]) for column in range(READ_PX)]
            place = write.at(target, offset)
            for number in range(PRODUCTS):
                if number:
                    place = write.at(place, stride)
                write.store(columns[number % READ_PX][number // READ_PX], place)
            return ()

        write.loop(0, width, write.simd_width, vector)
        return ()

    write.loop(0, layer["inputs"], 1, plane)


def _multiply(write: Writer, layer: dict[str, str], outputs: int, width: str) -> None:
    """Sums over the input planes, for some output planes at a time: ``made[product][plane][tile]``."""
    together = VECTORS * write.simd_width
    # Half a vector takes as long as a whole one, but where processors add up wide vectors in two steps.
    parts = [(1, write.simd_width // 2), *((vectors, write.simd_width) for vectors in range(1, VECTORS + 1))]
    done = 0
    for vectors, simd_width in parts:
        tiles = vectors * simd_width
        more = write.get(f"icmp sgt i64 {width}, {done}")
        chosen = write.get(f"and i1 {more}, {write.get(f'icmp sle i64 {width}, {tiles}')}")
        with write.vectors_of(simd_width):
            write.only_if(chosen, partial(_sum_up, write, layer, together, outputs, vectors))
        done = tiles


def _sum_up(write: Writer, layer: dict[str, str], together: int, outputs: int, vectors: int) -> tuple[()]:
    """The same for so many vectors of tiles."""

    def product(number: str, _: list[str]) -> tuple[()]:
        planes = write.count("mul", layer["inputs"], layer["outputs"])
        filters = write.at(layer["filters"], write.count("mul", number, planes))
        source = write.at("%in", write.count("mul", number, _product_stride(write, layer["inputs"], together)))
        target = write.at("%made", write.count("mul", number, _product_stride(write, layer["outputs"], together)))

        def some(first: str, _: list[str]) -> tuple[()]:
            weights = write.at(filters, write.count("mul", first, layer["inputs"]))

            def plane(plane: str, sums: list[str]) -> list[str]:
                pixels = write.at(source, write.count("mul", plane, together))
                read = [write.load(write.at(pixels, vector * write.simd_width)) for vector in range(vectors)]
                row = write.at(weights, write.count("mul", plane, outputs))
                spread = [write.spread(write.scalar(row, output)) for output in range(outputs)]
                return [
                    write.fused(weight, pixels, sums[vectors * output + vector])
                    for output, weight in enumerate(spread)
                    for vector, pixels in enumerate(read)
                ]

            sums = write.loop(0, layer["inputs"], 1, plane, ["zeroinitializer"] * (outputs * vectors))
            made = write.at(target, write.count("mul", first, together))
            for number, total in enumerate(sums):
                output, vector = divmod(number, vectors)
                write.store(total, write.at(made, output * together + vector * write.simd_width))
            return ()

        write.loop(0, layer["outputs"], outputs, some)
        return ()

    write.loop(0, PRODUCTS, 1, product)
    return ()


def _transform_back(write: Writer, layer: dict[str, str], top: str, tile: str, width: str) -> None:
    """Each output plane's pixels, with all that is done to them."""
    together = VECTORS * write.simd_width
    stride = _product_stride(write, layer["outputs"], together)
    start = write.count("add", write.count("mul", top, layer["row_stride"]), tile)
    window = write.at(layer["out"], start)
    bases = [
        (write.at(layer[name], start), layer[gain], write.get(f"icmp ne ptr {layer[name]}, null"))
        for name, gain in (("base", "gain"), ("second_base", "second_gain"))
    ]

    def plane(number: str, _: list[str]) -> tuple[()]:
        offset = write.count("mul", number, layer["plane_stride"])
        source = write.at("%made", write.count("mul", number, together))
        bias = write.spread(write.scalar(layer["bias"], number))

        def vector(along: str, _: list[str]) -> tuple[()]:
            here = write.count("add", offset, along)
            place, products = write.at(source, along), []
            for product in range(PRODUCTS):
                if product:
                    place = write.at(place, stride)
                products.append(write.load(place))
            columns = [_to_pixels(write, products[column::READ_PX]) for column in range(READ_PX)]
            mask = _phases(write, layer, write.at(layer["mask"], write.count("add", tile, along)))
            for row in range(TILE_PX):
                pixels = _to_pixels(write, [column[row] for column in columns])
                pixels = [write.add(pixel, bias) for pixel in pixels]
                inside = write.get(f"icmp slt i64 {write.count('add', top, row)}, {layer['rows']}")
                from_top = write.count("add", here, write.count("mul", layer["row_stride"], row))
                for place in _phases(write, layer, write.at(window, from_top)):
                    write.prefetch(write.at(place, layer["plane_stride"]), to_write=True)
                write.only_if(inside, partial(_finish, write, layer, window, bases, pixels, from_top, mask))
            return ()

        write.loop(0, width, write.simd_width, vector)
        return ()

    write.loop(0, layer["outputs"], 1, plane)


def _finish(
    write: Writer,
    layer: dict[str, str],
    window: str,
    bases: Sequence[tuple[str, str, str]],
    pixels: list[str],
    offset: str,
    mask: Sequence[str],
) -> tuple[()]:
    """A row of a tile: the activation, what it is added to, and into its plane."""
    pixels = [write.larger(pixel, write.multiply(pixel, layer["slope"])) for pixel in pixels]
    for base, gain, given in bases:

        def added(base: str = base, gain: str = gain, pixels: list[str] = pixels) -> list[str]:
            below = _phases(write, layer, write.at(base, offset))
            return [write.fused(gain, pixel, write.load(place)) for pixel, place in zip(pixels, below, strict=True)]

        pixels = write.only_if(given, added, pixels)
    for pixel, place, covered in zip(pixels, _phases(write, layer, write.at(window, offset)), mask, strict=True):
        write.store(write.covered(pixel, write.load(covered)), place)
    return ()


def _product_stride(write: Writer, planes: str, together: int) -> str:
    """How far it is from one product of so many planes to the next, for so many tiles."""
    return write.count("add", write.count("mul", planes, together), APART)


def _phases(write: Writer, layer: dict[str, str], pointer: str) -> list[str]:
    """Where each of a row's phases is, from where the first is."""
    places = [pointer]
    while len(places) < TILE_PX:
        places.append(write.at(places[-1], layer["phase_stride"]))
    return places


def _to_products(write: Writer, read: Sequence[str]) -> list[str]:
    """Six pixels as what is multiplied: the transposed B of Lavin and Gray's F(4, 3)."""
    d0, d1, d2, d3, d4, d5 = read
    even, odd = write.fused(-4, d2, d4), write.fused(-4, d1, d3)
    far, across = write.subtract(d4, d2), write.subtract(d3, d1)
    return [
        write.fused(4, d0, write.fused(-5, d2, d4)),
        write.add(even, odd),
        write.subtract(even, odd),
        write.fused(2, across, far),
        write.fused(-2, across, far),
        write.fused(4, d1, write.fused(-5, d3, d5)),
    ]


def _to_pixels(write: Writer, products: Sequence[str]) -> list[str]:
    """Six sums of products as four pixels: their transposed A."""
    m0, m1, m2, m3, m4, m5 = products
    near, across = write.add(m1, m2), write.subtract(m1, m2)
    far, beyond = write.add(m3, m4), write.subtract(m3, m4)
    return [
        write.add(write.add(m0, near), far),
        write.fused(2, beyond, across),
        write.fused(4, far, near),
        write.add(write.fused(8, beyond, across), m5),
    ]
