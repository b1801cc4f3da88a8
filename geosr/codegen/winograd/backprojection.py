"""Steps of back-projection, as code: an image less what the sensor would see of it, upsampled; again and again.

Each step follows the one before by a few rows, and filters across the rows what it has just filtered along them. So
what several steps work on stays near the core, and an image passes once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from geosr.codegen.builder import Writer
from geosr.codegen.structs import fields
from geosr.codegen.winograd.arguments import BackprojectionArguments
from geosr.codegen.winograd.conv3x3 import TILE_PX
from geosr.model.kernels import STEP_REACH

#: Rows that are made together, of which each reads most of what the others do: as many as a filter reaches.
_ROWS = STEP_REACH

#: Filtered rows that a step keeps: those around the ones that are made, by turns in three places.
_KEPT_ROWS = 3 * _ROWS

_TAPS = 2 * STEP_REACH + 1

#: Steps that pass over an image together.
STEPS_TOGETHER = 4

#: Rows of planes that they keep.
STEP_ROWS = STEPS_TOGETHER * _KEPT_ROWS

#: The planes of a step, in turn.
_SEEN, _BASE, _SECOND_BASE, _KNOWN, _MADE = range(5)
PLACES = 5


def backproject(write: Writer) -> None:
    """For some rows, and then for those before them with the next step, and so on."""
    task = fields(write, BackprojectionArguments, "%task")
    blocks = write.count("sdiv", write.count("add", task["rows"], _ROWS - 1), _ROWS)
    behind = write.count("add", blocks, task["steps"])
    scratch = write.count("mul", task["row_stride"], _KEPT_ROWS)

    def block(front: str, _: list[str]) -> tuple[()]:
        def step(number: str, _: list[str]) -> tuple[()]:
            first = write.count("mul", write.count("sub", front, number), _ROWS)
            kept = write.at("%scratch", write.count("mul", number, scratch))
            start = write.count("mul", number, PLACES)
            planes = [write.item("ptr", task["places"], write.count("add", start, place)) for place in range(PLACES)]

            def along() -> tuple[()]:
                return _along(write, task, first, planes[_SEEN], kept)

            def across() -> tuple[()]:
                return _across(write, task, write.count("sub", first, _ROWS), kept, planes)

            begun = write.get(f"icmp sge i64 {first}, 0")
            left = write.get(f"icmp slt i64 {first}, {task['rows']}")
            write.only_if(write.get(f"and i1 {begun}, {left}"), along)
            some = write.get(f"icmp sgt i64 {first}, 0")
            not_done = write.get(f"icmp slt i64 {write.count('sub', first, _ROWS)}, {task['rows']}")
            write.only_if(write.get(f"and i1 {some}, {not_done}"), across)
            return ()

        write.loop(0, task["steps"], 1, step)
        return ()

    write.loop(0, behind, 1, block)


def _along(write: Writer, task: dict[str, str], first: str, seen: str, kept: str) -> tuple[()]:
    """Some rows of what is seen, along each; beside the image is what is at its edges."""
    columns = _columns(write, task)
    weights = _weights(write, task["along"])

    def row(number: str, _: list[str]) -> tuple[()]:
        row = write.count("add", first, number)
        source, target = write.at(seen, write.count("mul", row, task["row_stride"])), _kept_row(write, task, row, kept)
        edges = [write.scalar(source, 0), write.scalar(source, write.item("i64", task["right"], 0))]
        for col in range(STEP_REACH):
            beyond = write.item("i64", task["right"], col + 1)
            for edge, place in zip(edges, (write.count("sub", columns[col], 1), beyond), strict=True):
                write.do(f"store float {edge}, ptr {write.at(source, place)}, align 4")

        def vector(tile: str, _: list[str]) -> tuple[()]:
            for phase, pixels in enumerate(_filtered(write, weights, write.at(source, tile), columns)):
                place = write.count("add", columns[phase], tile)
                mask = write.load(write.at(task["mask"], place))
                write.store(write.covered(pixels, mask), write.at(target, place))
            return ()

        write.loop(0, task["tiles"], write.simd_width, vector)
        return ()

    write.loop(0, _ROWS, 1, row)
    return ()


def _filtered(write: Writer, weights: Sequence[str], source: str, columns: Sequence[str]) -> list[str]:
    """A vector of tiles: each phase along its row."""
    read = {}
    for col in range(-STEP_REACH, TILE_PX + STEP_REACH):
        tile, phase = divmod(col, TILE_PX)
        read[col] = write.load(write.at(source, write.count("add", columns[phase], tile)))
    sums = ["zeroinitializer"] * TILE_PX
    for tap, weight in enumerate(weights):
        sums = [write.fused(weight, read[phase + tap - STEP_REACH], total) for phase, total in enumerate(sums)]
    return sums


def _across(write: Writer, task: dict[str, str], first: str, kept: str, planes: Sequence[str]) -> tuple[()]:
    """Some rows of what is made, of the filtered ones around them; beyond the edge is what is at the edge."""
    weights = _weights(write, task["across"])
    last = write.count("sub", task["rows"], 1)
    read = []
    for row in range(_KEPT_ROWS):
        place = write.count("add", first, row - STEP_REACH)
        place = write.either("slt", place, 0, place)
        read.append(_kept_row(write, task, write.either("sgt", place, last, place), kept))
    made = [write.count("add", first, row) for row in range(_ROWS)]
    inside = [write.get(f"icmp sle i64 {row}, {last}") for row in made]
    starts = [write.count("mul", row, task["row_stride"]) for row in made]
    second, known = (write.get(f"icmp ne ptr {planes[place]}, null") for place in (_SECOND_BASE, _KNOWN))

    def phase(number: str, _: list[str]) -> tuple[()]:
        column = write.count("mul", task["phase_stride"], number)

        def vector(tile: str, _: list[str]) -> tuple[()]:
            there = write.count("add", column, tile)
            mask = write.load(write.at(task["mask"], there))
            places = [write.count("add", start, there) for start in starts]

            def of(plane: int) -> list[str]:
                return [write.load(write.at(planes[plane], place)) for place in places]

            def added(sums: list[str]) -> list[str]:
                return [write.add(total, pixels) for total, pixels in zip(sums, of(_SECOND_BASE), strict=True)]

            def stepped(sums: list[str]) -> list[str]:
                steps = [write.multiply(total, share) for total, share in zip(sums, of(_KNOWN), strict=True)]
                return [write.add(pixels, step) for pixels, step in zip(of(_SEEN), steps, strict=True)]

            def stored(total: str, place: str) -> tuple[()]:
                write.store(write.covered(total, mask), write.at(planes[_MADE], place))
                return ()

            sums = of(_BASE)
            sums = write.only_if(second, partial(added, sums), sums)
            for number, row in enumerate(read):
                pixels = write.load(write.at(row, there))
                for output in range(_ROWS):
                    if 0 <= number - output < _TAPS:
                        sums[output] = write.fused(weights[number - output], pixels, sums[output])
            sums = write.only_if(known, partial(stepped, sums), sums)
            for total, place, is_inside in zip(sums, places, inside, strict=True):
                write.only_if(is_inside, partial(stored, total, place))
            return ()

        write.loop(0, task["tiles"], write.simd_width, vector)
        return ()

    write.loop(0, TILE_PX, 1, phase)
    return ()


def _columns(write: Writer, task: dict[str, str]) -> list[str]:
    """Where phases are."""
    return [write.count("mul", task["phase_stride"], phase) for phase in range(TILE_PX)]


def _weights(write: Writer, place: str) -> list[str]:
    return [write.spread(write.scalar(place, tap)) for tap in range(_TAPS)]


def _kept_row(write: Writer, task: dict[str, str], row: str, kept: str) -> str:
    """Where a filtered row is."""
    return write.at(kept, write.count("mul", write.count("srem", row, _KEPT_ROWS), task["row_stride"]))
