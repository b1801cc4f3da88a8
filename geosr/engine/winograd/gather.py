"""Convolutions with filters that are mostly zero, as code for planes: interpolation, the sensor's blur."""

from __future__ import annotations

from geosr.engine.winograd.convolve import TILE_PX
from geosr.engine.winograd.tasks import Gathering
from geosr.native.structures import fields
from geosr.native.writer import Writer


def gather(write: Writer) -> None:
    """For rows of pixels: each output plane's taps, one after another."""
    task = fields(write, Gathering, "%task")
    bases = [(task[name], write.get(f"icmp ne ptr {task[name]}, null")) for name in ("base", "second_base")]
    columns = [write.count("mul", task["phase_stride"], phase) for phase in range(TILE_PX)]

    def row(number: str, _: list[str]) -> tuple[()]:
        start = write.count("mul", number, task["row_stride"])

        def plane(output: str, _: list[str]) -> tuple[()]:
            weights = write.at(task["weights"], write.count("mul", output, task["taps"]))
            below, target = (
                write.count("add", start, write.count("mul", output, task[stride]))
                for stride in ("plane_stride", "out_stride")
            )

            first = write.count("mul", output, write.count("mul", task["taps"], TILE_PX))
            offsets = [write.count("add", first, write.count("mul", task["taps"], phase)) for phase in range(TILE_PX)]

            def vector(tile: str, _: list[str]) -> tuple[()]:
                there = write.at(task["x"], write.count("add", start, tile))
                under, here = (
                    [write.count("add", write.count("add", first, column), tile) for column in columns]
                    for first in (below, target)
                )

                given = ["zeroinitializer"] * TILE_PX
                for base, there_is in bases:

                    def added(base: str = base, given: list[str] = given) -> list[str]:
                        below = [write.load(write.at(base, place)) for place in under]
                        return [write.add(one, pixels) for one, pixels in zip(given, below, strict=True)]

                    given = write.only_if(there_is, added, given)

                def tap(number: str, sums: list[str]) -> list[str]:
                    # The same of all phases, whose sums do not wait for each other.
                    weight = write.spread(write.scalar(weights, number))
                    places = [
                        write.item("i64", task["offsets"], write.count("add", offset, number)) for offset in offsets
                    ]
                    read = [write.load(write.at(there, place)) for place in places]
                    return [write.fused(weight, pixels, total) for pixels, total in zip(read, sums, strict=True)]

                made = write.loop(0, task["taps"], 1, tap, given)
                for pixels, column, place in zip(made, columns, here, strict=True):
                    mask = write.load(write.at(task["mask"], write.count("add", column, tile)))
                    write.store(write.covered(pixels, mask), write.at(task["out"], place))
                return ()

            write.loop(0, task["tiles"], write.lanes, vector)
            return ()

        write.loop(0, task["outputs"], 1, plane)
        return ()

    write.loop("%first", "%stop", 1, row)
