"""Convolutions by Winograd's filtering are convolutions, to the bit the same however they are computed."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from geosr import hardware
from geosr.engine.buffers import BufferPool

if not hardware.has_winograd():
    pytest.skip("needs llvmlite, OpenVINO and a processor with AVX2", allow_module_level=True)

from geosr.codegen.winograd.library import compile_for, compiled
from geosr.engine.winograd.dispatch import AddedBase, BackProjectionStep, Convolution, Runner, StepFilters, Taps
from geosr.engine.winograd.layout import PolyphaseLayout
from tests.geosr import winograd_reference as reference
from tests.geosr.simd_widths import WIDTHS


def convolved(image, weight, bias, *, code=None, threads=1, margin=0, slope=1.0, gains=()):
    """A region's convolution of images ``(channels, rows, cols)``; what it is added to is the image itself."""
    code = code or compiled()
    layout, memory = PolyphaseLayout(*image.shape[1:], code.step), BufferPool()
    layer = Convolution(weight, bias, code.outputs)
    runner = Runner(layout, code, threads, [layer], memory)
    given = memory.scratch("given", layout.shape(max(len(image), layer.outputs)))
    made = memory.scratch("made", layout.shape(layer.outputs))
    layout.put(image, given)
    region = layout.whole.inside(margin)
    layout.clear_around(given, region)
    bases = [AddedBase(given, gain) for gain in gains]
    runner.run(layer, region, [given[: len(image)]], made, slope=slope, bases=bases)
    out = np.full((len(weight), region.rows, region.cols), np.nan, np.float32)
    runner.deinterleave(made, region, out)
    return out


def random_layer(rng, inputs, outputs):
    return rng.normal(0, 0.2, (outputs, inputs, 3, 3)).astype(np.float32), rng.normal(size=outputs).astype(np.float32)


@settings(max_examples=60)
@given(
    rows=st.integers(1, 40),
    cols=st.integers(1, 150),
    inputs=st.integers(1, 9),
    outputs=st.integers(1, 17),
    slope=st.sampled_from([1.0, 0.2]),
    simd_width=st.sampled_from(WIDTHS),
    seed=st.integers(0, 2**16),
)
def test_it_is_a_convolution(rows, cols, inputs, outputs, slope, simd_width, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(inputs, rows, cols)).astype(np.float32)
    weight, bias = random_layer(rng, inputs, outputs)
    expected, magnitude = (
        F.conv2d(*(torch.from_numpy(one).double() for one in given), padding=1)[0]
        for given in ((image[None], weight, bias), (abs(image)[None], abs(weight), abs(bias)))
    )  # in double precision
    made = convolved(image, weight, bias, code=compile_for(simd_width), slope=slope)
    # What is rounded grows with what is summed.
    np.testing.assert_allclose(made, F.leaky_relu(expected, slope).numpy(), rtol=0, atol=1e-5 * float(magnitude.max()))


@settings(max_examples=40)
@given(
    rows=st.integers(1, 12),
    cols=st.integers(1, 150),
    less=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    margin=st.integers(0, 9),
    threads=st.integers(1, 2),
    simd_width=st.sampled_from(WIDTHS),
)
@example(rows=3, cols=128, less=(0, 4), margin=0, threads=1, simd_width=WIDTHS[0])
@example(rows=3, cols=128, less=(0, 4), margin=0, threads=1, simd_width=WIDTHS[-1])
def test_the_middle_of_images_leaves_channels_as_it_is(rows, cols, less, margin, threads, simd_width):
    code, memory = compile_for(simd_width), BufferPool()
    top, left = (margin // 4 * 4 + one for one in less)
    image = np.random.default_rng(0).random((3, rows + 2 * top, cols + 2 * left), np.float32)
    layout = PolyphaseLayout(*image.shape[1:], code.step)
    runner = Runner(
        layout, code, threads, [Convolution(*random_layer(np.random.default_rng(0), 3, 3), code.outputs)], memory
    )
    there = memory.scratch("there", layout.shape(3))
    layout.put(image, there)
    out = np.full((3, rows, cols), np.nan, np.float32)
    runner.deinterleave(there, layout.whole.inside(margin), out)
    assert (out == image[:, top : top + rows, left : left + cols]).all()


def test_what_it_is_added_to():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(8, 30, 70)).astype(np.float32)
    weight, bias = random_layer(rng, 8, 8)
    plain = convolved(image, weight, bias)
    np.testing.assert_allclose(convolved(image, weight, bias, gains=[0.2]), image + 0.2 * plain, atol=1e-6)
    twice = convolved(image, weight, bias, gains=[0.2, 0.5])
    np.testing.assert_allclose(twice, image + 0.5 * (image + 0.2 * plain), atol=1e-6)


@pytest.mark.parametrize("margin", [0, 3, 4, 11])
def test_a_region_is_an_image_of_its_size(margin):
    rng = np.random.default_rng(1)
    image = rng.normal(size=(5, 37, 90)).astype(np.float32)
    weight, bias = random_layer(rng, 5, 8)
    less = margin // 4 * 4
    inside = image[:, less : 37 - less, less : 90 - less]
    np.testing.assert_allclose(
        convolved(image, weight, bias, margin=margin), convolved(inside, weight, bias), atol=2e-5
    )


