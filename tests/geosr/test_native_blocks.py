"""Code of our own makes the same blocks as NumPy, and the same halves."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geosr import hardware
from tiling import ChunkEncoder, Product
from tiling.encode import encode
from tiling.overviews import halve
from tiling.product import BLOCK_PX

if not hardware.has_native():
    pytest.skip("needs llvmlite and a processor with AVX2", allow_module_level=True)

from geosr.codegen import compiler, tiff_blocks
from geosr.codegen.tiff_blocks import Blocks


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
    seed=st.integers(0, 2**16),
)
def test_blocks_are_the_same(bands, rows, cols, dtype, seed):
    limits = np.iinfo(dtype)
    wide = np.random.default_rng(seed).integers(limits.min, limits.max + 1, (bands, rows, cols + 9)).astype(dtype)
    # Part of a larger image, as what is encoded may be.
    pixels, product, native = wide[:, :, 5 : 5 + cols], product_of(bands, dtype, nodata=None), Counting()
    assert (encode(pixels, product, native) == encode(pixels, product)).all()
    assert native.done == (bands == 4 and dtype == "uint16") * sum(
        min(BLOCK_PX, cols - left) % compiler.simd_width_here() == 0 for left in range(0, cols, BLOCK_PX)
    )


@settings(max_examples=60)
@given(
    rows=st.integers(1, 150),
    cols=st.integers(1, 150),
    dtype=st.sampled_from(["uint16", "int16"]),
    nodata=st.sampled_from([None, 0, 3, 65535, -9999, 0.5]),
    # Few values, that means of others often are nodata; and the largest, that sums are.
    values=st.sampled_from([(0, 5), (1, 6), (65000, 65536)]),
    seed=st.integers(0, 2**16),
)
def test_halves_are_the_same(rows, cols, dtype, nodata, values, seed):
    pixels = np.random.default_rng(seed).integers(*values, (2, rows, cols)).astype(dtype)
    native = Counting()
    expected = halve(pixels, nodata)
    assert (halve(pixels, nodata, accelerator=native) == expected).all()
    place = np.zeros((2, expected.shape[1] + 3, expected.shape[2]), dtype)
    halve(pixels, nodata, accelerator=native, out=place[:, 2:-1])
    assert (place[:, 2:-1] == expected).all()
    assert not place[:, :2].any()
    assert not place[:, -1:].any()


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


def test_processors_without_avx_512_make_the_same_bits(monkeypatch):
    if compiler.simd_width_here() != 16:
        pytest.skip("needs a processor with AVX-512")
    pixels, product = np.random.default_rng(2).integers(0, 9000, (4, 130, 1040)).astype(np.uint16), product_of(4)
    expected = encode(pixels, product), halve(pixels, 0)
    avx2_only = tiff_blocks._compiled.__wrapped__
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset({"avx2"}))
    other = avx2_only()
    monkeypatch.setattr(tiff_blocks, "_compiled", lambda: other)
    assert compiler.simd_width_here() == 8
    native = Counting()
    assert (encode(pixels, product, native) == expected[0]).all()
    assert (halve(pixels, 0, accelerator=native) == expected[1]).all()
    assert native.done
