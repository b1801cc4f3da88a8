"""The Winograd engine: chunks do not depend on others, and images not on the way they are read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from geosr import hardware
from geosr.engine import EngineSpec, Parallel
from geosr.model import zoo

if not hardware.has_winograd():
    pytest.skip("needs llvmlite, OpenVINO and a processor with AVX2", allow_module_level=True)

from geosr.engine.winograd.engine import WinogradEngine

MTF = (0.26, 0.28, 0.24, 0.26)


@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_do_not_depend_on_those_before_them(threads, sample):
    """Their memory is that of chunks of other sizes, and of their images."""
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    mtf = card.transfers(MTF, plain_image=False)
    spec = EngineSpec("winograd-cpu", "float32")
    engine = WinogradEngine(card, mtf, spec, Parallel(1, threads))
    lr = sample[:, :67, :139].astype(np.float32) / 10_000
    valid = np.random.default_rng(0).random(lr.shape) > 0.1

    def upscale(rows, cols):
        made = engine.upscale(lr[:, :rows, :cols], valid[:, :rows, :cols])
        return made.polyphase, made.observed

    alone = upscale(64, 117)
    copies = [one.copy() for one in alone]
    upscale(67, 139)
    engine.upscale(10 * lr[:, :64, :117], np.ones((4, 64, 117), bool))
    for before, kept, after in zip(alone, copies, upscale(64, 117), strict=True):
        assert (kept == after).all()
        # And what was handed out is not overwritten.
        assert (before == kept).all()


@pytest.mark.parametrize(("base", "steps"), [("bicubic", 2), ("bilinear", 2), ("nearest", 0), ("none", 0)])
def test_rows_that_are_taken_are_those_of_the_image(base, steps, sample):
    """However many at a time, in whatever order, by several threads."""
    card = zoo.read_card(zoo.DEFAULT_MODEL).model_copy(update={"base": base, "steps": steps})
    spec = EngineSpec("winograd-cpu", "float32")
    engine = WinogradEngine(card, card.transfers(MTF, plain_image=False), spec, Parallel(1, 2))
    lr = sample[:, :67, :122].astype(np.float32) / 10_000
    valid = np.ones(lr.shape, bool)
    image = engine.upscale(lr, valid).polyphase
    taken = np.full_like(image, np.nan)

    def sink(rows):
        assert rows.shape == image.shape

        def some(first, stop):
            taken[:, :, first:stop] = rows(first, stop)

        bounds = [*range(0, rows.shape[2], 5), rows.shape[2]]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(some, bounds[-2::-1], bounds[:0:-1]))

    assert engine.upscale(lr, valid, sink=sink).polyphase is None
    assert (taken == image).all()


def test_numbers_that_are_none_do_not_stay(sample):
    """Neither in what is beside an image nor in what another chunk sees of it."""
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    spec = EngineSpec("winograd-cpu", "float32")
    engine = WinogradEngine(card, card.transfers(MTF, plain_image=False), spec, Parallel(1, 2))
    # As wide as whole vectors are: what is beside is read.
    lr = sample[:, :64, :128].astype(np.float32) / 10_000
    valid = np.ones(lr.shape, bool)
    before = engine.upscale(lr, valid).polyphase.copy()
    assert np.isnan(engine.upscale(np.full_like(lr, np.nan), valid).polyphase).all()
    assert (engine.upscale(lr, valid).polyphase == before).all()


@pytest.mark.parametrize(("rows", "cols"), [(64, 117), (61, 100), (63, 67), (66, 65), (62, 98), (60, 106)])
@pytest.mark.parametrize(
    "blocks", [pytest.param(3, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 1]
)
def test_nothing_of_other_chunks_is_seen(rows, cols, blocks, sample):
    """Whatever their shape, and wherever they had pixels that this one has not."""
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    size = card.network.model_copy(update={"blocks": blocks})
    card = card.model_copy(update={"network": size})
    spec = EngineSpec("winograd-cpu", "float32")
    lr = sample[:, :rows, :cols].astype(np.float32) / 10_000
    valid = np.random.default_rng(0).random(lr.shape) > 0.1

    def start():
        return WinogradEngine(card, card.transfers(MTF, plain_image=False), spec, Parallel(1, 2))

    expected = start().upscale(lr, valid)
    engine = start()
    for other in [(rows, cols), (67, 139), (rows + 3, cols - 1), (cols, rows)]:
        engine.upscale(np.full((4, *other), np.nan, np.float32), np.ones((4, *other), bool))
        made = engine.upscale(lr, valid)
        assert (made.polyphase == expected.polyphase).all()
        assert (made.observed == expected.observed).all()
