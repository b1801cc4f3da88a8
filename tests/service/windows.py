"""Chromium's windows, in which tests open the page; what is drawn there costs the processor as little as it can."""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager

import pytest

from tests.service.browsing import PICTURES, settled

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Maps are drawn by WebGL, here without a GPU.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]

#: Each picture is copied by the processor once less, and no process is started for a page that may come.
TEST_ARGUMENTS = [*ARGUMENTS, "--disable-gpu-compositing", "--renderer-process-limit=1"]

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}

#: A desk's window with its three columns, no larger than they need: the processor draws every pixel.
DESK = DESKTOP if PICTURES else {"width": 1080, "height": 720}

#: What windows of tests have in common. The processor draws whatever moves, as often as a screen shows it; the screen
#: has a pixel for four of the page's along each side.
STILL = {"accept_downloads": True, "reduced_motion": "reduce", "device_scale_factor": 1 if PICTURES else 0.25}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=TEST_ARGUMENTS)
        yield running
        running.close()


#: What the page's address keeps when it opens with the demo's scene.
OPENED = "scene=demo&left=original.demo&right=sr.demo&bands=true-colour&opacity=100&swipe=50"


@pytest.fixture(scope="module")
def desk(browser):
    """A window at a desk, in which a page stays loaded from test to test."""
    with browser.new_context(viewport=DESK, **STILL) as context:
        yield context.new_page()


@pytest.fixture(scope="module")
def hand(browser):
    """A phone's window, dark."""
    with browser.new_context(viewport=PHONE, color_scheme="dark", has_touch=True, **STILL) as context:
        yield context.new_page()


@contextmanager
def watched(opened, service):
    """The page of a service in a window, until the block ends: loaded, or as it was when it was loaded.

    What is in its fields stays from one block to the next.
    """
    opened.wrong = wrong = []
    listeners = {
        "pageerror": lambda error: wrong.append(f"page error: {error} {error.stack}"),
        "console": lambda message: wrong.append(message.text) if message.type == "error" else None,
        "request": lambda request: wrong.append(request.url) if not is_own(request.url, service) else None,
    }
    for event, listener in listeners.items():
        opened.on(event, listener)
    opened.set_default_timeout(240_000)
    try:
        # By its address: others may have been added since.
        if opened.url.startswith(service.address):
            opened.evaluate("(state) => { location.hash = state; }", OPENED)
            # It has been taken over when the page keeps its view there as well.
            opened.wait_for_url(re.compile("&at="))
        else:
            opened.goto(f"{service.address}/#scene=demo")
            opened.wait_for_selector("#stage[data-scene]")
        settled(opened)
        yield opened
    finally:
        for event, listener in listeners.items():
            opened.remove_listener(event, listener)
        opened.unroute_all()
    assert wrong == []


def is_own(address, service):
    return address.startswith((service.address, "blob:", "data:"))
