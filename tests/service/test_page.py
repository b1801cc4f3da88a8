"""The page in real Chromium: everything that a user does on it, against a running service and a real STAC API."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import rasterio

from geosr.model.zoo import DEFAULT_MODEL
from tests.conftest import SAMPLE
from tests.service.browsing import PICTURES, differs, is_drawn, on_map, order_a_box, photograph, seen, settled, until
from tests.service.conftest import PLAIN, Service, served
from tests.service.files import files_server
from tests.service.windows import CHROMIUM, DESK, STILL, watched
from tests.small_model import write_small_model
from tests.stac_items import serve, write_item

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
# What is waited for is computed, where tests share two cores.
expect.set_options(timeout=120_000)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

#: A place right of the swipe, as shares of the map's width and height.
RIGHT = (0.6, 0.35)


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Iterator[Service]:
    """A service whose catalogue is a real one with one scene. Its model is the default one where pictures are taken."""
    folder = tmp_path_factory.mktemp("page")
    model = DEFAULT_MODEL if PICTURES else write_small_model(folder)
    with rasterio.open(SAMPLE) as raster:
        pixels = raster.read()[:, :160, :160]
    item = write_item(folder / "items", "S2B_found", pixels, clouds=7.0)
    data = folder / "data"
    # Its rasters are read over HTTP, as those of any catalogue.
    with files_server(folder / "items") as files:
        content = json.loads(item.read_text())
        for asset in content["assets"].values():
            asset["href"] = f"http://{files}/{Path(asset['href']).name}"
        item.write_text(json.dumps(content))
        with serve(folder, item) as api:
            hosts = json.dumps([urlsplit(api).netloc, files])
            settings = {"private_hosts": hosts, "tile_wait_s": 600}
            with served(data, "--demo", "--api", api, model=model, **settings) as service:
                yield service


@pytest.fixture
def page(desk, shown):
    """A page that is shown without an error, and asks nobody else for anything."""
    with watched(desk, shown):
        yield desk


@pytest.fixture
def phone(hand, shown):
    with watched(hand, shown):
        yield hand


def test_the_page_opens_with_the_scene_before_and_after(page):
    assert page.locator("#mark").inner_text() == "Detail finer than the source's resolution is estimated, not measured."
    expect(page.locator("#facts")).to_contain_text("EPSG:32631")
    photograph(page, "desktop-1-opened")


def test_the_swipe_shows_more_or_less_of_the_original(page):
    place = on_map(page, 0.36, 0.5)
    page.locator("#swipe").fill("100")
    original = seen(page, *place, is_drawn)
    page.locator("#swipe").fill("0")
    seen(page, *place, differs(original, by=0.5))
    # By the handle on the map as well.
    handle = page.locator(".compare-swiper-vertical")
    page.locator("#swipe").fill("30")
    frame = handle.bounding_box()
    page.mouse.move(frame["x"] + 30, frame["y"] + 30)
    page.mouse.down()
    page.mouse.move(*on_map(page, 0.73, 0.4))
    page.mouse.up()
    assert float(page.locator("#swipe").input_value()) > 60
    seen(page, *place, lambda pixels: np.abs(pixels - original).mean() < 0.5)


def test_bands_change_what_is_shown_and_stay_after_a_reload(page):
    before = seen(page, *on_map(page, *RIGHT), is_drawn)
    page.locator("#bands").select_option("ndvi")
    settled(page)
    seen(page, *on_map(page, *RIGHT), differs(before, by=5))
    expect(page.locator("#legend")).to_be_visible()
    photograph(page, "desktop-2-ndvi")
    page.reload()
    page.wait_for_selector("#stage[data-scene][aria-busy=false]")
    expect(page.locator("#bands")).to_have_value("ndvi")


def test_tiles_that_a_busy_service_could_not_give_are_asked_for_again(page):
    refused = []

    def refuse_first(route):
        if route.request.url in refused:
            return route.continue_()
        refused.append(route.request.url)
        return route.fulfill(status=503, headers={"Retry-After": "1"}, body="busy")

    page.route(re.compile("layer=sr&bands=false-colour"), refuse_first)
    page.locator("#swipe").fill("0")
    before = seen(page, *on_map(page, *RIGHT), is_drawn)
    page.locator("#bands").select_option("false-colour")
    seen(page, *on_map(page, *RIGHT), lambda pixels: is_drawn(pixels) and differs(before, by=5)(pixels))
    assert refused
    expect(page.get_by_role("alert")).to_be_hidden()
    page.wrong[:] = [text for text in page.wrong if "503" not in text]


def test_uncertainty_is_laid_over_with_a_legend(page):
    before = seen(page, *on_map(page, *RIGHT), is_drawn)
    page.locator("#right").select_option("uncertainty.demo")
    settled(page)
    expect(page.locator("#legend")).to_contain_text("90 % interval")
    seen(page, *on_map(page, *RIGHT), differs(before, by=5))
    photograph(page, "desktop-3-uncertainty")


def test_a_pixel_is_inspected_and_is_that_of_the_product(page, shown):
    page.mouse.click(*on_map(page, 0.36, 0.45))
    table = page.locator("#pixel table")
    expect(table).to_be_visible()
    told = page.locator("#pixel").inner_text()
    lat, lon = map(float, re.findall(r"(-?[\d.]+)°", told))
    col, row = map(int, re.findall(r"column (\d+), row (\d+)", told)[0])
    around = [lon - 0.002, lat - 0.002, lon + 0.002, lat + 0.002]
    job = shown.submit(scene="demo", bbox=around, uncertainty=True)
    assert shown.wait(job)["status"] == "successful"
    folder = shown.data / "jobs" / job
    with (
        rasterio.open(SAMPLE) as source,
        rasterio.open(folder / "product.tif") as product,
        rasterio.open(folder / "product_uncertainty.tif") as widths,
    ):
        # The page counts from the scene's corner.
        left, up = ~product.transform @ (source.transform.c, source.transform.f)
        window = rasterio.windows.Window(col + round(left), row + round(up), 1, 1)
        after, half = product.read(window=window).ravel(), widths.read(window=window).ravel()
    for i, line in enumerate(table.locator("tbody tr").all()):
        cells = line.locator("td").all_inner_texts()
        assert abs(int(cells[1].split()[0]) - int(after[i])) <= 1
        assert abs(int(cells[2].split()[0]) - int(half[i])) <= 1


def test_a_pixel_is_inspected_by_keyboard(page):
    page.locator("#inspect-middle").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#pixel table")).to_be_visible()


def test_a_scene_is_found_shown_and_upscaled(page, shown):
    page.locator("#from").fill("2023-08-01")
    page.locator("#to").fill("2023-08-31")
    page.locator("#place").fill("11.9, 48.5, 12.9, 49.2")
    page.get_by_role("button", name="Search").click()
    found = page.locator("#found li")
    expect(found).to_have_count(1)
    expect(found).to_contain_text("S2B_found")
    photograph(page, "desktop-4-found")
    found.get_by_role("button", name="Show").click()
    expect(page.locator("#scene option").first).to_have_text("S2B_found")
    expect(page.locator("#facts")).to_contain_text("EPSG:32633")
    settled(page)
    page.locator("#order-uncertainty").check()
    page.get_by_role("button", name="Order", exact=True).click()
    expect(page.locator('#jobs li[data-status="successful"]').first).to_contain_text("product", timeout=120_000)


def test_a_search_that_finds_nothing_says_what_to_do(page):
    page.locator("#from").fill("1999-01-01")
    page.locator("#to").fill("1999-01-02")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_contain_text("widen the dates")
    photograph(page, "desktop-5-error")


def test_a_box_is_drawn_ordered_watched_and_downloaded(page, tmp_path):
    page.locator("#scene").select_option("demo")
    settled(page)
    page.locator("#order-uncertainty").uncheck()
    order_a_box(page)
    west, south, east, north = map(float, page.locator("#box").input_value().split(","))
    assert 0 < west < east < 0.027
    assert -0.027 < south < north < 0
    page.get_by_role("button", name="Order", exact=True).click()
    first = page.locator("#jobs li").first
    expect(first).to_have_attribute("data-status", re.compile("accepted|running|successful"))
    photograph(page, "desktop-6-ordered")
    # In the middle of it, somebody reloads.
    page.reload()
    page.wait_for_selector("#stage[data-scene]")
    first = page.locator("#jobs li").first
    expect(first).to_have_attribute("data-status", "successful", timeout=120_000)
    with page.expect_download() as download:
        first.get_by_role("link", name=re.compile("^product")).click()
    path = tmp_path / "product.tif"
    download.value.save_as(path)
    with rasterio.open(path) as raster:
        assert raster.res == (2.5, 2.5)
        assert raster.count == 4


def test_the_wheel_zooms_over_the_handle_of_the_swipe_as_well(page):
    frame = page.locator(".compare-swiper-vertical").bounding_box()
    zoom = page.evaluate("window.geosr.maps.after.getZoom()")
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    page.mouse.wheel(0, -400)
    until(
        page, lambda: page.evaluate("window.geosr.maps.after.getZoom()") > zoom + 0.2, "the map has not come nearer", 30
    )


def test_a_box_is_drawn_by_touch_over_any_distance(phone):
    phone.locator("#tabs").get_by_role("button", name="Order").tap()
    phone.get_by_role("button", name="Draw a box").tap()
    frame = phone.locator("#maps").bounding_box()
    left, top = frame["x"] + frame["width"] * 0.25, frame["y"] + frame["height"] * 0.25
    finger = phone.context.new_cdp_session(phone)
    for step in range(11):
        kind = "touchMove" if step else "touchStart"
        place = {"x": left + step * frame["width"] * 0.04, "y": top + step * frame["height"] * 0.04}
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [place]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    west, south, east, north = map(float, phone.locator("#box").input_value().split(","))
    bounds = phone.evaluate("window.geosr.maps.bounds()")
    # From a quarter of the map's sides over 0.4 of them.
    assert (east - west) / (bounds[2] - bounds[0]) == pytest.approx(0.4, abs=0.02)
    assert (north - south) / (bounds[3] - bounds[1]) == pytest.approx(0.4, abs=0.02)
    expect(phone.get_by_role("button", name="Draw a box")).to_have_attribute("aria-pressed", "false")


def test_a_visual_product_is_ordered_and_marked(page):
    page.locator("#scene").select_option("demo")
    settled(page)
    page.locator("#order-sharpness").fill("0.5")
    expect(page.locator("#order-sharpness-value")).to_contain_text("not for measuring")
    expect(page.locator("#order-uncertainty")).to_be_disabled()
    order_a_box(page)
    page.get_by_role("button", name="Order", exact=True).click()
    first = page.locator("#jobs li").first
    expect(first).to_contain_text("visual product, sharpness 0.5")
    expect(first).to_have_attribute("data-status", "successful", timeout=120_000)
    expect(first).to_contain_text("more of its detail is false")
    page.locator("#order-sharpness").fill("0")
    expect(page.locator("#order-uncertainty")).to_be_enabled()


def test_an_order_is_cancelled(page):
    page.locator("#scene").select_option("demo")
    page.locator("#order-uncertainty").uncheck()
    page.locator("#box").fill("0, -0.027, 0.0268, 0")
    page.get_by_role("button", name="Order", exact=True).click()
    count = page.locator("#jobs li").count()
    page.locator("#jobs").get_by_role("button", name="Cancel").first.click()
    expect(page.locator("#jobs").get_by_role("button", name="Cancel")).to_have_count(0)
    assert page.locator("#jobs li").count() <= max(count, 1)


def test_a_box_that_is_none_is_refused_with_a_reason(page):
    page.locator("#box").fill("here")
    page.get_by_role("button", name="Order", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("four numbers")
    page.locator("#box").fill("170, 5, -170, 6")
    page.get_by_role("button", name="Order", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("crosses the antimeridian")
    page.wrong[:] = [text for text in page.wrong if "404" not in text]


def test_an_upload_is_shown_and_one_that_is_none_is_refused(page, tmp_path):
    nothing = tmp_path / "nothing.tif"
    nothing.write_bytes(b"nothing")
    page.locator("#file").set_input_files(nothing)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("neither a GeoTIFF")
    page.wrong[:] = [text for text in page.wrong if "415" not in text]
    mine = tmp_path / "mine.tif"
    shutil.copyfile(SAMPLE, mine)
    page.locator("#file").set_input_files(mine)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#scene option").first).to_have_text("mine.tif")


def test_the_page_on_a_phone(phone):
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    photograph(phone, "phone-1-opened")
    # The map and what is done with it are seen together, whatever part is open.
    for part in ("Find", "Look", "Order", "Results"):
        phone.locator("#tabs").get_by_role("button", name=part).tap()
        expect(phone.locator("#tabs [aria-current=true]")).to_have_text(part)
        assert phone.locator("#maps").bounding_box()["height"] > 200
        assert phone.evaluate("document.documentElement.scrollHeight <= innerHeight")
    phone.locator("#tabs").get_by_role("button", name="Look").tap()
    phone.locator("#bands").select_option("ndvi")
    photograph(phone, "phone-2-ndvi")
    phone.locator("#right").select_option("uncertainty.demo")
    photograph(phone, "phone-3-uncertainty")
    phone.locator("#inspect-middle").click()
    expect(phone.locator("#pixel table")).to_be_visible()
    photograph(phone, "phone-4-pixel")


def test_everything_can_be_reached_by_keyboard_and_has_a_name(page):
    # The focus is where it is at first.
    page.reload()
    page.wait_for_selector("#stage[data-scene][aria-busy=false]")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('input, button, select, a[href]')]
        .filter((one) => one.offsetParent && !one.closest('.maplibregl-map'))
        .filter((one) => !(one.labels?.length || one.textContent.trim() || one.ariaLabel || one.title))
        .map((one) => one.outerHTML)"""
    )
    assert unnamed == []
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_a_page_without_scenes_says_what_to_do(desk, tmp_path):
    with served(tmp_path / "data", model=PLAIN) as service, watched(desk, service) as opened:
        expect(opened.locator("#empty")).to_contain_text("No scene yet")
        photograph(opened, "desktop-7-empty")


def test_a_key_is_asked_for_where_one_is_needed(browser, tmp_path):
    from geosr.service.database import Database
    from geosr.service.security.api_keys import create_key

    data = tmp_path / "data"
    _, key = create_key(Database(data), "page")
    with served(data, "--demo", model=PLAIN, keys="true") as service:
        context = browser.new_context(viewport=DESK, **STILL)
        opened = context.new_page()
        opened.goto(service.address)
        expect(opened.get_by_role("alert")).to_contain_text("API key")
        opened.locator("#key").fill(key)
        opened.get_by_role("button", name="Use").click()
        opened.wait_for_selector("#stage[data-scene=demo][aria-busy=false]")
        photograph(opened, "desktop-8-with-key")
        # Downloads are links that can be handed on: they hold without the key, and do not have it in them.
        opened.get_by_role("button", name="Order", exact=True).click()
        link = opened.locator("#jobs li").first.get_by_role("link", name=re.compile("^product"))
        href = link.get_attribute("href", timeout=120_000)
        assert key not in href
        assert service.http.get(href).status_code == 200
        context.close()
