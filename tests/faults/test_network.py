"""Servers that fail for a while, for ever, or without end; and what must not be told of their addresses."""

from __future__ import annotations

import datetime as dt
import email.utils
import gzip
import json
import pickle

import numpy as np
import pytest
from rasterio.windows import Window

from catalog import (
    Query,
    SceneRequest,
    SearchError,
    SourceError,
    UnreachableError,
    gdal,
    open_scene,
    parse_bbox,
    search,
    search_io,
    web,
)
from catalog.identity import notes_on
from catalog.items import read_item
from catalog.paths import without_queries, without_query
from geosr.run.pipeline import super_resolve
from tests.conftest import FIRST_WAIT_S, call_geosr, write_raster
from tests.faults.flaky_server import KINDS, STRANGE, flaky_server
from tests.geosr.test_resume import leave_unfinished
from tests.stac_items import write_item
from tests.upscaling import upscale_request

PIXELS = np.random.default_rng(0).integers(500, 4000, (4, 300, 200)).astype(np.uint16)

AREA = parse_bbox("12.2,48.6,12.4,48.8")


@pytest.fixture
def server():
    with flaky_server() as flaky:
        yield flaky


@pytest.fixture
def waits(monkeypatch):
    """The waits of requests, which are not waited for."""
    waited = []
    monkeypatch.setattr(web, "FIRST_WAIT_S", FIRST_WAIT_S)
    monkeypatch.setattr(web.time, "sleep", waited.append)
    return waited


def give_raster(server, tmp_path):
    tmp_path.mkdir(parents=True, exist_ok=True)
    server.contents["/in.tif"] = write_raster(tmp_path / "source.tif", PIXELS).read_bytes()
    return server.url("in.tif")


def give_item(server, tmp_path):
    path = write_item(tmp_path / "items", "one", PIXELS[:, :20, :20])
    content = json.loads(path.read_text())
    for asset in content["assets"].values():
        name = asset["href"].rpartition("/")[2]
        server.contents[f"/{name}"] = (path.parent / name).read_bytes()
        asset["href"] = server.url(name)
    server.contents["/one.json"] = json.dumps(content).encode()
    return server.url("one.json")


def give_api(server, tmp_path):
    give_item(server, tmp_path)
    conforms = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]
    link = {"rel": "search", "href": server.url("search"), "type": "application/geo+json", "method": "GET"}
    root = {"type": "Catalog", "id": "a", "description": "a", "stac_version": "1.0.0", "conformsTo": conforms}
    server.contents["/api"] = json.dumps({**root, "links": [link]}).encode()
    item = json.loads(server.contents["/one.json"])
    server.contents["/search"] = json.dumps({"type": "FeatureCollection", "features": [item], "links": []}).encode()
    return server.url("api")


def read_item_from(server, tmp_path, faults):
    address = give_item(server, tmp_path)
    server.faults += faults
    assert read_item(address).id == "one"


def search_at(server, tmp_path, faults):
    api = give_api(server, tmp_path)
    server.faults += faults
    assert [item.id for item in search(Query(AREA, "2023", api))] == ["one"]


def read_results_of(server, tmp_path, faults):
    """The pages of the answer, after the landing page."""
    api = give_api(server, tmp_path)
    server.faults += ["", *faults]
    assert [item.id for item in search(Query(AREA, "2023", api))] == ["one"]


def ask_version_of(server, tmp_path, faults):
    address = give_raster(server, tmp_path)
    server.faults += faults
    assert web.version_of(address) == {"size": len(server.contents["/in.tif"]), "etag": '"1"'}


def open_raster_from(server, tmp_path, faults):
    address = give_raster(server, tmp_path)
    # Whatever is asked first, and next.
    server.faults += ["", *faults]
    assert open_scene(SceneRequest(address)).geobox.shape == (300, 200)


