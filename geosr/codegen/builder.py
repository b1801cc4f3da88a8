"""Writes functions in LLVM's intermediate representation, as typed values.

:class:`Builder` adds to llvmlite's ``IRBuilder`` what kernels have in common: arithmetic on vectors of the processor's
width, memory by index, loops with carried values and branches. Every value has a type, and llvmlite refuses operands
that do not match.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from llvmlite import ir

#: A value, a constant or an argument of llvmlite; llvmlite itself has no types for mypy.
Value: TypeAlias = ir.Value
Type: TypeAlias = ir.Type

I1, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
POINTER = ir.PointerType()

#: Size of elements in memory, and their alignment, in bytes.
_BYTES = ((I16, 2), (I32, 4), (F32, 4), (I64, 8), (F64, 8), (POINTER, 8))


class Carried:
    """Values that a loop or a branch replaces: assign ``values`` inside, read them inside and after."""

    def __init__(self, values: Sequence[Value]) -> None:
        self.values = list(values)


class Loop(Carried):
    """A loop's index and the values carried from round to round."""

    def __init__(self, index: Value, values: Sequence[Value]) -> None:
        super().__init__(values)
        self.index = index


class Builder:
    """Appends instructions to one function.

    Operands may be Python numbers where the other operand has a type. Integers are signed and 64 bits wide unless
    stated otherwise.
    """

    def __init__(self, function: ir.Function, simd_width: int) -> None:
        """``simd_width`` is the number of floats in a vector."""
        self.ir = ir.IRBuilder(function.append_basic_block("entry"))
        self.simd_width = simd_width

    # Types and constants

    def vector_type(self, element: Type = F32, count: int | None = None) -> Type:
        """Type of a vector of ``count`` elements, by default as many as fill the processor's floats."""
        return ir.VectorType(element, self.simd_width if count is None else count)

    def zeros(self, count: int | None = None, element: Type = F32) -> Value:
        """Vector of zeros."""
        return ir.Constant(self.vector_type(element, count), None)

    def splat(self, scalar: Value, count: int | None = None) -> Value:
        """Vector with one scalar in all elements."""
        vector = self.vector_type(scalar.type, count)
        first = self.ir.insert_element(ir.Constant(vector, ir.Undefined), scalar, I32(0))
        return self.ir.shuffle_vector(first, ir.Constant(vector, ir.Undefined), self.zeros(vector.count, I32))

    # Arithmetic, on integers, floats or vectors of them

    def add(self, left: Value, right: Value | int) -> Value:
        """``left + right``."""
        return (self.ir.fadd if _is_float(left) else self.ir.add)(left, _like(left, right))

    def subtract(self, left: Value, right: Value | int) -> Value:
        """``left - right``."""
        return (self.ir.fsub if _is_float(left) else self.ir.sub)(left, _like(left, right))

    def multiply(self, left: Value, right: Value | int) -> Value:
        """``left * right``."""
        return (self.ir.fmul if _is_float(left) else self.ir.mul)(left, _like(left, right))

    def fused_multiply_add(self, left: Value | float, right: Value, addend: Value) -> Value:
        """``left * right + addend``, rounded once."""
        return self.intrinsic("llvm.fma", right.type, [_like(right, left), right, addend])

    def maximum(self, left: Value, right: Value | int) -> Value:
        """``left`` where it is greater, else ``right``, which therefore stands where either is NaN."""
        return self.where(self.compare(">", left, right), left, _like(left, right))

    def minimum(self, left: Value, right: Value | int) -> Value:
        """``left`` where it is less, else ``right``, which therefore stands where either is NaN."""
        return self.where(self.compare("<", left, right), left, _like(left, right))

    def compare(self, operator: str, left: Value, right: Value | int) -> Value:
        """``left operator right``, of signed integers or floats; with NaN nothing holds but ``!=``."""
        right = _like(left, right)
        if not _is_float(left):
            return self.ir.icmp_signed(operator, left, right)
        return (self.ir.fcmp_unordered if operator == "!=" else self.ir.fcmp_ordered)(operator, left, right)

    def where(self, condition: Value, then: Value, otherwise: Value) -> Value:
        """``then`` where the condition holds, else ``otherwise``."""
        return self.ir.select(condition, then, otherwise)

    def masked(self, value: Value, mask: Value) -> Value:
        """``value`` where the mask is not zero, and zero elsewhere, even where the value is NaN."""
        nothing = ir.Constant(value.type, None)
        return self.where(self.compare("!=", mask, nothing), value, nothing)

    def is_given(self, pointer: Value) -> Value:
        """Condition that a pointer is not null."""
        return self.ir.icmp_unsigned("!=", pointer, ir.Constant(POINTER, None))

    def interleave(self, vectors: Sequence[Value]) -> Value:
        """One vector of two or four: their first elements in turn, then their second ones, and so on."""
        if len(vectors) > 2:
            vectors = [self.interleave(vectors[::2]), self.interleave(vectors[1::2])]
        even, odd = vectors
        count = even.type.count
        order = [one for pair in zip(range(count), range(count, 2 * count), strict=True) for one in pair]
        return self.ir.shuffle_vector(even, odd, ir.Constant(ir.VectorType(I32, 2 * count), order))

    def intrinsic(self, name: str, result: Type, operands: Sequence[Value]) -> Value:
        """Call one of LLVM's own functions that is overloaded by its first operand."""
        module, first = self.ir.module, operands[0].type
        element = _element(first)
        kind = "p0" if element == POINTER else f"i{element.width}" if isinstance(element, ir.IntType) else "f32"
        full = f"{name}.v{first.count}{kind}" if isinstance(first, ir.VectorType) else f"{name}.{kind}"
        if full not in module.globals:
            ir.Function(module, ir.FunctionType(result, [operand.type for operand in operands]), full)
        return self.ir.call(module.globals[full], operands)

    # Memory

    def at(self, pointer: Value, index: Value | int, element: Type = F32) -> Value:
        """Address ``index`` elements from a pointer."""
        return self.ir.gep(pointer, [_like(I64, index)], source_etype=element)

    def load(self, pointer: Value, index: Value | int, element: Type = F32) -> Value:
        """Element ``index`` of an array."""
        return self.ir.load(self.at(pointer, index, element), typ=element, align=_bytes(element))

    def load_vector(self, pointer: Value, count: int | None = None, element: Type = F32) -> Value:
        """Vector at an address that is aligned to its elements."""
        return self.ir.load(pointer, typ=self.vector_type(element, count), align=_bytes(element))

    def store(self, value: Value, pointer: Value) -> None:
        """Store an element or a vector at an address that is aligned to its elements."""
        self.ir.store(value, pointer, align=_bytes(_element(value.type)))

    def prefetch(self, pointer: Value, *, to_write: bool = False) -> None:
        """Have the processor fetch a line of memory into its second cache."""
        self.intrinsic("llvm.prefetch", ir.VoidType(), [pointer, I32(int(to_write)), I32(2), I32(1)])

    # Control

    @contextmanager
    def loop(
        self, start: Value | int, stop: Value | int, step: int = 1, carried: Sequence[Value] = ()
    ) -> Iterator[Loop]:
        """``for index in range(start, stop, step)``, around the instructions that the block appends.

        ``carried`` are the values of the first round. What the block assigns to ``loop.values`` are those of the next
        round; after the block ``loop.values`` are those of the last, or ``carried`` where there was no round.
        """
        before, head = self.ir.block, self.ir.append_basic_block("loop")
        self.ir.branch(head)
        self.ir.position_at_end(head)
        phis = [self.ir.phi(kind) for kind in (I64, *(value.type for value in carried))]
        more = self.compare("<", phis[0], stop)
        body = self.ir.append_basic_block("body")
        self.ir.position_at_end(body)
        loop = Loop(phis[0], phis[1:])
        yield loop
        following = [self.add(loop.index, step), *loop.values]
        self.ir.branch(head)
        for phi, first, new in zip(phis, [_like(I64, start), *carried], following, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(new, self.ir.block)
        end = self.ir.append_basic_block("end")
        with self.ir.goto_block(head):
            self.ir.cbranch(more, body, end)
        self.ir.position_at_end(end)
        loop.values = phis[1:]

    @contextmanager
    def when(self, condition: Value, otherwise: Sequence[Value] = ()) -> Iterator[Carried]:
        """``if condition``, around the instructions that the block appends.

        After the block the ``values`` are those that it has assigned, or ``otherwise`` where it was not entered.
        """
        before, then = self.ir.block, self.ir.append_basic_block("then")
        self.ir.position_at_end(then)
        branch = Carried(otherwise)
        yield branch
        last, end = self.ir.block, self.ir.append_basic_block("end")
        self.ir.branch(end)
        with self.ir.goto_block(before):
            self.ir.cbranch(condition, then, end)
        self.ir.position_at_end(end)
        merged = []
        for new, old in zip(branch.values, otherwise, strict=True):
            phi = self.ir.phi(new.type)
            phi.add_incoming(new, last)
            phi.add_incoming(old, before)
            merged.append(phi)
        branch.values = merged


def _element(kind: Type) -> Type:
    return kind.element if isinstance(kind, ir.VectorType) else kind


def _is_float(value: Value) -> bool:
    return bool(_element(value.type) == F32)


def _bytes(element: Type) -> int:
    return next(size for kind, size in _BYTES if kind == element)


def _like(model: Value | Type, value: Any) -> Value:
    """A Python number as a constant of the model's type; other values as they are."""
    kind = model if isinstance(model, ir.Type) else model.type
    return ir.Constant(kind, value) if isinstance(value, int | float) else value
