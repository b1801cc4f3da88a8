"""Take the pictures of the page in ``docs/images``: the bundled sample, compared, ordered, inspected, and on a phone.

That of change shows two dates of the sample, on the later of which a harvest is simulated.

    python -m scripts.page_pictures [--output docs/images]

Needs Playwright and Chromium. The service runs on a port of its own in a temporary folder; nothing is fetched.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.warp
import shapely.geometry
import torch
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from rasterio.windows import Window

from geosr.model.kernels import mtf_to_sigma
from geosr.model.sensor import Sensor
from geosr.model.zoo import DEFAULT_MODEL
from tests.conftest import SAMPLE
from tests.service.browsing import settled
from tests.service.conftest import Service, served
from tests.service.windows import ARGUMENTS, CHROMIUM, DESKTOP, PHONE

ROOT = Path(__file__).parent.parent

#: Side of the two dates, source pixels, and rows and columns of fields that are harvested between them.
SIDE_PX = 160
FIELDS = {"north": (slice(30, 62), slice(40, 80)), "south": (slice(96, 120), slice(70, 120))}

#: Modulation transfer of the sensor's bands at the Nyquist frequency.
MTF_NYQUIST = 0.26

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
        _change(browser.new_page(viewport=DESKTOP), service, Path(folder), output)
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


def _change(page: Page, service: Service, folder: Path, output: Path) -> None:
    with rasterio.open(SAMPLE) as source:
        window = Window(60, 60, SIDE_PX, SIDE_PX)
        pixels, transform, crs = source.read(window=window), source.window_transform(window), source.crs
    # Less near-infrared and more red, as stubble has; by the share of it that the sensor sees.
    stubble, change = _seen_fields(), np.array([1, 1, 1.4, 0.55])
    later = np.rint(pixels * (1 + (change[:, None, None] - 1) * stubble)).astype(pixels.dtype)
    ids = []
    for date, image in (("2024-06-01", pixels), ("2024-08-10", later)):
        path = folder / f"{date}.tif"
        form = {"driver": "GTiff", "dtype": "uint16", "count": 4, "width": SIDE_PX, "height": SIDE_PX, "crs": crs}
        with rasterio.open(path, "w", transform=transform, **form) as made:
            made.write(image)
            made.descriptions = ("B02", "B03", "B04", "B08")
            made.scales = (1e-4,) * 4
            made.update_tags(ns="IMAGERY", ACQUISITIONDATETIME=f"{date}T10:00:00Z")
        ids.append(service.http.post(f"/scenes/upload?title={date}", content=path.read_bytes()).json()["id"])
    features = [_field(name, *place, transform, crs) for name, place in FIELDS.items()]
    (folder / "fields.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    _open(page, f"{service.address}/#scene={ids[1]}&left=sr.{ids[0]}&right=sr.{ids[1]}", ids[1])
    page.locator("#to-change").click()
    page.locator("#order-index").select_option("ndvi")
    page.get_by_role("button", name="Order", exact=True).click()
    first = page.locator("#jobs li").first
    page.wait_for_selector("#jobs li[data-status=successful] img[src]", timeout=WAIT_MS)
    page.locator("#describe summary").click()
    page.locator("#file-id").fill("name")
    page.locator("#file").set_input_files(folder / "fields.geojson")
    page.get_by_role("button", name="Upload").click()
    page.locator("#field").select_option(label=f"Field {next(iter(FIELDS))}")
    page.wait_for_selector("#series tbody tr:nth-child(2)", timeout=WAIT_MS)
    page.locator("#describe summary").click()
    first.get_by_role("button", name="Show").click()
    page.wait_for_selector("#legend:not([hidden])", timeout=WAIT_MS)
    page.locator("#series").scroll_into_view_if_needed()
    _save(page, output / "page_change.png")


def _seen_fields() -> np.ndarray:
    """Share of all fields in each source pixel, as the sensor sees them: ``(1, rows, cols)``."""
    ground = torch.zeros(1, 1, 4 * SIDE_PX, 4 * SIDE_PX)
    for rows, cols in FIELDS.values():
        ground[..., 4 * rows.start : 4 * rows.stop, 4 * cols.start : 4 * cols.stop] = 1
    return Sensor([mtf_to_sigma(MTF_NYQUIST, 4)], 4).observe(ground)[0].numpy()


def _field(name: str, rows: slice, cols: slice, transform: Any, crs: Any) -> dict[str, Any]:
    """Outline of a field in degrees."""
    left, top = transform * (cols.start, rows.start)
    right, bottom = transform * (cols.stop, rows.stop)
    box = shapely.geometry.box(*rasterio.warp.transform_bounds(crs, "EPSG:4326", left, bottom, right, top))
    return {"type": "Feature", "properties": {"name": name}, "geometry": shapely.geometry.mapping(box)}


def _phone(page: Page, address: str, output: Path) -> None:
    _open(page, f"{address}/#scene=demo&left=original.demo&right=sr.demo&bands=false-colour")
    _save(page, output / "page_phone.png")


def _open(page: Page, address: str, scene: str = "demo") -> None:
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    page.wait_for_selector(f"#stage[data-scene='{scene}']")
    settled(page)


def _save(page: Page, path: Path) -> None:
    """Save a picture. Fewer colours would be others in small things, as the marks of legends."""
    settled(page)
    page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
