"""Code of our own makes the same blocks as NumPy, and the same halves."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geosr import hardware
from tiling import ChunkEncoder, Product
from tiling.encode import encode
from tiling.overviews import halve
from tiling.product import BLOCK_PX

if not hardware.has_native():
    pytest.skip("needs llvmlite and a processor with AVX2", allow_module_level=True)

from geosr.codegen.tiff_blocks import Blocks
from tests.geosr.simd_widths import WIDTHS, processor_of


class Counting(Blocks):
    """Counts what it has done."""

    def __init__(self):
        super().__init__()
        self.done = 0

    def differences(self, pixels, out):
        done = super().differences(pixels, out)
        self.done += done
        return done

    def halves(self, pixels, out, nodata):
        done = super().halves(pixels, out, nodata)
        self.done += done
        return done


def product_of(bands, dtype="uint16", nodata=0):
    return Product(dtype, tuple(map(str, range(bands))), nodata=nodata)


@settings(max_examples=30)
@given(
    bands=st.sampled_from([1, 3, 4, 5]),
    rows=st.integers(1, 40),
    cols=st.sampled_from([1, 7, 16, 64, BLOCK_PX, BLOCK_PX + 48, 2 * BLOCK_PX + 3]),
    dtype=st.sampled_from(["uint16", "int16", "uint8"]),
    simd_width=st.sampled_from(WIDTHS),
    seed=st.integers(0, 2**16),
)
@example(bands=4, rows=3, cols=64, dtype="uint16", simd_width=WIDTHS[0], seed=0)
@example(bands=4, rows=3, cols=64, dtype="uint16", simd_width=WIDTHS[-1], seed=0)
def test_blocks_are_the_same(bands, rows, cols, dtype, simd_width, seed):
    limits = np.iinfo(dtype)
    wide = np.random.default_rng(seed).integers(limits.min, limits.max + 1, (bands, rows, cols + 9)).astype(dtype)
    # Part of a larger image, as what is encoded may be.
    pixels, product = wide[:, :, 5 : 5 + cols], product_of(bands, dtype, nodata=None)
    with processor_of(simd_width):
        native = Counting()
        assert (encode(pixels, product, native) == encode(pixels, product)).all()
    assert native.done == (bands == 4 and dtype == "uint16") * sum(
        min(BLOCK_PX, cols - left) % simd_width == 0 for left in range(0, cols, BLOCK_PX)
    )


@settings(max_examples=60)
@given(
    rows=st.integers(1, 150),
    cols=st.integers(1, 150),
    dtype=st.sampled_from(["uint16", "int16"]),
    nodata=st.sampled_from([None, 0, 3, 65535, -9999, 0.5]),
    # Few values, that means of others often are nodata; and the largest, that sums are.
    values=st.sampled_from([(0, 5), (1, 6), (65000, 65536)]),
    simd_width=st.sampled_from(WIDTHS),
    seed=st.integers(0, 2**16),
)
def test_halves_are_the_same(rows, cols, dtype, nodata, values, simd_width, seed):
    pixels = np.random.default_rng(seed).integers(*values, (2, rows, cols)).astype(dtype)
    with processor_of(simd_width):
        native = Counting()
        expected = halve(pixels, nodata)
        assert (halve(pixels, nodata, accelerator=native) == expected).all()
        place = np.zeros((2, expected.shape[1] + 3, expected.shape[2]), dtype)
        halve(pixels, nodata, accelerator=native, out=place[:, 2:-1])
        assert (place[:, 2:-1] == expected).all()
        assert not place[:, :2].any()
        assert not place[:, -1:].any()


@pytest.mark.parametrize("simd_width", WIDTHS)
def test_means_that_would_be_nodata_are_not(simd_width):
    """Nodata is the mean of values on both sides of it."""
    pixels = np.random.default_rng(0).choice(np.uint16([2, 4]), (1, 20, 70))
    with processor_of(simd_width):
        native = Counting()
        halved = halve(pixels, 3, accelerator=native)
    assert native.done == 1
    assert (halved == halve(pixels, 3)).all()
    assert (halve(pixels, None) == 3).any()
    assert not (halved == 3).any()


def test_strips_with_nodata_are_left_to_numpy():
    pixels, native = np.full((1, 256, 64), 9, np.uint16), Counting()
    pixels[0, 70, 3] = 0
    halved = halve(pixels, 0, accelerator=native)
    assert (halved == 9).all()
    assert native.done == 3


@pytest.mark.parametrize("rows", [BLOCK_PX, 2 * BLOCK_PX, 5 * BLOCK_PX - 77])
def test_chunks_are_the_same_whatever_they_are_made_in(rows):
    rng = np.random.default_rng(1)
    pixels, product = rng.integers(0, 9000, (4, rows, 700)).astype(np.uint16), product_of(4)
    grid = GeoBox((rows, 700), Affine(2.5, 0, 600_000, 0, -2.5, 5_300_000), "EPSG:32633")

    def encoded(order, **options):
        encoder = ChunkEncoder(pixels.shape, product, overviews=2, **options)
        for top in order:
            encoder.add(top, pixels[:, top : top + BLOCK_PX])
        return b"".join(encoder.parts(grid, {}))

    tops = list(range(0, rows, BLOCK_PX))
    expected = encoded(tops)
    used = np.full(2**28, 77, np.uint8)
    assert encoded(tops[::-1], accelerator=Blocks(), allocate=lambda _, size: used[:size].copy()) == expected
    assert encoded(tops[1:] + tops[:1], accelerator=Blocks()) == expected
