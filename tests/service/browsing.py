"""Actions of a user on the page and their view of it, through Playwright."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image

#: Where pictures of the page go, for people to look at; nowhere by default.
PICTURES = os.environ.get("GEOSR_TEST_PICTURES")


def until(page, answer, otherwise, seconds=240):
    """An answer once there is one. (The page's own policy forbids what wait_for_function evaluates.)"""
    end = time.monotonic() + seconds
    while (found := answer()) is None or found is False:
        assert time.monotonic() < end, f"after {seconds} s {otherwise}"
        page.wait_for_timeout(250)
    return found


def settled(page):
    page.wait_for_timeout(300)
    # Chunks with uncertainty take seconds each where tests share two cores.
    page.wait_for_selector("#stage[aria-busy=false]", timeout=240_000)
    # The page tells of its sharpened side only; both are looked at.
    until(page, lambda: page.evaluate("window.geosr.maps.both.every((map) => map.loaded())"), "its maps are not drawn")


def photograph(page, name):
    settled(page)
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def pixels_of(page, x, y):
    """Pixels around a place of the map, as the browser draws it."""
    shot = page.screenshot(clip={"x": x - 30, "y": y - 30, "width": 60, "height": 60})
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(float)


def seen(page, x, y, is_right):
    """Wait until the pixels around a place are right: a browser draws when it gets to it."""

    def right():
        pixels = pixels_of(page, x, y)
        return pixels if is_right(pixels) else None

    return until(page, right, f"around ({x}, {y}) it does not show what it should")


def differs(other, by):
    return lambda pixels: np.abs(pixels - other).mean() > by


def is_drawn(pixels):
    """A scene, not the plain ground below it."""
    return pixels.std() > 3


def on_map(page, across, down):
    """A place of the map by shares of its width and height, as pixels of the page."""
    frame = page.locator("#maps").bounding_box()
    return frame["x"] + frame["width"] * across, frame["y"] + frame["height"] * down


def order_a_box(page, first=(0.2, 0.3), last=(0.35, 0.45)):
    page.get_by_role("button", name="Draw a box").click()
    page.mouse.move(*on_map(page, *first))
    page.mouse.down()
    for share in (0.5, 1):
        page.mouse.move(*on_map(page, *(a + share * (b - a) for a, b in zip(first, last, strict=True))))
    page.mouse.up()


class Typist:
    """Somebody with a keyboard alone, who goes on from where the focus is."""

    def __init__(self, page):
        self.page = page

    def reach(self, place):
        """Press Tab until a place has the focus, which has to be seen there."""
        handle = place.element_handle()
        for _ in range(120):
            if handle.evaluate("(one) => one === document.activeElement"):
                assert handle.evaluate("(one) => one.matches(':focus-visible')")
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{place} is not reached")

    def press(self, place, key="Enter"):
        self.reach(place)
        self.page.keyboard.press(key)

    def type(self, place, text):
        self.reach(place)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)
