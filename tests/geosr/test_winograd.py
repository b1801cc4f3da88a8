"""Convolutions by Winograd's filtering are convolutions, to the bit the same however they are computed."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from geosr import hardware
from geosr.engine import EngineSpec, Parallel
from geosr.engine.buffers import BufferPool
from geosr.model import zoo

if not hardware.has_winograd():
    pytest.skip("needs llvmlite, OpenVINO and a processor with AVX2", allow_module_level=True)

from geosr.codegen.winograd.library import compiled
from geosr.engine.winograd.dispatch import AddedBase, BackProjectionStep, Convolution, Runner, StepFilters, Taps
from geosr.engine.winograd.engine import WinogradEngine
from geosr.engine.winograd.layout import Planes, Region

MTF = (0.26, 0.28, 0.24, 0.26)


def convolved(image, weight, bias, *, code=None, threads=1, margin=0, slope=1.0, gains=()):
    """A region's convolution on planes, of images ``(planes, rows, cols)``; what it is added to is the image itself."""
    code = code or compiled()
    planes, memory = Planes(*image.shape[1:], code.step), BufferPool()
    layer = Convolution(weight, bias, code.outputs)
    runner = Runner(planes, code, threads, [layer], memory)
    given = memory.scratch("given", planes.shape(max(len(image), layer.outputs)))
    made = memory.scratch("made", planes.shape(layer.outputs))
    planes.put(image, given)
    region = planes.whole.inside(margin)
    planes.clear_around(given, region)
    bases = [AddedBase(given, gain) for gain in gains]
    runner.run(layer, region, [given[: len(image)]], made, slope=slope, bases=bases)
    out = np.empty((len(weight), region.rows, region.cols), np.float32)
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
    seed=st.integers(0, 2**16),
)
def test_it_is_a_convolution(rows, cols, inputs, outputs, slope, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(inputs, rows, cols)).astype(np.float32)
    weight, bias = random_layer(rng, inputs, outputs)
    expected, magnitude = (
        F.conv2d(*(torch.from_numpy(one).double() for one in given), padding=1)[0]
        for given in ((image[None], weight, bias), (abs(image)[None], abs(weight), abs(bias)))
    )  # in double precision
    made = convolved(image, weight, bias, slope=slope)
    # What is rounded grows with what is summed.
    np.testing.assert_allclose(made, F.leaky_relu(expected, slope).numpy(), rtol=0, atol=1e-5 * float(magnitude.max()))


