"""A kernel for back-projection steps: an image minus what the sensor would see of it after upsampling.

Each step follows the one before it by a few rows, and filters across the rows what it has just filtered along them.
All steps together pass over an image once, and their rows stay in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from types import SimpleNamespace

from geosr.codegen.builder import I64, POINTER, Builder, Value
from geosr.codegen.structs import load_fields
from geosr.codegen.winograd.arguments import BackprojectionArguments
from geosr.codegen.winograd.conv3x3 import TILE_PX
from geosr.model.kernels import STEP_REACH

#: Rows that are made together, each from mostly the same rows as the others: as many as a filter reaches.
_ROWS = STEP_REACH

#: Filtered rows that a step keeps, in a ring: those above, among and below the rows that are made.
_KEPT_ROWS = 3 * _ROWS

_TAPS = 2 * STEP_REACH + 1

#: Steps that pass over an image together, at most.
STEPS_TOGETHER = 4

#: Rows of scratch memory that they need.
STEP_ROWS = STEPS_TOGETHER * _KEPT_ROWS


class StepChannels(IntEnum):
    """Channels of one step, in the order of its pointers.

    A step makes ``left = base + second base - filtered(seen)``, or ``seen + known * left`` where ``known`` is given.
    """

    SEEN = 0
    BASE = 1
    SECOND_BASE = 2
    KNOWN = 3
    MADE = 4


PLACES = len(StepChannels)


def write_backproject(build: Builder, task: Value, scratch: Value) -> None:
    """Loop over blocks of rows; in each round every step takes the block above that of the step before it."""
    arguments = load_fields(build, BackprojectionArguments, task)
    blocks = build.ir.sdiv(build.add(arguments.rows, _ROWS - 1), I64(_ROWS))
    rounds = build.add(blocks, arguments.steps)
    kept_floats = build.multiply(arguments.row_stride, _KEPT_ROWS)
    with build.loop(0, rounds) as front, build.loop(0, arguments.steps) as step:
        first = build.multiply(build.subtract(front.index, step.index), _ROWS)
        kept = build.at(scratch, build.multiply(step.index, kept_floats))
        start = build.multiply(step.index, PLACES)
        channels = [build.load(arguments.channels, build.add(start, one), POINTER) for one in StepChannels]
        begun = build.compare(">=", first, 0)
        within = build.compare("<", first, arguments.rows)
        with build.when(build.ir.and_(begun, within)):
            _filter_along(build, arguments, first, channels[StepChannels.SEEN], kept)
        has_above = build.compare(">", first, 0)
        above = build.subtract(first, _ROWS)
        above_within = build.compare("<", above, arguments.rows)
        with build.when(build.ir.and_(has_above, above_within)):
            _filter_across(build, arguments, above, kept, channels)


def _filter_along(build: Builder, arguments: SimpleNamespace, first: Value, seen: Value, kept: Value) -> None:
    """Filter some rows along themselves; beyond its ends a row repeats its first and last pixel."""
    columns = [build.multiply(arguments.phase_stride, phase) for phase in range(TILE_PX)]
    weights = _weights(build, arguments.along)
    with build.loop(0, _ROWS) as number:
        row = build.add(first, number.index)
        source = build.at(seen, build.multiply(row, arguments.row_stride))
        target = _kept_row(build, arguments, row, kept)
        edges = [build.load(source, 0), build.load(source, build.load(arguments.right, 0, I64))]
        for col in range(STEP_REACH):
            beyond = build.load(arguments.right, col + 1, I64)
            for edge, place in zip(edges, (build.subtract(columns[col], 1), beyond), strict=True):
                build.store(edge, build.at(source, place))
        with build.loop(0, arguments.tiles, build.simd_width) as tile:
            filtered = _filtered(build, weights, build.at(source, tile.index), columns)
            for column, pixels in zip(columns, filtered, strict=True):
                place = build.add(column, tile.index)
                mask = build.load_vector(build.at(arguments.mask, place))
                build.store(build.masked(pixels, mask), build.at(target, place))


def _filtered(build: Builder, weights: Sequence[Value], source: Value, columns: Sequence[Value]) -> list[Value]:
    """Vectors of tiles, one for each phase, filtered along the row."""
    read = {}
    for col in range(-STEP_REACH, TILE_PX + STEP_REACH):
        tile, phase = divmod(col, TILE_PX)
        read[col] = build.load_vector(build.at(source, build.add(columns[phase], tile)))
    sums = [build.zeros()] * TILE_PX
    for tap, weight in enumerate(weights, -STEP_REACH):
        sums = [build.fused_multiply_add(weight, read[phase + tap], total) for phase, total in enumerate(sums)]
    return sums


def _filter_across(
    build: Builder, arguments: SimpleNamespace, first: Value, kept: Value, channels: Sequence[Value]
) -> None:
    """Make some rows from the filtered rows around them; beyond the image its first and last row repeat."""
    weights = _weights(build, arguments.across)
    last = build.subtract(arguments.rows, 1)
    read = []
    for row in range(-STEP_REACH, _KEPT_ROWS - STEP_REACH):
        place = build.minimum(build.maximum(build.add(first, row), 0), last)
        read.append(_kept_row(build, arguments, place, kept))
    rows = [build.add(first, row) for row in range(_ROWS)]
    inside = [build.compare("<=", row, last) for row in rows]
    starts = [build.multiply(row, arguments.row_stride) for row in rows]
    has_second_base = build.is_given(channels[StepChannels.SECOND_BASE])
    has_known = build.is_given(channels[StepChannels.KNOWN])
    with build.loop(0, TILE_PX) as phase:
        column = build.multiply(arguments.phase_stride, phase.index)
        with build.loop(0, arguments.tiles, build.simd_width) as tile:
            there = build.add(column, tile.index)
            mask = build.load_vector(build.at(arguments.mask, there))
            places = [build.add(start, there) for start in starts]
            sums = _load_rows(build, channels[StepChannels.BASE], places)
            with build.when(has_second_base, sums) as total:
                second_base = _load_rows(build, channels[StepChannels.SECOND_BASE], places)
                total.values = [build.add(one, other) for one, other in zip(sums, second_base, strict=True)]
            sums = total.values
            for number, row in enumerate(read):
                pixels = build.load_vector(build.at(row, there))
                for output in range(_ROWS):
                    if 0 <= number - output < _TAPS:
                        sums[output] = build.fused_multiply_add(weights[number - output], pixels, sums[output])
            with build.when(has_known, sums) as total:
                known = _load_rows(build, channels[StepChannels.KNOWN], places)
                shares = [build.multiply(one, share) for one, share in zip(sums, known, strict=True)]
                seen = _load_rows(build, channels[StepChannels.SEEN], places)
                total.values = [build.add(pixels, share) for pixels, share in zip(seen, shares, strict=True)]
            for pixels, place, is_inside in zip(total.values, places, inside, strict=True):
                with build.when(is_inside):
                    build.store(build.masked(pixels, mask), build.at(channels[StepChannels.MADE], place))


def _load_rows(build: Builder, channel: Value, places: Sequence[Value]) -> list[Value]:
    return [build.load_vector(build.at(channel, place)) for place in places]


def _weights(build: Builder, place: Value) -> list[Value]:
    return [build.splat(build.load(place, tap)) for tap in range(_TAPS)]


def _kept_row(build: Builder, arguments: SimpleNamespace, row: Value, kept: Value) -> Value:
    """Address of a filtered row in the ring."""
    number = build.ir.srem(row, I64(_KEPT_ROWS))
    return build.at(kept, build.multiply(number, arguments.row_stride))
