"""The page's list of jobs by keyboard, and all of the page that needs no map, in a browser that draws none."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import rasterio
import shapely

from geosr.model.zoo import DEFAULT_MODEL
from tests.conftest import SAMPLE
from tests.service.conftest import BOX, PLAIN, served
from tests.service.test_jobs import job_processes
from tests.service.windows import CHROMIUM, DESK, STILL, TEST_ARGUMENTS, is_own

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

#: A box of a few chunks.
SMALL = "0.001, -0.005, 0.005, -0.001"


@pytest.fixture(scope="module")
def browser():
    """One that has no WebGL."""
    with sync_api.sync_playwright() as playwright:
        arguments = [*(one for one in TEST_ARGUMENTS if "swiftshader" not in one), "--disable-3d-apis"]
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A service whose jobs take their time: a network, in small chunks. They are found by their commands."""
    with served(tmp_path_factory.mktemp("slow"), "--demo", model=DEFAULT_MODEL, core_px=32, warm_jobs=False) as running:
        yield running


@pytest.fixture
def page(browser, slow):
    context = browser.new_context(viewport=DESK, **STILL)
    opened, wrong = context.new_page(), []
    opened.set_default_timeout(120_000)
    opened.on("pageerror", lambda error: wrong.append(f"page error: {error} {error.stack}"))
    opened.on("request", lambda request: wrong.append(request.url) if not is_own(request.url, slow) else None)
    opened.goto(f"{slow.address}/#scene=demo")
    opened.wait_for_selector("#stage[data-scene=demo]")
    yield opened
    assert wrong == []
    context.close()


def state_of(page):
    return page.evaluate("window.geosr.state.scene")


def ordered(page, box):
    page.locator("#order-uncertainty").uncheck()
    page.locator("#box").fill(box)
    page.get_by_role("button", name="Order", exact=True).click()


def test_without_maps_the_page_says_so_and_all_else_goes_on(page, tmp_path):
    expect(page.locator("#no-maps")).to_contain_text("WebGL")
    expect(page.locator("#look")).to_be_hidden()
    expect(page.locator("#facts")).to_contain_text("EPSG:32631")
    assert "scene=demo" in page.url
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_contain_text("box")
    mine = tmp_path / "mine.tif"
    shutil.copyfile(SAMPLE, mine)
    with rasterio.open(mine, "r+") as raster:
        raster.update_tags(ns="IMAGERY", ACQUISITIONDATETIME="2024-06-01T10:00:00Z")
    page.locator("#file").set_input_files(mine)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#scene option").first).to_have_text("mine.tif")
    page.locator("#inspect-middle").click()
    expect(page.locator("#pixel table")).to_be_visible(timeout=60_000)
    # A field there over the dates that are there.
    place = state_of(page)["bbox"]
    middle = shapely.Point((place[0] + place[2]) / 2, (place[1] + place[3]) / 2).buffer(0.001)
    feature = {"type": "Feature", "properties": {"name": "north"}, "geometry": shapely.geometry.mapping(middle)}
    (tmp_path / "fields.geojson").write_text(json.dumps(feature))
    page.locator("#describe summary").click()
    page.locator("#file-id").fill("name")
    page.locator("#file").set_input_files(tmp_path / "fields.geojson")
    page.get_by_role("button", name="Upload").click()
    page.locator("#field").select_option(label="Field north")
    expect(page.locator("#series table tbody tr")).to_have_count(1, timeout=120_000)
    expect(page.locator("#series table tbody tr").first).to_have_text(
        re.compile(r"^2024-06-010\.\d{3}0\.0\d\d0\.\d{3}$")
    )
    expect(page.locator("#series circle")).to_have_count(1)
    page.locator("#remove-fields").click()
    expect(page.locator("#fields-section")).to_be_hidden()
    ordered(page, SMALL)
    first = page.locator("#jobs li").first
    expect(first).to_have_attribute("data-status", "successful", timeout=120_000)
    with page.expect_download() as download:
        first.get_by_role("link", name=re.compile("^product")).click()
    assert download.value.path().read_bytes()[:2] == b"II"


def test_the_focus_stays_where_it_is_while_a_job_runs(page, slow):
    finished = slow.submit(scene="demo", bbox=BOX, model=PLAIN)
    assert slow.wait(finished)["status"] == "successful"
    ordered(page, "0, -0.027, 0.0269, 0")
    running = page.locator("#jobs li[data-status=running]")
    expect(running).to_contain_text(re.compile(r"\d+ of \d+ chunks"), timeout=60_000)
    # It goes on only while it is waited for.
    (computing,) = job_processes(running.get_attribute("data-job"))
    computing.suspend()
    focused = page.locator(f'#jobs li[data-job="{finished}"] a', has_text="item")
    focused.focus()
    told = running.locator(".hint").inner_text()
    # The list is looked at each second.
    computing.resume()
    expect(running.locator(".hint")).not_to_have_text(told, timeout=120_000)
    computing.suspend()
    expect(focused).to_be_focused(timeout=120_000)
    cancel = running.get_by_role("button", name="Cancel")
    cancel.focus()
    told = running.locator(".hint").inner_text()
    computing.resume()
    expect(running.locator(".hint")).not_to_have_text(told, timeout=120_000)
    expect(cancel).to_be_focused(timeout=120_000)
    page.keyboard.press("Enter")
    expect(running).to_have_count(0)
    # What had it is gone: the list it was in has it.
    expect(page.locator("#results-title")).to_be_focused(timeout=120_000)


def test_the_focus_stays_in_a_row_whose_job_ends(page, slow):
    ordered(page, SMALL)
    first = page.locator("#jobs li").first
    first.get_by_role("button", name="Cancel").focus()
    expect(first).to_have_attribute("data-status", "successful", timeout=120_000)
    # What is done first with a result.
    expect(first.get_by_role("button", name="Show")).to_be_focused(timeout=120_000)
