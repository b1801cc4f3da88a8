"""Instructions of the builder do as they are documented, for each vector width that the processor has."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from geosr import hardware

if not hardware.has_native():
    pytest.skip("needs llvmlite and a processor with AVX2", allow_module_level=True)

from geosr.codegen.builder import I16, I32, I64
from geosr.codegen.compiler import Kernel, compile_kernels
from tests.geosr.simd_widths import WIDTHS

pytestmark = pytest.mark.parametrize("width", WIDTHS)

POINTER, COUNT = ctypes.c_void_p, ctypes.c_int64


def run(width, write, *arguments):
    """Compile a kernel, whose parameters are ``a``, ``b`` and so on, and call it with arrays and integers."""
    types = [POINTER if isinstance(one, np.ndarray) else COUNT for one in arguments]
    compiled = compile_kernels({"kernel": Kernel(dict(zip("abcd", types, strict=False)), write)}, width)
    compiled.functions["kernel"](*(one.ctypes.data if isinstance(one, np.ndarray) else one for one in arguments))


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_loop_carries_values_from_round_to_round(width, count):
    def fibonacci(build, a, b):
        with build.loop(0, b, carried=[I64(0), I64(1)]) as loop:
            this, following = loop.values
            loop.values = [following, build.add(this, following)]
        build.store(loop.values[0], a)

    out = np.full(1, -1)
    run(width, fibonacci, out, count)
    assert out[0] == [0, 1, 1, 2, 3, 5, 8, 13][count]


def test_loops_nest_and_take_steps(width):
    def products(build, a):
        with build.loop(1, 8, 3) as row, build.loop(0, 2) as col:
            place = build.add(build.multiply(row.index, 2), col.index)
            build.store(build.multiply(row.index, build.add(col.index, 5)), build.at(a, place, I64))

    out = np.full(16, -1)
    run(width, products, out)
    expected = np.full((8, 2), -1)
    expected[1::3] = [[5, 6], [20, 24], [35, 42]]
    assert (out.reshape(8, 2) == expected).all()


@pytest.mark.parametrize("number", [3, 4])
def test_a_branch_replaces_values_where_it_is_entered(width, number):
    def odd_is_negative(build, a, b):
        odd = build.compare("==", build.ir.srem(b, I64(2)), 1)
        with build.when(odd, [b]) as branch:
            branch.values = [build.subtract(I64(0), b)]
        build.store(branch.values[0], a)

    out = np.zeros(1, np.int64)
    run(width, odd_is_negative, out, number)
    assert out[0] == {3: -3, 4: 4}[number]


def vectors(width, values):
    return np.resize(np.float32(values), width)


@pytest.mark.parametrize(
    ("name", "left", "right", "expected"),
    [
        ("maximum", [1, 5, np.nan, 2], [3, 4, 6, np.nan], [3, 5, 6, np.nan]),
        ("minimum", [1, 5, np.nan, 2], [3, 4, 6, np.nan], [1, 4, 6, np.nan]),
        ("masked", [1, np.nan, 3, 4], [1, 0, 0, np.nan], [1, 0, 0, 4]),
        ("subtract", [1, 2, 3, 4], [4, 3, 2, 1], [-3, -1, 1, 3]),
    ],
)
def test_operations_on_vectors(width, name, left, right, expected):
    def operate(build, a, b, c):
        build.store(getattr(build, name)(build.load_vector(a), build.load_vector(b)), c)

    out = np.zeros(width, np.float32)
    run(width, operate, vectors(width, left), vectors(width, right), out)
    np.testing.assert_array_equal(out, vectors(width, expected))


def test_a_fused_multiply_add_is_rounded_once(width):
    def fused(build, a, b, c):
        one = build.load_vector(a)
        build.store(build.fused_multiply_add(one, one, build.load_vector(b)), c)

    # (1 + e)² - 1 - 2 e is e², of which nothing is left where the square is rounded first.
    epsilon = np.float32(2**-23)
    out = np.zeros(width, np.float32)
    run(width, fused, vectors(width, [1 + epsilon]), vectors(width, [-1 - 2 * epsilon]), out)
    assert (out == epsilon**2).all()


@pytest.mark.parametrize("count", [2, 4])
def test_vectors_are_interleaved(width, count):
    def interleave(build, a, b):
        rows = [build.load_vector(build.at(a, number * width, I16), element=I16) for number in range(count)]
        build.store(build.interleave(rows), b)

    rows, out = np.arange(count * width, dtype=np.int16), np.zeros(count * width, np.int16)
    run(width, interleave, rows, out)
    assert (out == rows.reshape(count, width).T.ravel()).all()


def test_operands_of_other_types_are_refused(width):
    def mixed(build, a):
        build.add(build.load(a, 0, I64), build.load(a, 0, I32))

    with pytest.raises(ValueError, match="same type"):
        run(width, mixed, np.zeros(1, np.int64))