def read_pixels_from(server, tmp_path, faults):
    address = give_raster(server, tmp_path)
    scene = open_scene(SceneRequest(address))
    # What was decoded to judge the source is not there any more.
    gdal.forget(address)
    server.faults += faults
    pixels, valid = scene.reader.read(Window(0, 200, 200, 100))
    assert (pixels == PIXELS[:, 200:]).all()
    assert valid.all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "use", [read_item_from, search_at, read_results_of, ask_version_of, open_raster_from, read_pixels_from]
)
def test_what_passes_is_waited_for_alike_by_all_that_is_fetched(server, tmp_path, use, kind):
    use(server, tmp_path, [kind] * 4)
    # Of a version the headers are enough, which half an answer has.
    assert server.faults == [] or (use is ask_version_of and kind.startswith("half"))


@pytest.mark.parametrize("kind", ["503", "reset", "half"])
def test_pixels_come_after_more_failures_than_gdal_repeats(server, tmp_path, monkeypatch, kind):
    monkeypatch.setitem(gdal._HTTP, "GDAL_HTTP_MAX_RETRY", 0)
    read_pixels_from(server, tmp_path, [kind] * 6)


def test_answers_that_are_wrong_in_any_way_never_become_other_pixels(server, tmp_path, monkeypatch):
    monkeypatch.setitem(gdal._HTTP, "GDAL_HTTP_LOW_SPEED_TIME", 1)
    monkeypatch.setitem(gdal._HTTP, "GDAL_HTTP_RETRY_DELAY", 0.05)
    address = give_raster(server, tmp_path)
    scene = open_scene(SceneRequest(address))
    server.stalled_s, server.slow_s = 1.2, 0.05
    given_up = {}
    for kind in STRANGE:
        gdal.forget(address)
        server.plans["/in.tif"] = [kind]
        try:
            pixels, valid = scene.reader.read(Window(0, 200, 200, 100))
            assert valid.all()
            assert (pixels == PIXELS[:, 200:]).all(), kind
        except SourceError as error:
            given_up[kind] = str(error)
    assert given_up.keys() <= {"redirect loop", "redirect to a file"}
    assert all("/etc" not in text for text in given_up.values())


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("redirect loop", "it redirects from one address to another without end"),
        ("redirect to a file", "it redirects to an address that is not fetched"),
        ("page of HTML", "it is a web page \\(HTML\\), as of a login or a proxy"),
        ("empty", "it is empty"),
    ],
)
def test_an_answer_that_is_no_item_is_said_to_be_what_it_is(server, tmp_path, kind, message):
    address = give_item(server, tmp_path)
    server.plans["/one.json"] = [kind]
    with pytest.raises(SourceError, match=message) as caught:
        read_item(address)
    assert "/etc" not in str(caught.value)


def test_a_server_that_goes_on_failing_ends_in_one_line(server, tmp_path):
    address = give_raster(server, tmp_path)
    scene = open_scene(SceneRequest(address))
    gdal.forget(address)
    server.faults += ["503"] * 1000
    with pytest.raises(UnreachableError, match=r"cannot reach http://127\.0\.0\.1:\d+/in\.tif: its server answers 503"):
        scene.reader.read(Window(0, 200, 200, 100))
    with pytest.raises(SourceError, match="its server answers 503"):
        read_item(server.url("one.json"))


def test_what_is_not_there_is_asked_for_once(server, waits):
    with pytest.raises(SourceError, match="its server answers 404"):
        read_item(server.url("nothing.json"))
    assert server.asked == ["/nothing.json"]
    assert waits == []


def test_waits_double_and_differ_by_chance(server, waits, monkeypatch):
    shares = iter([0.5, 1, 0.75, 0.5])
    monkeypatch.setattr(web.random, "uniform", lambda low, high: next(shares))
    server.faults += ["503"] * 5
    with pytest.raises(UnreachableError, match="503"):
        web.fetch(web.Request(server.url("a")))
    assert waits == [0.25, 1, 1.5, 2]
    monkeypatch.undo()
    assert (
        0.5 <= min(web.random.uniform(0.5, 1) for _ in range(100)) < max(web.random.uniform(0.5, 1) for _ in range(100))
    )


