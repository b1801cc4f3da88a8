"""A kernel that copies channels of the polyphase layout into an image."""

from __future__ import annotations

from geosr.codegen.builder import I64, Builder, Value
from geosr.codegen.structs import load_fields
from geosr.codegen.winograd.arguments import DeinterleaveArguments
from geosr.codegen.winograd.conv3x3 import TILE_PX


def write_deinterleave(build: Builder, task: Value, first: Value, stop: Value) -> None:
    """Copy channels ``first`` to ``stop``, row by row: vectors of tiles, and what is left pixel by pixel."""
    arguments = load_fields(build, DeinterleaveArguments, task)
    cols = arguments.cols
    together = TILE_PX * build.simd_width
    several = build.subtract(cols, together - 1)
    size = build.multiply(arguments.rows, cols)
    with build.loop(first, stop) as channel:
        source = build.at(arguments.source, build.multiply(channel.index, arguments.channel_stride))
        target = build.at(arguments.out, build.multiply(channel.index, size))
        with build.loop(0, arguments.rows) as row:
            start = build.at(source, build.multiply(row.index, arguments.row_stride))
            columns = [build.at(start, build.load(arguments.pixel_offsets, phase, I64)) for phase in range(TILE_PX)]
            line = build.at(target, build.multiply(row.index, cols))
            with build.loop(0, several, together) as col:
                tile = build.ir.sdiv(col.index, I64(TILE_PX))
                pixels = build.interleave([build.load_vector(build.at(column, tile)) for column in columns])
                build.store(pixels, build.at(line, col.index))
            rest = build.ir.srem(cols, I64(together))
            with build.loop(build.subtract(cols, rest), cols) as col:
                place = build.ir.srem(col.index, I64(TILE_PX))
                phase = build.at(start, build.load(arguments.pixel_offsets, place, I64))
                pixel = build.load(phase, build.ir.sdiv(col.index, I64(TILE_PX)))
                build.store(pixel, build.at(line, col.index))
