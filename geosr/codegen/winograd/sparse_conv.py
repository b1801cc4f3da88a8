"""Convolutions with filters that are mostly zero, as code for planes: interpolation, the sensor's blur."""

from __future__ import annotations

from geosr.codegen.builder import Writer
from geosr.codegen.structs import fields
from geosr.codegen.winograd.arguments import SparseConvArguments
from geosr.codegen.winograd.conv3x3 import TILE_PX

#: Rows at a time: where taps are, and what they weigh, is read once for all of them.
_ROWS = 2


def gather(write: Writer) -> None:
    """For rows of pixels: each output plane's taps, one after another."""
    task = fields(write, SparseConvArguments, "%task")
    has_base = write.get(f"icmp ne ptr {task['base']}, null")
    columns = [write.count("mul", task["phase_stride"], phase) for phase in range(TILE_PX)]
    last = write.count("sub", "%stop", 1)

    def rows(number: str, _: list[str]) -> tuple[()]:
        starts = [write.count("mul", number, task["row_stride"])]
        for further in range(1, _ROWS):
            # Where there are fewer, the last is made again.
            row = write.count("add", number, further)
            row = write.either("sgt", row, last, row)
            starts.append(write.count("mul", row, task["row_stride"]))

        def plane(output: str, _: list[str]) -> tuple[()]:
            weights = write.at(task["weights"], write.count("mul", output, task["taps"]))
            below, target = (write.count("mul", output, task[stride]) for stride in ("plane_stride", "out_stride"))
            first = write.count("mul", output, write.count("mul", task["taps"], TILE_PX))
            offsets = [write.count("add", first, write.count("mul", task["taps"], phase)) for phase in range(TILE_PX)]

            def vector(tile: str, _: list[str]) -> tuple[()]:
                along = [write.count("add", start, tile) for start in starts]
                there = [write.at(task["x"], place) for place in along]
                under, here = (
                    [write.count("add", write.count("add", one, plane), column) for one in along for column in columns]
                    for plane in (below, target)
                )

                def below_them() -> list[str]:
                    return [write.load(write.at(task["base"], place)) for place in under]

                given = write.only_if(has_base, below_them, ["zeroinitializer"] * len(here))

                def tap(number: str, sums: list[str]) -> list[str]:
                    # The same of all phases, whose sums do not wait for each other.
                    weight = write.spread(write.scalar(weights, number))
                    places = [
                        write.item("i64", task["offsets"], write.count("add", offset, number)) for offset in offsets
                    ]
                    read = [write.load(write.at(row, place)) for row in there for place in places]
                    return [write.fused(weight, pixels, total) for pixels, total in zip(read, sums, strict=True)]

                made = write.loop(0, task["taps"], 1, tap, given)
                masks = [write.load(write.at(task["mask"], write.count("add", column, tile))) for column in columns]
                for pixels, mask, place in zip(made, masks * _ROWS, here, strict=True):
                    write.store(write.covered(pixels, mask), write.at(task["out"], place))
                return ()

            write.loop(0, task["tiles"], write.simd_width, vector)
            return ()

        write.loop(0, task["outputs"], 1, plane)
        return ()

    write.loop("%first", "%stop", _ROWS, rows)
