"""Writes machine code's text, in LLVM's intermediate representation."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class Writer:
    """Writes a function's instructions. Values are their names; those without a stated type are vectors."""

    def __init__(self, simd_width: int) -> None:
        self.simd_width = simd_width
        self.lines: list[str] = []
        self._names = 0
        self._block = "entry"

    @property
    def vector(self) -> str:
        return f"<{self.simd_width} x float>"

    @contextmanager
    def vectors_of(self, simd_width: int) -> Iterator[None]:
        """Vectors of another length meanwhile."""
        before, self.simd_width = self.simd_width, simd_width
        yield
        self.simd_width = before

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

    def either(self, comparison: str, left: str, right: str | int, otherwise: str) -> str:
        """The number on the right where the comparison holds, else another."""
        chosen = self.get(f"icmp {comparison} i64 {left}, {right}")
        return self.get(f"select i1 {chosen}, i64 {right}, i64 {otherwise}")

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
            left = "<" + ", ".join([f"float 0x{bits:016X}"] * self.simd_width) + ">"
        vector = self.vector
        return self.get(
            f"call {vector} @llvm.fma.v{self.simd_width}f32({vector} {left}, {vector} {right}, {vector} {addend})"
        )

    def larger(self, left: str, right: str) -> str:
        return self._either("ogt", left, right, left, right)

    def smaller(self, left: str, right: str) -> str:
        return self._either("olt", left, right, left, right)

    def covered(self, value: str, mask: str) -> str:
        """A value where its mask is not zero, and there zero, whatever the value."""
        return self._either("une", mask, "zeroinitializer", value, "zeroinitializer")

    def replaced(self, value: str, unwanted: str, other: str) -> str:
        """A value, but for where it is the ``unwanted``."""
        return self._either("oeq", value, unwanted, other, value)

    def spread(self, scalar: str) -> str:
        """A vector of one float."""
        first = self.get(f"insertelement {self.vector} poison, float {scalar}, i32 0")
        return self.get(
            f"shufflevector {self.vector} {first}, {self.vector} poison, <{self.simd_width} x i32> zeroinitializer"
        )

    def _either(self, comparison: str, left: str, right: str, then: str, otherwise: str) -> str:
        chosen = self.get(f"fcmp {comparison} {self.vector} {left}, {right}")
        return self.get(f"select <{self.simd_width} x i1> {chosen}, {self.vector} {then}, {self.vector} {otherwise}")

    def interleaved(self, vectors: Sequence[str], kind: str = "float") -> str:
        """One vector: the first of each, then the second of each, and so on. There are two, or four, of ``kind``."""
        if len(vectors) > 2:
            even, odd = self.interleaved(vectors[::2], kind), self.interleaved(vectors[1::2], kind)
        else:
            even, odd = vectors
        each = self.simd_width * len(vectors) // 2
        order = ", ".join(f"i32 {element}, i32 {each + element}" for element in range(each))
        whole = f"<{each} x {kind}>"
        return self.get(f"shufflevector {whole} {even}, {whole} {odd}, <{2 * each} x i32> <{order}>")

    # Memory

    def at(self, pointer: str, floats: str | int) -> str:
        return self.get(f"getelementptr float, ptr {pointer}, i64 {floats}")

    def load(self, pointer: str) -> str:
        return self.get(f"load {self.vector}, ptr {pointer}, align 4")

    def scalar(self, pointer: str, index: str | int) -> str:
        return self.get(f"load float, ptr {self.at(pointer, index)}, align 4")

    def store(self, value: str, pointer: str) -> None:
        self.do(f"store {self.vector} {value}, ptr {pointer}, align 4")

    def prefetch(self, pointer: str, *, to_write: bool = False) -> None:
        self.do(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 {int(to_write)}, i32 2, i32 1)")

    def item(self, kind: str, pointer: str, index: str | int) -> str:
        """Of items of eight bytes each: ``i64`` or ``ptr``, or ``double``, which becomes a vector of it."""
        place = self.get(f"getelementptr i64, ptr {pointer}, i64 {index}")
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
