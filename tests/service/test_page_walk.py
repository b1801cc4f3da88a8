"""The page's whole way, at a desk and on a phone: find, compare two dates, order, watch, take home, share.

axe-core looks at each state on the way where it is there: ``npm install --prefix DIR axe-core``, and its
``axe.min.js`` named by ``GEOSR_TEST_AXE``.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import rasterio
from PIL import Image

from geosr.model.zoo import DEFAULT_MODEL
from tests.conftest import SAMPLE
from tests.service.browsing import PICTURES, Typist, differs, is_drawn, photograph, seen, settled, until
from tests.service.conftest import served
from tests.service.files import files_server
from tests.service.windows import CHROMIUM, DESK, PHONE, STILL, is_own
from tests.small_model import write_small_model
from tests.stac_items import serve, write_item

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

SEARCH = {"bbox": [12.2, 48.6, 12.4, 48.8], "datetime": "2023-06-01/2023-08-31"}

#: Box of a part of the scene, degrees, by shares of its width and height.
PART = """(shares) => {
    const [west, south, east, north] = window.geosr.state.scene.bbox;
    return shares.map((share, i) => (i % 2 ? south + share * (north - south) : west + share * (east - west)));
}"""

AXE = os.environ.get("GEOSR_TEST_AXE")


@pytest.fixture(scope="module")
def dates(tmp_path_factory):
    """A service whose catalogue has three dates of one place; fields at the left were harvested before the last."""
    folder = tmp_path_factory.mktemp("walk")
    model = DEFAULT_MODEL if PICTURES else write_small_model(folder)
    with rasterio.open(SAMPLE) as raster:
        pixels = raster.read()[:, :160, :160]
    later = pixels.copy()
    later[3, :, :80] //= 2
    items = folder / "items"
    scenes = {
        "early": (pixels, "2023-06-06", 2.0),
        "hazy": (pixels + 600, "2023-06-21", 35.0),
        "late": (later, "2023-08-15", 7.0),
    }
    paths = []
    for name, (image, date, clouds) in scenes.items():
        paths.append(write_item(items, name, image.astype("uint16"), datetime=f"{date}T10:00:31Z", clouds=clouds))
        shown = np.clip((image[[2, 1, 0]] / 3000) ** 0.6 * 255, 0, 255).astype("uint8")
        Image.fromarray(shown.transpose(1, 2, 0)).save(items / f"{name}.png")
    with files_server(items) as files:
        for path in paths:
            content = json.loads(path.read_text())
            content["assets"]["thumbnail"] = {"href": f"{path.stem}.png", "type": "image/png", "roles": ["thumbnail"]}
            for asset in content["assets"].values():
                asset["href"] = f"http://{files}/{Path(asset['href']).name}"
            path.write_text(json.dumps(content))
        with serve(folder, *paths) as api:
            hosts = json.dumps([urlsplit(api).netloc, files])
            with served(folder / "data", "--api", api, model=model, private_hosts=hosts, tile_wait_s=600) as service:
                yield service


@pytest.fixture(params=["desktop", "phone"])
def walker(request, browser, dates):
    options = {"viewport": DESK} if request.param == "desktop" else {"viewport": PHONE, "has_touch": True}
    # Each finds the service as it was.
    for scene in dates.http.get("/scenes").json()["scenes"]:
        dates.http.delete(f"/scenes/{scene['id']}")
    context = browser.new_context(**STILL, **options)
    page, wrong = context.new_page(), []
    page.set_default_timeout(240_000)
    expect.set_options(timeout=120_000)
    page.on("pageerror", lambda error: wrong.append(f"page error: {error} {error.stack}"))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda asked: wrong.append(asked.url) if not is_own(asked.url, dates) else None)
    page.goto(dates.address)
    page.wait_for_selector("#stage[data-scene]", state="attached")
    yield Walker(page, request.param)
    assert wrong == []
    context.close()


class Walker:
    """Somebody at a desk, with a mouse, or with a phone, with a finger."""

    def __init__(self, page, size):
        self.page, self.size = page, size

    def press(self, place):
        place.tap() if self.size == "phone" else place.click()

    def button(self, name, within="body"):
        self.press(self.page.locator(within).get_by_role("button", name=name))

    def open(self, part):
        if self.size == "phone":
            self.button(part, "#tabs")

    def look_at(self, state):
        """Keep a picture for people, and let axe-core look."""
        photograph(self.page, f"walk-{self.size}-{state}")
        if AXE is None:
            return
        self.page.evaluate(Path(AXE).read_text())
        found = self.page.evaluate("axe.run(document)")["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == [], state


def test_find_compare_order_watch_download_and_share(walker, dates, tmp_path):
    page = walker.page
    walker.look_at("1-empty")
    expect(page.locator("#empty")).to_contain_text("No scene yet")

    # Find.
    page.locator("#place").fill("48.73, 12.32")
    page.locator("#from").fill("2023-06-01")
    page.locator("#to").fill("2023-08-31")
    walker.button("Search", "#search-form")
    expect(page.locator("#found li.scene")).to_have_count(3)
    expect(page.locator("#calendar button")).to_have_count(3)
    until(page, lambda: page.locator("#found img").first.evaluate("(one) => one.naturalWidth") == 160, "no thumbnail")
    # The map shows the footprints, and as large as it can.
    shown = page.evaluate("window.geosr.maps.bounds()")
    footprint = dates.http.post("/catalogue/search", json=SEARCH).json()["features"][0]["bbox"]
    assert shown[0] < footprint[0] < footprint[2] < shown[2]
    assert shown[1] < footprint[1] < footprint[3] < shown[3]
    assert min((shown[i + 2] - shown[i]) / (footprint[i + 2] - footprint[i]) for i in (0, 1)) < 1.5
    walker.press(page.get_by_role("button", name="15 Aug 2023, 7 % clouds"))
    expect(page.locator("#found li.chosen")).to_contain_text("late")
    walker.look_at("2-found")

    # Look at one date.
    walker.button("Show 2023-08-15")
    expect(page.locator("#right")).to_have_value(re.compile(r"^sr\."))
    settled(page)
    walker.look_at("3-shown")

    # Compare it with another: the same view, both super-resolved, one stretch.
    walker.open("Find")
    walker.button("Compare 2023-06-06")
    expect(page.locator("#label-before")).to_have_text("Super-resolved, 2023-06-06")
    expect(page.locator("#label-after")).to_have_text("Super-resolved, 2023-08-15")
    settled(page)
    frame = page.locator("#maps").bounding_box()
    place = frame["x"] + frame["width"] * 0.3, frame["y"] + frame["height"] * 0.5
    page.locator("#bands").select_option("ndvi")
    settled(page)
    early = seen(page, *place, is_drawn)
    walker.button("Swap left and right")
    view = page.evaluate("window.geosr.maps.view()")
    settled(page)
    seen(page, *place, differs(early, by=10))
    assert page.evaluate("window.geosr.maps.view()") == view
    walker.button("Swap left and right")
    change = page.locator("#right option", has_text="Change 2023-06-06 to 2023-08-15")
    page.locator("#right").select_option(change.get_attribute("value"))
    expect(page.locator("#legend")).to_contain_text("Change of Vegetation")
    settled(page)
    walker.look_at("4-change")

    # A stretch of what is shown, and a picture of it.
    page.locator("#bands").select_option("true-colour")
    page.locator("#right").select_option(re.sub(r"^.*right=(change\.\w+).*$", r"\1", page.url).replace("change", "sr"))
    settled(page)
    page.locator("#stretch").select_option("2,98")
    until(page, lambda: "rescale=" in page.url, "the stretch is not kept")
    settled(page)
    with page.expect_download() as download:
        walker.button("Picture")
    with Image.open(download.value.path()) as picture:
        ratio, height = STILL["device_scale_factor"], page.locator("#maps").bounding_box()["height"]
        assert picture.size == pytest.approx((frame["width"] * ratio, height * ratio), abs=1)
        assert np.asarray(picture.convert("RGB")).std() > 20

    # Order a box, and watch.
    walker.open("Order")
    box = page.evaluate(PART, [0.2, 0.2, 0.6, 0.6])
    page.locator("#box").fill(", ".join(f"{value:.5f}" for value in box))
    page.locator("#order-uncertainty").uncheck()
    walker.look_at("5-order")
    walker.button("Order", "#order-form")
    result = page.locator("#jobs li").first
    expect(result).to_be_visible()
    photograph(page, f"walk-{walker.size}-6-ordered")
    expect(result).to_have_attribute("data-status", "successful")

    # Take home: shown on the map, named, downloaded whole.
    walker.press(result.get_by_role("button", name="Show"))
    expect(page.locator("#label-after")).to_contain_text("Result")
    settled(page)
    bounds = page.evaluate("window.geosr.maps.bounds()")
    assert bounds[0] < box[0] < box[2] < bounds[2]
    seen(page, frame["x"] + frame["width"] * 0.6, place[1], is_drawn)
    walker.press(result.get_by_role("button", name="Rename"))
    result.get_by_label("Name of the result").fill(f"Harvest, {walker.size}")
    result.get_by_label("Name of the result").press("Enter")
    expect(result).to_contain_text(f"Harvest, {walker.size}")
    walker.look_at("7-result")
    with page.expect_download() as download:
        walker.press(result.get_by_role("link", name="all as zip"))
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
        (product,) = (name for name in archive.namelist() if name.endswith("product.tif"))
        (tmp_path / "product.tif").write_bytes(archive.read(product))
    with rasterio.open(tmp_path / "product.tif") as raster:
        assert raster.res == (2.5, 2.5)

    # A profile and a pixel.
    walker.open("Look")
    page.locator("#line").fill(f"{box[0]}, {box[1]}, {box[2]}, {box[3]}")
    walker.button("Profile", "#line-form")
    expect(page.locator("#profile svg")).to_be_visible()
    walker.button("Inspect middle")
    expect(page.locator("#pixel table")).to_be_visible()
    expect(page.locator(".marker").first).to_be_attached()
    walker.look_at("8-inspected")

    # Share: whoever follows the link sees the same.
    walker.button("Share")
    expect(page.locator("#share-dialog")).to_be_visible()
    link = page.locator("#share-link").input_value()
    assert "{z}/{x}/{y}" in page.locator("#share-xyz").input_value()
    assert dates.http.get(page.locator("#share-tilejson").input_value()).status_code == 200
    walker.look_at("9-share")
    walker.button("Close", "#share-dialog")
    shown = [page.locator(f"#label-{side}").inner_text() for side in ("before", "after")]
    other = page.context.new_page()
    other.goto(link)
    other.wait_for_selector("#stage[data-scene][aria-busy=false]")
    expect(other.locator("#label-after")).to_have_text(shown[1])
    expect(other.locator("#label-before")).to_have_text(shown[0])
    kept = "[window.geosr.maps.view(), window.geosr.state.rescale, window.geosr.state.bands]"
    assert other.evaluate(kept) == page.evaluate(kept)
    other.close()

    # And away with it.
    walker.open("Results")
    walker.press(result.get_by_role("button", name="Delete"))
    expect(page.locator("#jobs li")).to_have_count(0)


def test_by_keyboard_alone_two_dates_are_compared_their_change_ordered_and_taken_home(walker, dates):
    if walker.size == "phone":
        pytest.skip("phones have no keyboard")
    page, hand = walker.page, Typist(walker.page)

    # Find.
    hand.type(page.locator("#place"), "48.73, 12.32")
    for date, digits in (("#from", "06012023"), ("#to", "08312023")):
        hand.reach(page.locator(date))
        page.keyboard.type(digits)
    hand.press(page.locator("#search-form button"))
    expect(page.locator("#found li.scene")).to_have_count(3)
    hand.press(page.get_by_role("button", name="Show 2023-06-06"))
    expect(page.locator("#stage")).to_have_attribute("data-scene", re.compile("."))
    hand.press(page.get_by_role("button", name="Compare 2023-08-15"))
    # The earlier one is at the left, whichever was shown first.
    expect(page.locator("#label-before")).to_have_text("Super-resolved, 2023-06-06")
    hand.reach(page.locator("#swipe"))
    swipe = page.evaluate("window.geosr.state.swipe")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("window.geosr.state.swipe") == swipe + 1

    # Order the change between them, and watch.
    hand.press(page.locator("#to-change"))
    expect(page.locator("#order-what")).to_be_focused()
    expect(page.locator("#order-what")).to_have_value("change")
    # Of a part: both its dates are upscaled with half-widths.
    box = page.evaluate(PART, [0.2, 0.2, 0.6, 0.6])
    hand.type(page.locator("#box"), ", ".join(f"{value:.5f}" for value in box))
    hand.reach(page.locator("#order-index"))
    page.keyboard.type("veg")
    expect(page.locator("#order-index")).to_have_value("ndvi")
    settled(page)
    walker.look_at("10-order-change")
    hand.press(page.get_by_role("button", name="Order", exact=True))
    result = page.locator("#jobs li").first
    expect(result).to_contain_text("change of NDVI, early to late")

    # Take home: the map of change with its hectares, and the situation map.
    expect(result).to_have_attribute("data-status", "successful")
    hand.press(result.get_by_role("button", name="Show"))
    expect(page.locator("#legend")).to_contain_text("less vegetation")
    expect(page.locator("#legend")).to_contain_text(re.compile(r"\d+\.\d\d ha"))
    settled(page)
    frame = page.locator("#maps").bounding_box()
    # Changed ground is red or blue, whatever the model makes of it.
    seen(page, frame["x"] + frame["width"] * 0.6, frame["y"] + frame["height"] * 0.5, is_drawn)
    walker.look_at("11-change-result")
    with page.expect_download() as download:
        hand.press(result.get_by_role("link", name=re.compile(r"^situation map \(")))
    assert "less vegetation" in download.value.path().read_text()

    # Share.
    hand.press(page.locator("#share"))
    expect(page.locator("#share-link")).to_be_focused()
    assert "product." in page.locator("#share-link").input_value()
    hand.press(page.get_by_role("button", name="Close"))
    expect(page.locator("#share-dialog")).to_be_hidden()

    # The map of change is shown without the later scene, which is removed.
    later = next(one["id"] for one in dates.http.get("/scenes").json()["scenes"] if one["title"] == "late")
    assert dates.http.delete(f"/scenes/{later}").status_code == 204
    page.goto(dates.address)
    page.wait_for_selector("#stage[data-scene]")
    hand.press(result.get_by_role("button", name="Show"))
    expect(page.locator("#legend")).to_contain_text("less vegetation")
    settled(page)
    # Left of its middle the ground changed, and the map is all that is drawn there.
    frame = page.locator("#maps").bounding_box()
    seen(page, frame["x"] + frame["width"] * 0.55, frame["y"] + frame["height"] * 0.5, is_drawn)
    hand.press(result.get_by_role("button", name="Delete"))
    expect(page.locator("#jobs li")).to_have_count(0)
    # The map does not ask for what was deleted.
    tiles = "Object.values(window.geosr.maps.after.getStyle().sources).flatMap((source) => source.tiles ?? [])"
    assert [url for url in page.evaluate(tiles) if "/jobs/" in url] == []
    expect(page.locator("#label-after")).to_contain_text("Super-resolved")


def test_a_service_that_does_not_answer_is_said_and_waited_for(browser, tmp_path):
    with served(tmp_path / "data", "--demo") as service:
        page = browser.new_page(viewport=DESK, **STILL)
        page.goto(service.address)
        page.wait_for_selector("#stage[data-scene=demo][aria-busy=false]")
        page.context.set_offline(True)
        page.get_by_role("button", name="Inspect middle").click()
        expect(page.locator("#offline")).to_be_visible()
        photograph(page, "state-offline")
        page.context.set_offline(False)
        expect(page.locator("#offline")).to_be_hidden()
        page.get_by_role("button", name="Inspect middle").click()
        expect(page.locator("#pixel table")).to_be_visible()
        page.close()


def test_a_file_is_dropped_and_what_it_does_not_say_is_asked_for(browser, dates, tmp_path):
    with rasterio.open(SAMPLE) as source:
        pixels, profile = source.read()[:, :64, :64], source.profile
    bare = tmp_path / "bare.tif"
    with rasterio.open(bare, "w", **{**profile, "width": 64, "height": 64}) as out:
        out.write(pixels)
    page = browser.new_page(viewport=DESK, **STILL)
    page.goto(dates.address)
    page.wait_for_selector("#stage[data-scene]", state="attached")
    # As a browser gives a file that is dropped.
    page.evaluate("document.body.append(Object.assign(document.createElement('input'), { type: 'file', id: 'given' }))")
    page.locator("#given").set_input_files(bare)
    page.evaluate(
        """() => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(document.getElementById("given").files[0]);
            document.getElementById("given").remove();
            window.dispatchEvent(new DragEvent("dragover", { dataTransfer, cancelable: true }));
            window.dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
        }"""
    )
    expect(page.get_by_role("alert")).to_contain_text("B02, B03, B04, B08")
    expect(page.locator("#file-bands")).to_be_focused()
    photograph(page, "state-described")
    page.locator("#file-bands").fill("B02, B03, B04, B08")
    page.locator("#file-scale").fill("0.0001")
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#scene option").first).to_have_text("bare.tif")
    settled(page)
    page.close()