@pytest.mark.parametrize(
    ("asked", "waited"), [("7", "7 s, as it asks"), ("3600", "60 s of the 3600 s that it asks for")]
)
def test_a_server_that_asks_to_wait_is_waited_for_within_limits_and_aloud(server, waits, asked, waited):
    server.contents["/a"] = b"there"
    server.faults.append("429")
    server.headers["Retry-After"] = asked
    said = []
    with web.announcing(said.append):
        assert web.fetch(web.Request(server.url("a"))).content == b"there"
    assert waits == [min(60, int(asked))]
    assert said == [f"{server.address.removeprefix('http://')} is busy: waiting {waited}"]


def test_a_date_to_wait_for_is_understood(server, waits):
    server.contents["/a"] = b"there"
    server.faults.append("503")
    server.headers["Retry-After"] = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    web.fetch(web.Request(server.url("a")))
    assert waits == [60]


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e309", "nan", "9" * 400, "٣", "Wed, 99 Foo 2026 99:99:99 GMT"])
def test_nonsense_to_wait_for_is_no_longer_than_the_limit(server, waits, text):
    server.contents["/a"] = b"there"
    server.faults.append("503")
    server.headers["Retry-After"] = text.encode("utf-8").decode("latin-1")
    assert web.fetch(web.Request(server.url("a"))).content == b"there"
    assert len(waits) == 1
    assert 0 < waits[0] <= 60


def test_waits_that_a_server_asks_for_are_part_of_the_time_for_all(server, waits, monkeypatch):
    monkeypatch.setattr(web, "TOTAL_S", 50)
    server.faults.append("503")
    server.headers["Retry-After"] = "3600"
    with pytest.raises(UnreachableError, match="its server answers 503, and 50 s are left to wait"):
        web.fetch(web.Request(server.url("a")))
    assert waits == []


def test_an_answer_that_drips_is_given_up(server, monkeypatch):
    monkeypatch.setattr(web, "TOTAL_S", 0.2)
    server.contents["/a.json"] = b"{}"
    server.faults += ["drip"] * 5
    with pytest.raises(SourceError, match="it takes too long to answer"):
        read_item(server.url("a.json"))


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_without_end_is_not_read(server, monkeypatch, packed):
    monkeypatch.setattr(web, "MOST_BYTES", 2**20)
    server.contents["/a.json"] = gzip.compress(bytes(30 * 2**20))
    if packed:
        server.headers["Content-Encoding"] = "gzip"
    else:
        server.faults.append("endless")
    with pytest.raises(SourceError, match=r"answers with more than 1048576 bytes, which are not read"):
        read_item(server.url("a.json"))
    assert len(server.asked) == 1


def test_a_search_whose_answers_have_no_end_is_ended(server, tmp_path, monkeypatch):
    api = give_api(server, tmp_path)
    page = json.loads(server.contents.pop("/search"))

    def made(path):
        following = {"rel": "next", "href": server.url(f"search?{len(server.asked)}"), "method": "GET"}
        return json.dumps({**page, "links": [following]}).encode()

    server.made = made
    monkeypatch.setattr(search_io, "_MOST_BYTES", 20 * len(made("")))
    with pytest.raises(SearchError, match=r"narrow the dates or the area|more than .* bytes"):
        search(Query(AREA, "2023", api))
    assert len(server.asked) <= 22


# Secrets

USER, QUERY = "jane:pass-word-1", "sig=signature-2&X-Amz-Security-Token=token-3"

SECRETS = ("jane", "pass-word-1", "signature-2", "token-3")


def assert_silent(text):
    assert [secret for secret in SECRETS if secret in text] == []


