"""Makes the pictures of the page in ``docs/images``: the bundled sample, compared, ordered, inspected, and on a phone.

    python scripts/page_pictures.py [--output docs/images]

Needs Playwright and Chromium. The service runs on a port of its own in a temporary folder; nothing is fetched.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}

#: Maps are drawn by WebGL, here without a GPU.
ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

#: Milliseconds for chunks of the network on a busy machine.
WAIT_MS = 600_000


def main() -> None:
    """Start the service, and walk through its page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    output = parser.parse_args().output
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "geosr", "serve", "--demo", "--data", folder, "--port", str(port)]
        with subprocess.Popen(command, cwd=ROOT) as service:
            try:
                address = f"http://127.0.0.1:{port}"
                _wait(address)
                with sync_playwright() as playwright:
                    browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
                    _desk(browser.new_page(viewport=DESK), address, output)
                    _phone(browser.new_page(viewport=PHONE, has_touch=True), address, output)
                    browser.close()
            finally:
                service.terminate()


def _wait(address: str) -> None:
    for _ in range(300):
        try:
            if requests.get(f"{address}/readyz", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.5)
    raise SystemExit("the service did not start")


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
    _settle(page)


def _settle(page: Page) -> None:
    page.wait_for_timeout(500)
    page.wait_for_selector("#stage[aria-busy=false]")
    page.wait_for_timeout(1000)


def _save(page: Page, path: Path) -> None:
    """Save a picture in few colours, for pages load it."""
    _settle(page)
    page.screenshot(path=path)
    with Image.open(path) as picture:
        small: Any = picture.convert("RGB").quantize(256)
        small.save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
