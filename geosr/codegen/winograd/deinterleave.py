"""Images out of planes, as code."""

from __future__ import annotations

from geosr.codegen.builder import Writer
from geosr.codegen.structs import fields
from geosr.codegen.winograd.arguments import DeinterleaveArguments
from geosr.codegen.winograd.conv3x3 import TILE_PX


def deinterleave(write: Writer) -> None:
    """For some planes: their rows, pixel by pixel."""
    task = fields(write, DeinterleaveArguments, "%task")
    together = TILE_PX * write.simd_width
    several = write.count("sub", task["cols"], together - 1)
    size = write.count("mul", task["rows"], task["cols"])

    def plane(number: str, _: list[str]) -> tuple[()]:
        source = write.at(task["x"], write.count("mul", number, task["plane_stride"]))
        target = write.at(task["out"], write.count("mul", number, size))

        def row(number: str, _: list[str]) -> tuple[()]:
            start = write.at(source, write.count("mul", number, task["row_stride"]))
            phases = [write.at(start, write.item("i64", task["phases"], phase)) for phase in range(TILE_PX)]
            line = write.at(target, write.count("mul", number, task["cols"]))

            def some(col: str, _: list[str]) -> tuple[()]:
                tile = write.count("sdiv", col, TILE_PX)
                pixels = write.interleaved([write.load(write.at(phase, tile)) for phase in phases])
                write.do(f"store <{together} x float> {pixels}, ptr {write.at(line, col)}, align 4")
                return ()

            def one(col: str, _: list[str]) -> tuple[()]:
                place = write.count("srem", col, TILE_PX)
                phase = write.at(start, write.item("i64", task["phases"], place))
                pixel = write.scalar(phase, write.count("sdiv", col, TILE_PX))
                write.do(f"store float {pixel}, ptr {write.at(line, col)}, align 4")
                return ()

            write.loop(0, several, together, some)
            rest = write.count("srem", task["cols"], together)
            write.loop(write.count("sub", task["cols"], rest), task["cols"], 1, one)
            return ()

        write.loop(0, task["rows"], 1, row)
        return ()

    write.loop("%first", "%stop", 1, plane)
