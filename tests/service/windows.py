"""Chromium's windows, in which tests open the page; what is drawn there costs the processor as little as it can."""

from __future__ import annotations

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

#: Each picture is copied by the processor once less.
TEST_ARGUMENTS = [*ARGUMENTS, "--disable-gpu-compositing"]

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}

#: A desk's window with its three columns, no larger than they need: the processor draws every pixel.
DESK = DESKTOP if PICTURES else {"width": 1080, "height": 720}

#: What windows of tests have in common. The processor draws whatever moves, as often as a screen shows it.
STILL = {"accept_downloads": True, "reduced_motion": "reduce"}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=TEST_ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def desk(browser):
    """A window at a desk; each test loads its page anew, with scripts that the browser has compiled already."""
    with browser.new_context(viewport=DESK, **STILL) as context:
        yield context.new_page()


@pytest.fixture(scope="module")
def hand(browser):
    """A phone's window, dark."""
    with browser.new_context(viewport=PHONE, color_scheme="dark", has_touch=True, **STILL) as context:
        yield context.new_page()


@contextmanager
def watched(opened, service):
    """The page of a service in a window, until the block ends."""
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
        opened.goto(f"{service.address}/#scene=demo")
        opened.wait_for_selector("#stage[data-scene]")
        settled(opened)
        yield opened
    finally:
        for event, listener in listeners.items():
            opened.remove_listener(event, listener)
        opened.unroute_all()
        # The next is loaded, not only told of another state; and nothing is drawn meanwhile.
        opened.goto("about:blank")
    assert wrong == []


def is_own(address, service):
    return address.startswith((service.address, "blob:", "data:"))
