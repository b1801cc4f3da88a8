"""Convolutions with filters that are mostly zero, as code for planes: interpolation, the sensor's blur."""

from __future__ import annotations

from geosr.engine.winograd.convolve import TILE_PX
from geosr.engine.winograd.tasks import Gathering
from geosr.native.structures import fields
from geosr.native.writer import Writer


def gather(write: Writer) -> None:
    """For rows of pixels: each output plane's taps, one after another."""
    task = fields(write, Gathering, "%task")
    based = write.get(f"icmp ne ptr {task['base']}, null")

    def row(number: str, _: list[str]) -> tuple[()]:
        start = write.count("mul", number, task["row_stride"])

        def plane(output: str, _: list[str]) -> tuple[()]:
            weights = write.at(task["weights"], write.count("mul", output, task["taps"]))
            target = write.count("add", start, write.count("mul", output, task["plane_stride"]))

            def phase(number: str, _: list[str]) -> tuple[()]:
                column = write.count("mul", number, task["phase_stride"])
                first = write.count("add", write.count("mul", output, TILE_PX), number)
                first = write.count("mul", first, task["taps"])

                def vector(tile: str, _: list[str]) -> tuple[()]:
                    here = write.count("add", write.count("add", target, column), tile)
                    there = write.at(task["x"], write.count("add", start, tile))

                    def base() -> list[str]:
                        return [write.load(write.at(task["base"], here))]

                    given = write.only_if(based, base, ["zeroinitializer"])

                    def tap(number: str, sums: list[str]) -> list[str]:
                        offset = write.item("i64", task["offsets"], write.count("add", first, number))
                        weight = write.spread(write.scalar(weights, number))
                        return [write.fused(weight, write.load(write.at(there, offset)), sums[0])]

                    (made,) = write.loop(0, task["taps"], 1, tap, given)
                    mask = write.load(write.at(task["mask"], write.count("add", column, tile)))
                    write.store(write.covered(made, mask), write.at(task["out"], here))
                    return ()

                write.loop(0, task["tiles"], write.lanes, vector)
                return ()

            write.loop(0, TILE_PX, 1, phase)
            return ()

        write.loop(0, task["outputs"], 1, plane)
        return ()

    write.loop("%first", "%stop", 1, row)
