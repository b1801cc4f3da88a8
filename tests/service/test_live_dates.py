"""Several open scenes that make one image of the first: its tiles, the report on its dates, and how both end."""

from __future__ import annotations

from importlib.resources import files

import diskcache
import numpy as np
import pytest
from rasterio.windows import Window

from catalog import SceneRequest
from geosr.engine import EngineChoice
from geosr.errors import UsageError
from geosr.inference.upscaler import ModelSpec
from geosr.run.pipeline import super_resolve
from geosr.run.request import ModelRef
from geosr.run.scene_of_request import open_for_model
from geosr.service.jobs.inputs import MOST_OTHERS
from geosr.service.jobs.queue import _check_alike
from geosr.service.jobs.spec import DateSource
from geosr.service.live_scene import LiveScene
from geosr.service.problems import Problem
from geosr.service.tiles.live_chunks import LiveChunks
from geosr.service.tiles.live_dates import DatedScenes
from tests.conftest import read_raster
from tests.geosr.test_dates_run import DAYS, frames, request, series, write  # noqa: F401 - fixtures
from tests.service.browsing import is_drawn, photograph, seen, settled
from tests.service.conftest import served
from tests.service.windows import CHROMIUM, STILL

pytestmark = pytest.mark.slow


def live(path, model="backprojection"):
    ref = ModelRef(model)
    scene = open_for_model(SceneRequest(str(path)), ref.card)
    spec = ModelSpec.of(ref, EngineChoice().for_card(ref.card), scene.bands, plain_image=False)
    return LiveScene(path.stem, path.stem, "upload", scene, spec, 0.0)


def image_of(chunks, scene, window):
    keys = chunks.keys_of(scene, window, uncertainty=False)
    made = {key: chunks.get(scene, key).result(120) for key in keys}
    return chunks.assemble(scene, window, made, half_width=False).pixels


def test_chunks_of_several_dates_are_the_product_of_them(tmp_path, series):  # noqa: F811
    super_resolve(request(series, tmp_path / "out.tif"))
    product = read_raster(tmp_path / "out.tif")
    first, *others = map(live, series)
    dated, registration = DatedScenes().get(first, others)
    assert [entry["role"] for entry in registration.result(120).report] == ["reference", "used", "used"]
    with diskcache.Cache(str(tmp_path / "cache")) as cache:
        # Inner chunks, and those that end with the scene.
        chunks = LiveChunks(cache, 20, 99)
        chunks.start()
        whole = Window(0, 0, 72, 72)
        shown, alone = (image_of(chunks, one, whole) for one in (dated, first))
        chunks.stop()
    assert np.abs(shown - product.astype(int)).max() <= 1
    assert np.abs(alone - product.astype(int)).mean() > 5


def test_dates_that_do_not_fit_are_left_out_and_the_image_is_the_reference_s(tmp_path, frames, series):  # noqa: F811
    first = live(series[0])
    elsewhere = live(write(tmp_path / "elsewhere.tif", frames[1], crs="EPSG:32634"))
    dated, registration = DatedScenes().get(first, [elsewhere])
    (_, report) = registration.result(120).report
    assert "share a CRS" in report["reason"]
    window = Window(8, 8, 32, 32)
    assert np.array_equal(dated.upscaled(window).image, first.upscaled(window).image)


def test_sets_of_dates_are_registered_once_and_forgotten_with_any_of_their_scenes(series, monkeypatch):  # noqa: F811
    kept, (first, *others) = DatedScenes(), map(live, series)
    dated, registration = kept.get(first, others)
    assert kept.get(first, others[::-1]) == (dated, registration)
    registration.result(120)
    kept.forget(others[1].id)
    assert kept.get(first, others)[1] is not registration
    # What failed is tried again.
    monkeypatch.setattr("geosr.run.dates.RunDates.of", lambda *_: (_ for _ in ()).throw(UsageError("no dates")))
    _, failed = kept.get(first, others[:1])
    assert isinstance(failed.exception(120), UsageError)
    monkeypatch.undo()
    assert len(kept.get(first, others[:1])[1].result(120).report) == 2


@pytest.fixture(scope="module")
def three(tmp_path_factory, frames):  # noqa: F811
    """A service with three dates of one place, uploaded, and their ids."""
    folder = tmp_path_factory.mktemp("dates")
    with served(folder / "data", model="backprojection", live_core_px=48, tile_wait_s=240) as service:
        ids = []
        for day, pixels in zip(DAYS, frames, strict=True):
            path = write(folder / f"{day}.tif", pixels)
            ids.append(service.http.post(f"/scenes/upload?title={day}", content=path.read_bytes()).json()["id"])
        yield service, ids


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_the_page_shows_several_dates_and_says_which(three, browser):
    service, ids = three
    page, wrong = browser.new_page(viewport={"width": 1000, "height": 700}, **STILL), []
    page.set_default_timeout(240_000)
    page.on("pageerror", lambda error: wrong.append(f"page error: {error} {error.stack}"))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(f"{service.address}/#scene={ids[0]}&bands=B04")
    page.wait_for_selector(f"#stage[data-scene='{ids[0]}']")
    page.locator("#right").select_option(label="Several dates (3)")
    page.wait_for_selector("#legend:not([hidden])")
    legend = page.locator("#legend").text_content()
    assert f"{DAYS[0]} corrected by " in legend
    assert all(day in legend for day in DAYS)
    settled(page)
    tiles = "Object.values(window.geosr.maps.after.getStyle().sources).flatMap((source) => source.tiles ?? [])"
    assert any("layer=dates" in url for url in page.evaluate(tiles))
    frame = page.locator("#maps").bounding_box()
    seen(page, frame["x"] + frame["width"] * 0.75, frame["y"] + frame["height"] * 0.5, is_drawn)
    # Whoever gets the link sees the same.
    link = page.evaluate("location.href")
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector("#legend:not([hidden])")
    assert page.locator("#label-after").text_content() == "Several dates (3)"
    photograph(page, "several-dates")
    assert wrong == []
    page.close()