@settings(max_examples=40)
@given(
    rows=st.integers(1, 12),
    cols=st.integers(1, 150),
    less=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    margin=st.integers(0, 9),
    threads=st.integers(1, 2),
)
def test_the_middle_of_images_leaves_planes_as_it_is(rows, cols, less, margin, threads):
    code, memory = compiled(), BufferPool()
    top, left = (margin // 4 * 4 + one for one in less)
    image = np.random.default_rng(0).random((3, rows + 2 * top, cols + 2 * left), np.float32)
    planes = Planes(*image.shape[1:], code.step)
    runner = Runner(
        planes, code, threads, [Convolution(*random_layer(np.random.default_rng(0), 3, 3), code.outputs)], memory
    )
    there = memory.scratch("there", planes.shape(3))
    planes.put(image, there)
    out = np.empty((3, rows, cols), np.float32)
    runner.deinterleave(there, planes.whole.inside(margin), out)
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


@pytest.mark.skipif("avx512f" not in hardware.cpu_flags(), reason="needs a processor with AVX-512")
def test_processors_without_avx_512_make_the_same_bits(monkeypatch):
    rng = np.random.default_rng(3)
    image = rng.normal(size=(20, 45, 333)).astype(np.float32)
    weight, bias = random_layer(rng, 20, 16)
    wide = compiled()
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx2"}))
    avx2_only = compiled.__wrapped__()
    assert (wide.simd_width, avx2_only.simd_width) == (16, 8)
    one, other = (convolved(image, weight, bias, code=code, slope=0.2, gains=[0.3]) for code in (wide, avx2_only))
    assert (one == other).all()


def test_sparse_filters_are_convolutions():
    rng = np.random.default_rng(4)
    image = rng.normal(size=(2, 20, 50)).astype(np.float32)
    code, memory = compiled(), BufferPool()
    planes = Planes(20, 50, code.step)
    layer = Convolution(*random_layer(rng, 1, 1), code.outputs)
    runner = Runner(planes, code, 2, [layer], memory)
    source, made = (memory.scratch(name, planes.shape(2)) for name in ("source", "made"))
    planes.put(image, source)
    planes.put(image, made)
    planes.repeat_edges(source, planes.whole, rows=4, cols=4)
    taps = Taps(planes, [[(0, -4, 3, 0.5), (1, 0, -2, 2.0)], [(1, 2, 4, -1.0)]])
    runner.gather(taps, planes.whole, source, made, made)
    out = np.empty_like(image)
    runner.deinterleave(made, planes.whole, out)
    wide = np.pad(image, ((0, 0), (4, 4), (4, 4)), mode="edge")

    def moved(plane, row, col):
        return wide[plane, 4 + row : 24 + row, 4 + col : 54 + col]

    first = image[0] + 0.5 * moved(0, -4, 3) + 2 * moved(1, 0, -2)
    np.testing.assert_allclose(out, [first, image[1] - moved(1, 2, 4)], atol=1e-6)


def backprojected(image, left, known, taps, steps, *, code=None):
    """Round steps of back-projection on planes: what is pulled up, and what is then left."""
    code, memory = code or compiled(), BufferPool()
    planes = Planes(*image.shape, code.step)
    runner = Runner(planes, code, 1, [Convolution(*random_layer(np.random.default_rng(0), 1, 1), code.outputs)], memory)
    names = ("pulled", "left", "known")
    pulled, there, measured = (memory.scratch(name, planes.shape(1))[:1] for name in names)
    for one, put in ((pulled, image), (there, left), (measured, known)):
        # What is around the region is to be seen by nobody.
        one[...] = np.nan
        planes.put(np.broadcast_to(image if put is None else put, image.shape)[None], one)
    step = (
        BackProjectionStep(pulled, pulled, pulled, there)
        if known is None
        else BackProjectionStep(pulled, there, pulled, known=measured)
    )

    def work(scratch, first, stop):
        for part in scratch:
            part[...] = np.nan
        wanted = [*[step] * (steps - 1), BackProjectionStep(pulled, there, there)]
        runner.backproject(StepFilters(taps[None]), 0, planes.whole, wanted, scratch)

    runner.share(1, work)
    out = np.empty((2, *image.shape), np.float32)
    runner.deinterleave(pulled, planes.whole, out[:1])
    runner.deinterleave(there, planes.whole, out[1:])
    return out


@settings(max_examples=60)
@given(
    rows=st.integers(1, 40),
    cols=st.integers(1, 150),
    steps=st.integers(1, 10),
    partly=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_steps_are_filters_one_after_another(rows, cols, steps, partly, seed):
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
    made = backprojected(image, left, known, taps, steps)
    np.testing.assert_allclose(made, [pulled, left - seen(pulled)], rtol=1e-4, atol=1e-4 * np.abs(pulled).max())


@pytest.mark.skipif("avx512f" not in hardware.cpu_flags(), reason="there is nothing to compare with without AVX-512")
def test_processors_without_avx_512_make_the_same_bits_of_steps(monkeypatch):
    rng = np.random.default_rng(5)
    image, left = rng.normal(size=(2, 45, 333)).astype(np.float32)
    known = (rng.random((45, 333)) < 0.7).astype(np.float32)
    taps = rng.normal(0, 0.2, 9).astype(np.float32)
    wide = compiled()
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx2"}))
    avx2_only = compiled.__wrapped__()
    assert (wide.simd_width, avx2_only.simd_width) == (16, 8)
    for given_to in (None, known):
        one, other = (backprojected(image, left, given_to, taps, 9, code=code) for code in (wide, avx2_only))
        assert (one == other).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_do_not_depend_on_those_before_them(threads, sample):
    """Their memory is that of chunks of other sizes, and of their images."""
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    mtf = card.transfers(MTF, picture=False)
    spec = EngineSpec("winograd-cpu", "float32")
    engine = WinogradEngine(card, mtf, spec, Parallel(1, threads))
    lr = sample[:, :130, :170].astype(np.float32) / 10_000
    valid = np.random.default_rng(0).random(lr.shape) > 0.1

    def upscale(rows, cols):
        made = engine.upscale(lr[:, :rows, :cols], valid[:, :rows, :cols])
        return made.phases, made.observed

    alone = upscale(100, 117)
    copies = [one.copy() for one in alone]
    upscale(130, 170)
    engine.upscale(10 * lr[:, :100, :117], np.ones((4, 100, 117), bool))
    for before, kept, after in zip(alone, copies, upscale(100, 117), strict=True):
        assert (kept == after).all()
        # And what was handed out is not overwritten.
        assert (before == kept).all()


@pytest.mark.parametrize(("base", "steps"), [("bicubic", 2), ("bilinear", 2), ("nearest", 0), ("none", 0)])
def test_rows_that_are_taken_are_those_of_the_image(base, steps, sample):
    """However many at a time, in whatever order, by several threads."""
    card = zoo.read_card(zoo.DEFAULT_MODEL).model_copy(update={"base": base, "steps": steps})
    spec = EngineSpec("winograd-cpu", "float32")
    engine = WinogradEngine(card, card.transfers(MTF, picture=False), spec, Parallel(1, 2))
    lr = sample[:, :103, :122].astype(np.float32) / 10_000
    valid = np.ones(lr.shape, bool)
    image = engine.upscale(lr, valid).phases
    taken = np.full_like(image, np.nan)

    def sink(rows):
        assert rows.shape == image.shape

        def some(first, stop):
            taken[:, :, first:stop] = rows(first, stop)

        bounds = [*range(0, rows.shape[2], 5), rows.shape[2]]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(some, bounds[-2::-1], bounds[:0:-1]))

    assert engine.upscale(lr, valid, sink=sink).phases is None
    assert (taken == image).all()


def test_numbers_that_are_none_do_not_stay(sample):
    """Neither in what is beside an image nor in what another chunk sees of it."""
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    spec = EngineSpec("winograd-cpu", "float32")
    engine = WinogradEngine(card, card.transfers(MTF, picture=False), spec, Parallel(1, 2))
    # As wide as whole vectors are: what is beside is read.
    lr = sample[:, :128, :128].astype(np.float32) / 10_000
    valid = np.ones(lr.shape, bool)
    before = engine.upscale(lr, valid).phases.copy()
    assert np.isnan(engine.upscale(np.full_like(lr, np.nan), valid).phases).all()
    assert (engine.upscale(lr, valid).phases == before).all()


@pytest.mark.parametrize(("rows", "cols"), [(100, 117), (97, 100), (99, 131), (130, 65), (98, 98), (60, 170)])
@pytest.mark.parametrize("blocks", [3, 2, 1])
def test_nothing_of_other_chunks_is_seen(rows, cols, blocks, sample):
    """Whatever their shape, and wherever they had pixels that this one has not."""
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    size = card.network.model_copy(update={"blocks": blocks})
    card = card.model_copy(update={"network": size})
    spec = EngineSpec("winograd-cpu", "float32")
    lr = sample[:, :rows, :cols].astype(np.float32) / 10_000
    valid = np.random.default_rng(0).random(lr.shape) > 0.1

    def start():
        return WinogradEngine(card, card.transfers(MTF, picture=False), spec, Parallel(1, 2))

    expected = start().upscale(lr, valid)
    engine = start()
    for other in [(rows, cols), (131, 171), (rows + 3, cols - 1), (cols, rows)]:
        engine.upscale(np.full((4, *other), np.nan, np.float32), np.ones((4, *other), bool))
        made = engine.upscale(lr, valid)
        assert (made.phases == expected.phases).all()
        assert (made.observed == expected.observed).all()


@pytest.mark.parametrize("margin", [0, 4, 20, 64, 68])
def test_maps_are_aligned_for_a_region(margin):
    """There a vector of tiles is one line of the cache, and all that belongs to the planes is in their memory."""
    planes, memory = Planes(150, 170, compiled().step), BufferPool()
    region = planes.whole.inside(margin)
    scratch = memory.scratch("maps", planes.scratch_shape(3))
    maps = planes.aligned(scratch, region)
    assert maps.shape == planes.shape(2)
    assert planes.address(maps, region) % 64 == 0
    assert planes.address(maps[1:], region) % 64 == 0
    start, end = np.lib.array_utils.byte_bounds(maps)
    assert scratch.ctypes.data <= start
    assert end + planes.plane_stride * scratch.itemsize <= scratch.ctypes.data + scratch.nbytes


def test_regions_keep_tiles_whole():
    whole = Region(0, 100, 90)
    assert whole.inside(7) == Region(4, 92, 82)
    assert whole.inside(8).inside(9) == whole.inside(8)


# Memory


def test_memory_is_taken_again():
    memory = BufferPool()
    first = memory.scratch("maps", (3, 100))
    first[...] = 7
    smaller = memory.scratch("maps", (2, 50))
    assert np.shares_memory(first, smaller)
    assert (smaller == 7).all()
    larger = memory.scratch("maps", (30, 100))
    assert larger.shape == (30, 100)
    assert larger.ctypes.data % 64 == 0


def test_lent_memory_comes_back_when_nobody_has_it():
    memory = BufferPool()
    borrowed = memory.borrow("one", (10, 20))
    place, part = borrowed.ctypes.data, borrowed[2:4].reshape(-1)
    part[...] = 5
    del borrowed
    gc.collect()
    other = memory.borrow("one", (10, 20))
    assert not np.shares_memory(part, other)
    assert (part == 5).all()
    del part
    assert memory.borrow("one", (5, 8)).ctypes.data == place