def test_nothing_that_grants_access_is_written_or_shown(server, tmp_path, capfd, caplog):
    give_raster(server, tmp_path)
    address = f"{server.url('in.tif', USER)}?{QUERY}"
    folder = tmp_path / "out"
    folder.mkdir()
    request = upscale_request(SceneRequest(address), folder / "out.tif", model="bicubic", core_px=100)
    leave_unfinished(request)
    written = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert any(path.name == "manifest.json" for path in written)
    super_resolve(request)
    written |= {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for content in written.values():
        assert_silent(content.decode("latin-1"))
    assert "127.0.0.1" in written[folder / "out.json"].decode()
    call_geosr("info", address)
    assert_silent(caplog.text + "".join(capfd.readouterr()))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["", "404", "503", "reset", "half", "drip"])
def test_errors_do_not_tell_what_grants_access(server, tmp_path, monkeypatch, capfd, caplog, fault):
    monkeypatch.setattr(web, "TOTAL_S", 0.5)
    monkeypatch.setitem(gdal._HTTP, "GDAL_HTTP_TIMEOUT", 1)
    server.contents |= dict.fromkeys(("/in.tif", "/one.json", "/api"), b"nonsense")
    told = []
    for path in ("in.tif", "one.json", "absent.tif"):
        server.faults[:] = [fault] * 100
        with pytest.raises(SourceError) as caught:
            open_scene(SceneRequest(f"{server.url(path, USER)}?{QUERY}"))
        # GDAL's own errors, which are the causes, do not travel between processes.
        caught.value.__cause__ = caught.value.__context__ = None
        told += [str(caught.value), repr(pickle.loads(pickle.dumps(caught.value)))]
    server.faults[:] = [fault] * 100
    with pytest.raises(SearchError) as caught:
        search(Query(AREA, "2023", f"{server.url('api', USER)}?{QUERY}"))
    told.append(str(caught.value))
    server.faults[:] = []
    for arguments in (["--fill"], ["--mask-clouds"], []):
        command = ["upscale", f"{server.url('in.tif', USER)}?{QUERY}", "-o", str(tmp_path / "out.tif"), *arguments]
        assert call_geosr(*command) != 0
    for output in (f"https://{USER}@127.0.0.1/out.tif?{QUERY}", f"ftp://{USER}@127.0.0.1/out.tif"):
        assert call_geosr("upscale", "in.tif", "-o", output) != 0
    for text in (*told, caplog.text, *capfd.readouterr()):
        assert_silent(text)


@pytest.mark.parametrize(
    ("told", "silent"),
    [
        ("https://u:p@h/a.tif?sig=1", "https://h/a.tif"),
        ("/vsicurl/https://u:p@h:81/a.tif", "/vsicurl/https://h:81/a.tif"),
        ("/vsizip//vsicurl/https://token@h/a.zip/b.tif", "/vsizip//vsicurl/https://h/a.zip/b.tif"),
        ("s3://bucket/key@2x.tif", "s3://bucket/key@2x.tif"),
        ("https://h/@user/a.tif", "https://h/@user/a.tif"),
        ("/home/me@work/a.tif", "/home/me@work/a.tif"),
    ],
)
def test_addresses_are_shown_without_secrets(told, silent):
    assert without_query(told) == silent
    assert without_queries(f"cannot open '{told}': no") == f"cannot open '{silent}': no"


def test_the_words_of_http_libraries_are_without_secrets():
    told = "HTTPConnectionPool(host='h', port=80): Max retries exceeded with url: /a.json?sig=1 (Caused by Z)"
    assert "sig" not in without_queries(told)
    assert "(Caused by Z)" in without_queries(told)


def test_servers_without_versions_are_named_without_secrets():
    found = {f"https://{USER}@example.org/a.tif?{QUERY}": {"path": "https://example.org/a.tif"}}
    (note,) = notes_on(found)
    assert note.startswith("example.org tells no version")
    assert_silent(note)