def test_the_image_that_is_shown_can_be_ordered(three, tmp_path, frames):  # noqa: F811
    service, (first, *others) = three
    http = service.http
    for wrong, status, said in (
        ({"others": others}, 400, "others are further scenes of a scene"),
        ({"scene": first, "others": [first]}, 409, "is the scene itself"),
        ({"scene": first, "others": ["none"]}, 404, "there is no scene none"),
        ({"scene": first, "others": others, "fill": True}, 400, "fill would have no effect"),
    ):
        answer = http.post("/processes/upscale/execution", json={"inputs": wrong})
        assert answer.status_code == status, wrong
        assert said in answer.json()["detail"]
    other = write(tmp_path / "other.tif", frames[0])
    described = http.post("/scenes/upload?title=other&nodata=7", content=other.read_bytes()).json()["id"]
    answer = http.post("/processes/upscale/execution", json={"inputs": {"scene": first, "others": [described]}})
    assert "another nodata or sensor" in answer.json()["detail"]
    http.delete(f"/scenes/{described}")

    job = service.submit(scene=first, others=others)
    # A scene that a job reads stays.
    assert http.delete(f"/scenes/{others[1]}").status_code == 409
    assert service.wait(job)["status"] == "successful"
    # As the uploads, without a date.
    paths = [write(tmp_path / f"{name}.tif", pixels) for name, pixels in zip("abc", frames, strict=True)]
    super_resolve(request(paths, tmp_path / "by_hand.tif"))
    made = read_raster(service.data / "jobs" / job / "product.tif")
    assert np.abs(made - read_raster(tmp_path / "by_hand.tif").astype(int)).max() <= 1


def test_dates_of_one_order_are_read_alike():
    def refused(*sources):
        with pytest.raises(Problem) as error:
            _check_alike(sources)
        return error.value.detail

    tif = DateSource("scenes/a/upload.tif", "a", nodata=0.0)
    _check_alike([tif, DateSource("scenes/b/upload.jp2", "b", nodata=0.0), DateSource("scenes/c/upload.zip", "c", 0.0)])
    assert "one is an upload and one a STAC Item" in refused(tif, DateSource("scenes/d/item.json", "d", nodata=0.0))
    assert "d was added with another nodata or sensor than a" in refused(tif, DateSource("scenes/d/upload.tif", "d"))


def test_the_page_offers_as_many_further_scenes_as_the_service_takes():
    page = (files("geosr") / "service" / "page" / "layers.js").read_text(encoding="utf-8")
    assert f"const MOST_OTHERS = {MOST_OTHERS};" in page


def test_tiles_of_several_dates_are_served_until_one_of_the_scenes_is_removed(three):
    service, ids = three
    first, others = ids[0], ",".join(ids[1:])
    shown = {"layer": "dates", "bands": "B04", "others": others}
    described = service.http.get(f"/scenes/{first}/tilejson.json", params=shown).json()
    assert f"others={others}" in described["tiles"][0]
    lon, lat, zoom = described["center"]
    x = int((lon + 180) / 360 * 2 ** (zoom + 1))
    y = int((1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) * 2**zoom)
    address = described["tiles"][0].format(z=zoom + 1, x=x, y=y)
    tile = service.http.get(address)
    assert (tile.status_code, tile.headers["content-type"]) == (200, "image/png")
    alone = service.http.get(address.replace("layer=dates", "layer=sr").replace(f"&others={others}", ""))
    assert alone.status_code == 200
    assert alone.content != tile.content
    assert service.http.get(address).headers["etag"] == tile.headers["etag"] != alone.headers["etag"]

    report = service.http.get(f"/scenes/{first}/dates", params={"others": others}).json()
    by_name = {one["date"]: one for one in report}
    assert {name: one["role"] for name, one in by_name.items()} == dict(
        zip(DAYS, ("reference", "used", "used"), strict=True)
    )
    assert by_name[DAYS[1]]["shift_px"] == pytest.approx([0.4, -0.3], abs=0.1)

    for wrong, status, said in (
        ({"layer": "dates"}, 404, "others: names the further scenes"),
        ({"layer": "sr", "others": others}, 404, "others: names the further scenes"),
        ({"layer": "dates", "others": first}, 404, "is the scene itself"),
        ({"layer": "dates", "others": "unknown"}, 404, "there is no scene unknown"),
        ({"layer": "dates", "others": ",".join("abcdefgh")}, 400, "others"),
    ):
        answer = service.http.get(f"/scenes/{first}/tiles/14/0/0", params=wrong)
        assert answer.status_code == status, wrong
        assert said in answer.json()["detail"], wrong

    assert service.http.delete(f"/scenes/{ids[2]}").status_code == 204
    assert service.http.get(address).status_code == 404
