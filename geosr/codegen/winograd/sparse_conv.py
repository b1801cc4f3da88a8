"""A kernel for convolutions whose filters are mostly zero: interpolation and the sensor's blur."""

from __future__ import annotations

from geosr.codegen.builder import I64, Builder, Value
from geosr.codegen.structs import load_fields
from geosr.codegen.winograd.arguments import SparseConvArguments
from geosr.codegen.winograd.conv3x3 import TILE_PX

#: Rows at a time, which share the loads of weights and offsets.
_ROWS = 2


def write_gather(build: Builder, task: Value, first: Value, stop: Value) -> None:
    """Make rows ``first`` to ``stop`` of each output channel: the base, and then the taps in their order."""
    arguments = load_fields(build, SparseConvArguments, task)
    has_base = build.is_given(arguments.base)
    columns = [build.multiply(arguments.phase_stride, phase) for phase in range(TILE_PX)]
    last = build.subtract(stop, 1)
    with build.loop(first, stop, _ROWS) as row:
        starts = [build.multiply(row.index, arguments.row_stride)]
        for further in range(1, _ROWS):
            # An odd last row is made twice.
            here = build.minimum(build.add(row.index, further), last)
            starts.append(build.multiply(here, arguments.row_stride))
        with build.loop(0, arguments.outputs) as output:
            weights = build.at(arguments.weights, build.multiply(output.index, arguments.taps))
            under, over = (
                build.multiply(output.index, stride) for stride in (arguments.channel_stride, arguments.out_stride)
            )
            taps_of_columns = build.multiply(arguments.taps, TILE_PX)
            start = build.multiply(output.index, taps_of_columns)
            offsets = [build.add(start, build.multiply(arguments.taps, phase)) for phase in range(TILE_PX)]
            with build.loop(0, arguments.tiles, build.simd_width) as tile:
                along = [build.add(one, tile.index) for one in starts]
                sources = [build.at(arguments.source, place) for place in along]
                base_places, places = (
                    [build.add(build.add(one, channel), column) for one in along for column in columns]
                    for channel in (under, over)
                )
                with build.when(has_base, [build.zeros()] * len(places)) as base:
                    base.values = [build.load_vector(build.at(arguments.base, place)) for place in base_places]
                # The sums of all columns advance together: none waits for another.
                with build.loop(0, arguments.taps, carried=base.values) as tap:
                    weight = build.splat(build.load(weights, tap.index))
                    reads = [build.load(arguments.offsets, build.add(one, tap.index), I64) for one in offsets]
                    pixels = [build.load_vector(build.at(source, read)) for source in sources for read in reads]
                    tap.values = [
                        build.fused_multiply_add(weight, pixel, total)
                        for pixel, total in zip(pixels, tap.values, strict=True)
                    ]
                masks = [build.load_vector(build.at(arguments.mask, build.add(one, tile.index))) for one in columns]
                for total, mask, place in zip(tap.values, masks * _ROWS, places, strict=True):
                    build.store(build.masked(total, mask), build.at(arguments.out, place))
