"""Machine code for 3 × 3 convolutions by Winograd's minimal filtering, made for the processor that it runs on.

F(4 × 4, 3 × 3) of Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks* (2016), needs 36 products where a
direct convolution has 144. The code is written here as LLVM's intermediate representation, as text, and compiled when
a process first needs it, in a quarter of a second; no compiler has to be installed. It is for planes as
:mod:`geosr.engine.winograd` lays them out, and knows no more than that: vectors hold tiles side by side, so that every
load and store is of consecutive numbers.

No operation is left to the optimizer to contract or reorder: processors with vectors of other widths make the same
bits.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import llvmlite.binding as llvm
import numpy as np

from geosr.engine import system

#: Output pixels along a tile's side, and those read for them.
TILE_PX, READ_PX = 4, 6

#: Products per tile and pair of planes.
PRODUCTS = READ_PX * READ_PX

#: Vectors of tiles that go through a layer together; with one row of weights they fill the registers.
VECTORS = 3

_TARGET_OPTIONS = {16: "-prefer-256-bit", 8: "-avx512f"}


class Layer(ctypes.Structure):
    """What a layer's code is told. Lengths and strides are in floats."""

    _fields_ = (
        # The first pixel of the region in the first plane, and where each input plane begins, counted from there.
        ("x", ctypes.c_void_p),
        ("planes", ctypes.c_void_p),
        ("inputs", ctypes.c_int64),
        ("filters", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        # Made is slope(x) where no base is given, base + gain slope(x) with one, and the same again with the second.
        ("base", ctypes.c_void_p),
        ("second_base", ctypes.c_void_p),
        # 1 in the columns of the region and 0 beyond.
        ("mask", ctypes.c_void_p),
        ("plane_stride", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("phase_stride", ctypes.c_int64),
        # Tiles in a row, a multiple of the vector's length, and rows of the region.
        ("tiles", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("slope", ctypes.c_double),
        ("gain", ctypes.c_double),
        ("second_gain", ctypes.c_double),
    )


#: ``(layer, first row of tiles, row of tiles to stop before, room for inputs, room for outputs)``.
_SIGNATURE = ctypes.CFUNCTYPE(
    None, ctypes.POINTER(Layer), ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p
)


@dataclass(frozen=True)
class Code:
    """What was compiled."""

    lanes: int
    """Floats of a vector."""
    outputs: int
    """Planes made together: layers have a multiple of them."""
    convolve: Callable[..., None]
    """See :data:`_SIGNATURE`. Lets other threads of Python run."""
    owner: object
    """Keeps the code in memory."""

    @property
    def tiles(self) -> int:
        """Tiles that go through a layer together."""
        return VECTORS * self.lanes


@lru_cache(maxsize=1)
def compiled() -> Code:
    """The code for this processor, which has AVX2 at least (see :func:`geosr.engine.system.has_winograd`)."""
    lanes = 16 if "avx512f" in system.cpu_flags() else 8
    # As many sums as there are registers, but for what is read.
    outputs = 8 if lanes == 16 else 4
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(_source(lanes, outputs))
    features = f"{llvm.get_host_cpu_features().flatten()},{_TARGET_OPTIONS[lanes]}"
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3)
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return Code(lanes, outputs, _SIGNATURE(engine.get_function_address("convolve")), engine)


class _Writer:
    """Writes a function's instructions. Values are their names; those without a stated type are vectors."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.vector = f"<{lanes} x float>"
        self.lines: list[str] = []
        self._names = 0
        self._block = "entry"

    def name(self, kind: str = "v") -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def do(self, instruction: str) -> None:
        self.lines.append(f"  {instruction}")

    def get(self, instruction: str) -> str:
        value = f"%{self.name()}"
        self.do(f"{value} = {instruction}")
        return value

    def begin(self, block: str) -> None:
        self.lines.append(f"{block}:")
        self._block = block

    # Numbers

    def count(self, operation: str, left: str, right: str | int) -> str:
        return self.get(f"{operation} i64 {left}, {right}")

    def add(self, left: str, right: str) -> str:
        return self.get(f"fadd {self.vector} {left}, {right}")

    def subtract(self, left: str, right: str) -> str:
        return self.get(f"fsub {self.vector} {left}, {right}")

    def multiply(self, left: str, right: str) -> str:
        return self.get(f"fmul {self.vector} {left}, {right}")

    def fused(self, left: str | int, right: str, addend: str) -> str:
        """``left * right + addend``, rounded once; a number on the left stands for a vector of it."""
        if isinstance(left, int):
            bits = struct.unpack("<Q", struct.pack("<d", left))[0]
            left = "<" + ", ".join([f"float 0x{bits:016X}"] * self.lanes) + ">"
        vector = self.vector
        return self.get(
            f"call {vector} @llvm.fma.v{self.lanes}f32({vector} {left}, {vector} {right}, {vector} {addend})"
        )

    def larger(self, left: str, right: str) -> str:
        return self.get(
            f"call {self.vector} @llvm.maxnum.v{self.lanes}f32({self.vector} {left}, {self.vector} {right})"
        )

    def spread(self, scalar: str) -> str:
        """A vector of one float."""
        first = self.get(f"insertelement {self.vector} poison, float {scalar}, i32 0")
        return self.get(
            f"shufflevector {self.vector} {first}, {self.vector} poison, <{self.lanes} x i32> zeroinitializer"
        )

    # Memory

    def at(self, pointer: str, floats: str | int) -> str:
        return self.get(f"getelementptr float, ptr {pointer}, i64 {floats}")

    def load(self, pointer: str) -> str:
        return self.get(f"load {self.vector}, ptr {pointer}, align 4")

    def scalar(self, pointer: str, index: str | int) -> str:
        return self.get(f"load float, ptr {self.at(pointer, index)}, align 4")

    def store(self, value: str, pointer: str) -> None:
        self.do(f"store {self.vector} {value}, ptr {pointer}, align 4")

    def prefetch(self, pointer: str) -> None:
        self.do(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 0, i32 2, i32 1)")

    def field(self, name: str) -> str:
        """One of a layer's fields, each of which takes eight bytes."""
        kinds = dict(Layer._fields_)
        kind = {ctypes.c_void_p: "ptr", ctypes.c_int64: "i64", ctypes.c_double: "double"}[kinds[name]]
        place = self.get(f"getelementptr i64, ptr %layer, i64 {list(kinds).index(name)}")
        value = self.get(f"load {kind}, ptr {place}, align 8")
        return self.spread(self.get(f"fptrunc double {value} to float")) if kind == "double" else value

    # Control

    def loop(
        self,
        start: str | int,
        stop: str | int,
        step: int,
        body: Callable[[str, list[str]], Sequence[str]],
        carried: Sequence[str] = (),
    ) -> list[str]:
        """Runs ``body(index, vectors)``, which returns the vectors of the next round; returns those of the last."""
        name = self.name("loop")
        before = self._block
        self.do(f"br label %{name}")
        self.begin(name)
        index, vectors = f"%{name}.i", [f"%{name}.{number}" for number in range(len(carried))]
        heads = len(self.lines)
        more = self.get(f"icmp slt i64 {index}, {stop}")
        self.do(f"br i1 {more}, label %{name}.body, label %{name}.end")
        self.begin(f"{name}.body")
        made = body(index, vectors)
        following = self.count("add", index, step)
        self.do(f"br label %{name}")
        last = self._block
        phis = [f"  {index} = phi i64 [ {start}, %{before} ], [ {following}, %{last} ]"]
        for vector, first, new in zip(vectors, carried, made, strict=True):
            phis.append(f"  {vector} = phi {self.vector} [ {first}, %{before} ], [ {new}, %{last} ]")
        self.lines[heads:heads] = phis
        self.begin(f"{name}.end")
        return vectors

    def only_if(self, condition: str, body: Callable[[], Sequence[str]], otherwise: Sequence[str] = ()) -> list[str]:
        """Runs ``body`` under a condition; returns its vectors, or else those of ``otherwise``."""
        name, before = self.name("if"), self._block
        self.do(f"br i1 {condition}, label %{name}, label %{name}.end")
        self.begin(name)
        made, last = body(), self._block
        self.do(f"br label %{name}.end")
        self.begin(f"{name}.end")
        return [
            self.get(f"phi {self.vector} [ {new}, %{last} ], [ {old}, %{before} ]")
            for new, old in zip(made, otherwise, strict=True)
        ]


def _source(lanes: int, outputs: int) -> str:
    """The module's text."""
    vector = f"<{lanes} x float>"
    write = _Writer(lanes)
    _convolve(write, outputs)
    return "\n".join(
        [
            f"declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})",
            f"declare {vector} @llvm.maxnum.v{lanes}f32({vector}, {vector})",
            "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)",
            "define void @convolve(ptr %layer, i64 %first, i64 %stop, ptr %in, ptr %made) {",
            "entry:",
            *write.lines,
            "  ret void",
            "}",
        ]
    )


def _convolve(write: _Writer, outputs: int) -> None:
    """For rows of tiles, some vectors of tiles at a time: transform, multiply, transform back."""
    layer = {name: write.field(name) for name, _ in Layer._fields_}
    together = VECTORS * write.lanes

    def row(tile_row: str, _: list[str]) -> tuple[()]:
        top = write.count("mul", tile_row, TILE_PX)

        def group(tile: str, _: list[str]) -> tuple[()]:
            left = write.count("sub", layer["tiles"], tile)
            fewer = write.get(f"icmp slt i64 {left}, {together}")
            width = write.get(f"select i1 {fewer}, i64 {left}, i64 {together}")
            _transform(write, layer, top, tile, width)
            for vectors in range(1, VECTORS + 1):
                chosen = write.get(f"icmp eq i64 {width}, {vectors * write.lanes}")
                write.only_if(chosen, lambda count=vectors: _multiply(write, layer, outputs, count))  # type: ignore[misc]
            _transform_back(write, layer, top, tile, width)
            return ()

        write.loop(0, layer["tiles"], together, group)
        return ()

    write.loop("%first", "%stop", 1, row)


def _transform(write: _Writer, layer: dict[str, str], top: str, tile: str, width: str) -> None:
    """Each input plane's tiles: ``in[product][plane][tile]``."""
    together = VECTORS * write.lanes
    stride = write.count("mul", layer["inputs"], together)
    start = write.count("mul", write.count("sub", top, 1), layer["row_stride"])
    window = write.at(layer["x"], write.count("add", start, tile))

    def plane(number: str, _: list[str]) -> tuple[()]:
        place = write.get(f"getelementptr i64, ptr {layer['planes']}, i64 {number}")
        source = write.at(window, write.get(f"load i64, ptr {place}, align 8"))
        target = write.at("%in", write.count("mul", number, together))

        def vector(offset: str, _: list[str]) -> tuple[()]:
            pointer, rows = write.at(source, offset), []
            for row in range(READ_PX):
                if row:
                    pointer = write.at(pointer, layer["row_stride"])
                phases = _phases(write, layer, pointer)
                # A tile reads one pixel of the tiles on its left and right.
                pixels = [write.at(phases[-1], -1), *phases, write.at(phases[0], 1)]
                if row >= READ_PX - TILE_PX:
                    for phase in phases:
                        write.prefetch(write.at(phase, together))
                rows.append(_to_products(write, [write.load(pixel) for pixel in pixels]))
            columns = [_to_products(write, [row[column] for row in rows]) for column in range(READ_PX)]
            place = write.at(target, offset)
            for number in range(PRODUCTS):
                if number:
                    place = write.at(place, stride)
                write.store(columns[number % READ_PX][number // READ_PX], place)
            return ()

        write.loop(0, width, write.lanes, vector)
        return ()

    write.loop(0, layer["inputs"], 1, plane)


def _multiply(write: _Writer, layer: dict[str, str], outputs: int, vectors: int) -> tuple[()]:
    """Sums over the input planes, for some output planes at a time: ``made[product][plane][tile]``."""
    together = VECTORS * write.lanes

    def product(number: str, _: list[str]) -> tuple[()]:
        planes = write.count("mul", layer["inputs"], layer["outputs"])
        filters = write.at(layer["filters"], write.count("mul", number, planes))
        source = write.at("%in", write.count("mul", write.count("mul", number, layer["inputs"]), together))
        target = write.at("%made", write.count("mul", write.count("mul", number, layer["outputs"]), together))

        def some(first: str, _: list[str]) -> tuple[()]:
            weights = write.at(filters, write.count("mul", first, layer["inputs"]))

            def plane(plane: str, sums: list[str]) -> list[str]:
                pixels = write.at(source, write.count("mul", plane, together))
                read = [write.load(write.at(pixels, vector * write.lanes)) for vector in range(vectors)]
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
                write.store(total, write.at(made, output * together + vector * write.lanes))
            return ()

        write.loop(0, layer["outputs"], outputs, some)
        return ()

    write.loop(0, PRODUCTS, 1, product)
    return ()


def _transform_back(write: _Writer, layer: dict[str, str], top: str, tile: str, width: str) -> None:
    """Each output plane's pixels, with all that is done to them."""
    together = VECTORS * write.lanes
    stride = write.count("mul", layer["outputs"], together)
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
                write.only_if(inside, lambda of=pixels, to=from_top: _finish(write, layer, window, bases, of, to, mask))  # type: ignore[misc]
            return ()

        write.loop(0, width, write.lanes, vector)
        return ()

    write.loop(0, layer["outputs"], 1, plane)


def _finish(
    write: _Writer,
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
        write.store(write.multiply(pixel, write.load(covered)), place)
    return ()


def _phases(write: _Writer, layer: dict[str, str], pointer: str) -> list[str]:
    """Where each of a row's phases is, from where the first is."""
    places = [pointer]
    while len(places) < TILE_PX:
        places.append(write.at(places[-1], layer["phase_stride"]))
    return places


def _to_products(write: _Writer, read: Sequence[str]) -> list[str]:
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


def _to_pixels(write: _Writer, products: Sequence[str]) -> list[str]:
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