def test_threads_make_the_same_bits():
    rng = np.random.default_rng(2)
    image = rng.normal(size=(12, 61, 200)).astype(np.float32)
    weight, bias = random_layer(rng, 12, 16)
    one, three = (convolved(image, weight, bias, threads=threads) for threads in (1, 3))
    assert (one == three).all()


def assert_same_bits(made, expected):
    assert made.dtype == expected.dtype == np.float32
    assert (made.view(np.uint32) == np.ascontiguousarray(expected).view(np.uint32)).all()


def rounded(exact):
    """The float32 next to a fraction, the even one of two."""
    near = np.float32(float(exact))
    around = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    return min(around, key=lambda one: (abs(Fraction(float(one)) - exact), int(one.view(np.uint32)) % 2))


TIE = (2.0**-12 * (1 + 2.0**-23), 2.0**-12 * (1 - 2.0**-23))


@settings(max_examples=60)
@given(numbers=st.tuples(*[st.floats(-1000, 1000, width=32, allow_subnormal=False)] * 3))
@example(numbers=(*TIE, 1 + 2.0**-23))
@example(numbers=(-TIE[0], TIE[1], -1 - 2.0**-23))
@example(numbers=(*TIE, -1.0))
@example(numbers=(3.0, 5.0, -15.0))
def test_the_references_fused_multiply_add_rounds_once(numbers):
    left, right, addend = (np.float32(one) for one in numbers)
    exact = Fraction(float(left)) * Fraction(float(right)) + Fraction(float(addend))
    assert reference.fused_multiply_add(np.array([left]), right, addend)[0] == rounded(exact)


def test_a_sum_in_double_precision_would_round_twice():
    """Sums like ``TIE`` lie just below a tie of float32, and float64 takes them for the tie."""
    left, right, addend = *TIE, 1 + 2.0**-23
    assert np.float32(left * right + addend) == 1 + 2.0**-22
    assert reference.fused_multiply_add(np.float32([left]), np.float32(right), np.float32(addend))[0] == addend


@settings(max_examples=15)
@given(
    rows=st.integers(1, 11),
    cols=st.integers(1, 240),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 9),
    slope=st.sampled_from([1.0, 0.2]),
    gains=st.lists(st.sampled_from([0.2, 0.7, 1.0]), max_size=2),
    simd_width=st.sampled_from(WIDTHS),
    seed=st.integers(0, 2**16),
)
def test_convolutions_have_the_bits_of_their_reference(rows, cols, inputs, outputs, slope, gains, simd_width, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(max(inputs, outputs) if gains else inputs, rows, cols)).astype(np.float32)
    weight, bias = random_layer(rng, len(image), outputs)
    code = compile_for(simd_width)
    made = convolved(image, weight, bias, code=code, slope=slope, gains=gains)
    layer = Convolution(weight, bias, code.outputs)
    filters = layer.filters.swapaxes(2, 3).reshape(len(layer.filters), -1, len(image))[:, :outputs]
    bases = [(image[:outputs], gain) for gain in gains]
    assert_same_bits(made, reference.convolve(image, filters, bias, slope=slope, bases=bases))


def gathered(image, filters, base, code, *, rows=4, cols=4):
    """A sparse convolution on channels, whose edges are repeated so far."""
    memory, layout = BufferPool(), PolyphaseLayout(*image.shape[1:], code.step)
    layer = Convolution(*random_layer(np.random.default_rng(0), 1, 1), code.outputs)
    runner = Runner(layout, code, 2, [layer], memory)
    count = max(len(image), len(filters))
    source, made = (memory.scratch(name, layout.shape(count)) for name in ("source", "made"))
    layout.put(image, source)
    layout.repeat_edges(source, layout.whole, rows=rows, cols=cols)
    if base is not None:
        layout.put(base, made)
    runner.gather(Taps(layout, filters), layout.whole, source, made, None if base is None else made)
    out = np.full((len(filters), *image.shape[1:]), np.nan, np.float32)
    runner.deinterleave(made, layout.whole, out)
    return out


@settings(max_examples=40)
@given(
    rows=st.integers(1, 20),
    cols=st.integers(1, 150),
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    has_base=st.booleans(),
    along=st.booleans(),
    simd_width=st.sampled_from(WIDTHS),
    seed=st.integers(0, 2**16),
)
@example(rows=4, cols=128, counts=[3], has_base=False, along=True, simd_width=WIDTHS[0], seed=1)
def test_sparse_convolutions_have_the_bits_of_their_reference(rows, cols, counts, has_base, along, simd_width, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(3, rows, cols)).astype(np.float32)
    # Along one axis, as all filters of the engine are: with an edge repeated on both, corners are not.
    filters = [
        [
            (int(rng.integers(3)), *((0, int(far)) if along else (int(far), 0)), rng.normal())
            for far in rng.integers(-4, 5, count)
        ]
        for count in counts
    ]
    base = rng.normal(size=(len(filters), rows, cols)).astype(np.float32) if has_base else None
    reach = {"rows": 0, "cols": 4} if along else {"rows": 4, "cols": 0}
    made = gathered(image, filters, base, compile_for(simd_width), **reach)
    assert_same_bits(made, reference.gather(image, filters, base))


