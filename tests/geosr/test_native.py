"""Code of our own makes the same bits as NumPy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import BandSpec
from geosr import hardware
from geosr.engine import EngineOutput, Parallel
from geosr.engine.rows import ArrayRows
from geosr.inference.upscaler import Upscaler
from geosr.model import zoo
from geosr.model.bands import map_bands

if not hardware.has_native():
    pytest.skip("needs llvmlite and a processor with AVX2", allow_module_level=True)

from geosr.codegen import quantize
from tests.geosr.simd_widths import WIDTHS, processor_of

NAMES = ("B02", "B03", "B04", "B08")


class Given:
    """An engine that returns what it was given, for there is nothing to compute."""

    def __init__(self, polyphase):
        self.polyphase = polyphase

    def upscale(self, lr, valid, *, uncertainty=False, sink):
        sink(ArrayRows(self.polyphase))
        return EngineOutput(None, np.zeros((len(self.polyphase), *self.polyphase.shape[2:]), np.float32))


def band(name, nodata):
    return BandSpec(name, 10.0, scale=1e-4, offset=-0.1, nodata=nodata, mtf_nyquist=0.25, description=name)


def image_of(polyphase, names, valid, dtype, threads=1, nodata=(0,) * 4):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    bands = [band(name, one) for name, one in zip(names, nodata, strict=True)]
    mapping = map_bands(names, card, plain_image=False)
    upscaler = Upscaler(card, Given(polyphase), bands, mapping, Parallel(1, threads))
    margin = upscaler.margin_px
    wide = np.pad(valid, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    return upscaler(np.full(wide.shape, 100, dtype), wide).image


def both(monkeypatch, *arguments):
    """By our own code, and by NumPy."""
    made = []
    to_dn = quantize.QuantizeKernel.__call__
    with monkeypatch.context() as patch:
        patch.setattr(quantize.QuantizeKernel, "__call__", lambda *told: (made.append(1), to_dn(*told)))
        native = image_of(*arguments)
    with monkeypatch.context() as patch:
        patch.setattr(hardware, "has_native", lambda: False)
        other = image_of(*arguments)
    return native, other, len(made)


@settings(max_examples=40)
@given(
    rows=st.integers(1, 30),
    cols=st.integers(16, 90),
    order=st.permutations(NAMES),
    dtype=st.sampled_from(["uint16", "int16"]),
    threads=st.integers(1, 3),
    nodata=st.tuples(*[st.sampled_from([0, 7.0, 32767, 65535, -32768, None, math.nan, 0.5, -1e9])] * 4),
    simd_width=st.sampled_from(WIDTHS),
    seed=st.integers(0, 2**16),
)
def test_dn_are_the_same(rows, cols, order, dtype, threads, nodata, simd_width, seed):
    rng = np.random.default_rng(seed)
    # Beyond what the type holds on both sides, and on its nodata values.
    polyphase = rng.uniform(-8, 16, (4, 16, rows, cols)).astype(np.float32)
    polyphase[:, 0, 0, :3], polyphase[:, 0, 0, 3:6], polyphase[:, 1, 0, :3] = -0.1, -0.1 + 7e-4, 0.5 - 0.1
    valid = rng.random((4, rows, cols)) > 0.1
    valid[:, 0, 0] = True
    limits = np.iinfo(dtype)
    in_range = [one is not None and one in range(limits.min, limits.max + 1) for one in nodata]
    # Others cannot mark what was not measured.
    valid[~np.array(in_range)] = True
    with processor_of(simd_width), pytest.MonkeyPatch.context() as patch:
        native, other, calls = both(patch, polyphase, tuple(order), valid, dtype, threads, nodata)
    assert calls
    assert native.dtype == other.dtype == dtype
    assert (native == other).all()
    for band, known, one, marks in zip(native, valid, nodata, in_range, strict=True):
        if marks:
            assert ((band == one) == ~known.repeat(4, axis=0).repeat(4, axis=1)).all()


def test_an_image_within_its_margin(monkeypatch):
    """Engines return the inside of what they made."""
    rng = np.random.default_rng(0)
    polyphase = rng.uniform(0, 1, (4, 16, 50, 60)).astype(np.float32)[..., 5:-5, 5:-5]
    native, other, calls = both(monkeypatch, polyphase, NAMES, np.ones((4, 40, 50), bool), "uint16")
    assert calls
    assert (native == other).all()


@pytest.mark.parametrize("simd_width", WIDTHS)
@pytest.mark.parametrize("dtype", ["uint16", "uint8"])
def test_narrow_images_and_other_types_are_left_to_numpy(monkeypatch, simd_width, dtype):
    cols = simd_width - 1 if dtype == "uint16" else 40
    rng = np.random.default_rng(1)
    polyphase = rng.uniform(0, 1, (4, 16, 5, cols)).astype(np.float32)
    with processor_of(simd_width):
        native, other, calls = both(monkeypatch, polyphase, NAMES, np.ones((4, 5, cols), bool), dtype)
    assert not calls
    assert (native == other).all()


def test_mixed_bands_are_left_to_numpy():
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    assert map_bands(("B08", "B02", "B03", "B04"), card, plain_image=False).sources == (3, 0, 1, 2)
    assert map_bands(("grey",), card, plain_image=True).sources is None
    colours = map_bands(("red", "green", "blue"), card, plain_image=True)
    assert colours.sources == (2, 1, 0)
    assert replace(colours, from_model=((0.5, 0.5, 0, 0),)).sources is None
