"""Take the pictures of the page in ``docs/images``: the bundled sample, compared, ordered, inspected, and on a phone.

    python -m scripts.page_pictures [--output docs/images]

Needs Playwright and Chromium. The service runs on a port of its own in a temporary folder; nothing is fetched.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from geosr.model.zoo import DEFAULT_MODEL
from tests.service.browsing import settled
from tests.service.conftest import served
from tests.service.test_page import ARGUMENTS, CHROMIUM, DESKTOP, PHONE

ROOT = Path(__file__).parent.parent

#: Milliseconds for chunks of the network on a busy machine.
WAIT_MS = 600_000


def main() -> None:
    """Start the service, and walk through its page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    output = parser.parse_args().output
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), "--demo", model=DEFAULT_MODEL) as service,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        _desk(browser.new_page(viewport=DESKTOP), service.address, output)
        _phone(browser.new_page(viewport=PHONE, has_touch=True), service.address, output)
        browser.close()


def _desk(page: Page, address: str, output: Path) -> None:
    _open(page, f"{address}/#scene=demo")
    page.locator("#box").fill("0.006, -0.014, 0.014, -0.006")
    page.locator("#box").press("Enter")
    page.wait_for_selector("#jobs li[data-status=successful] img[src]", timeout=WAIT_MS)
    _save(page, output / "page.png")
    page.locator("#right").select_option("uncertainty.demo")
    page.locator("#inspect-middle").click()
    page.wait_for_selector("#pixel table", timeout=WAIT_MS)
    page.locator("#line").fill("0.008, -0.008, 0.018, -0.014")
    page.locator("#line").press("Enter")
    page.wait_for_selector("#profile svg", timeout=WAIT_MS)
    page.locator("#profile").scroll_into_view_if_needed()
    _save(page, output / "page_inspected.png")


def _phone(page: Page, address: str, output: Path) -> None:
    _open(page, f"{address}/#scene=demo&left=original.demo&right=sr.demo&bands=false-colour")
    _save(page, output / "page_phone.png")


def _open(page: Page, address: str) -> None:
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    page.wait_for_selector("#stage[data-scene=demo]")
    settled(page)


def _save(page: Page, path: Path) -> None:
    """Save a picture in few colours, for pages load it."""
    settled(page)
    page.screenshot(path=path)
    with Image.open(path) as picture:
        small: Any = picture.convert("RGB").quantize(256)
        small.save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