def test_sparse_filters_are_convolutions():
    image = np.random.default_rng(4).normal(size=(2, 20, 50)).astype(np.float32)
    out = gathered(image, [[(0, -4, 3, 0.5), (1, 0, -2, 2.0)], [(1, 2, 4, -1.0)]], image, compiled())
    wide = np.pad(image, ((0, 0), (4, 4), (4, 4)), mode="edge")

    def moved(channel, row, col):
        return wide[channel, 4 + row : 24 + row, 4 + col : 54 + col]

    first = image[0] + 0.5 * moved(0, -4, 3) + 2 * moved(1, 0, -2)
    np.testing.assert_allclose(out, [first, image[1] - moved(1, 2, 4)], atol=1e-6)


def backprojected(image, left, known, taps, steps, *, code=None):
    """Round steps of back-projection on channels: what is pulled up, and what is then left."""
    code, memory = code or compiled(), BufferPool()
    layout = PolyphaseLayout(*image.shape, code.step)
    runner = Runner(layout, code, 1, [Convolution(*random_layer(np.random.default_rng(0), 1, 1), code.outputs)], memory)
    names = ("pulled", "left", "known")
    pulled, there, measured = (memory.scratch(name, layout.shape(1))[:1] for name in names)
    for one, put in ((pulled, image), (there, left), (measured, known)):
        # What is around the region is to be seen by nobody.
        one[...] = np.nan
        layout.put(np.broadcast_to(image if put is None else put, image.shape)[None], one)
    step = (
        BackProjectionStep(pulled, pulled, pulled, there)
        if known is None
        else BackProjectionStep(pulled, there, pulled, known=measured)
    )

    def work(scratch, first, stop):
        for part in scratch:
            part[...] = np.nan
        wanted = [*[step] * (steps - 1), BackProjectionStep(pulled, there, there)]
        runner.backproject(StepFilters(taps[None]), 0, layout.whole, wanted, scratch)

    runner.share(1, work)
    out = np.full((2, *image.shape), np.nan, np.float32)
    runner.deinterleave(pulled, layout.whole, out[:1])
    runner.deinterleave(there, layout.whole, out[1:])
    return out


@settings(max_examples=60)
@given(
    rows=st.integers(1, 40),
    cols=st.integers(1, 150),
    steps=st.integers(1, 10),
    partly=st.booleans(),
    simd_width=st.sampled_from(WIDTHS),
    seed=st.integers(0, 2**16),
)
def test_steps_are_filters_one_after_another(rows, cols, steps, partly, simd_width, seed):
    rng = np.random.default_rng(seed)
    image, left = rng.normal(size=(2, rows, cols)).astype(np.float32)
    known = (rng.random((rows, cols)) < 0.7).astype(np.float32) if partly else None
    taps = rng.normal(0, 0.2, 9).astype(np.float32)

    def seen(pixels):
        for _ in range(2):
            wide = np.pad(pixels, ((0, 0), (4, 4)), mode="edge").astype(np.float64)
            pixels = sum(weight * wide[:, tap : tap + pixels.shape[1]] for tap, weight in enumerate(taps)).T
        return pixels

    pulled = image.astype(np.float64)
    for _ in range(steps - 1):
        step = left - seen(pulled)
        pulled = pulled + (step if known is None else known * step)
    made = backprojected(image, left, known, taps, steps, code=compile_for(simd_width))
    np.testing.assert_allclose(made, [pulled, left - seen(pulled)], rtol=1e-4, atol=1e-4 * np.abs(pulled).max())


@settings(max_examples=40)
@given(
    rows=st.integers(1, 30),
    cols=st.integers(1, 150),
    steps=st.integers(1, 10),
    partly=st.booleans(),
    simd_width=st.sampled_from(WIDTHS),
    seed=st.integers(0, 2**16),
)
def test_steps_have_the_bits_of_their_reference(rows, cols, steps, partly, simd_width, seed):
    rng = np.random.default_rng(seed)
    image, left = rng.normal(size=(2, rows, cols)).astype(np.float32)
    known = rng.choice(np.float32([0, 0.3, 1]), (rows, cols)) if partly else None
    taps = rng.normal(0, 0.2, 9).astype(np.float32)
    pulled = image
    for _ in range(steps - 1):
        if known is None:
            pulled = reference.backproject_step(pulled, pulled, taps, second_base=left)
        else:
            pulled = reference.backproject_step(pulled, left, taps, known=known)
    expected = np.stack([pulled, reference.backproject_step(pulled, left, taps)])
    assert_same_bits(backprojected(image, left, known, taps, steps, code=compile_for(simd_width)), expected)
