"""Many scenes into one folder: a product each, a valid Collection, and nothing done twice."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pystac
import pytest
import rasterio
from pystac.validation import validate_dict
from rasterio.transform import from_origin

from geosr.batch.collection import write_collection
from geosr.batch.scenes import scenes_of, scenes_of_items
from geosr.errors import UsageError
from geosr.run.locks import lock_folder
from geosr.settings import settings
from tests.conftest import assert_valid_item, read_raster, run_here, write_raster
from tests.safe_product import write_safe
from tests.stac_items import serve, write_item

QUICK = ("--model", "bicubic", "-q")


@pytest.fixture
def scenes(tmp_path, sample):
    """A folder of two rasters and one that cannot be upscaled, and a file that is none."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for name, top in (("north", 5352340), ("south", 5351340)):
        transform = from_origin(359130, top, 10, 10)
        write_raster(folder / f"{name}.tif", sample[:, :24, :20], nodata=0, transform=transform)
    write_raster(folder / "two_bands.tif", sample[:2, :24, :20], names=("B02", "B03"))
    (folder / "notes.md").write_text("of the campaign")
    return folder


def batch(*arguments):
    return run_here("batch", *arguments, *QUICK)


def contents(folder):
    """Every file of the folder but the summary, which differs from run to run."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.stem != "summary"}


def summary(folder):
    content = json.loads((folder / "summary.json").read_text())
    return {one["name"]: one["state"] for one in content["outcomes"]}


def test_a_folder_becomes_a_folder_of_products(tmp_path, scenes):
    """Refuse a scene that cannot be upscaled with its reason, and make the others all the same."""
    out = tmp_path / "out"
    done = run_here("batch", scenes, "-o", out, "-q")
    assert done.returncode == 1
    assert "2 made, 0 there already, 1 refused" in done.stdout
    assert summary(out) == {"north": "made", "south": "made", "two_bands": "refused"}
    content = json.loads((out / "summary.json").read_text())
    assert "B04" in content["outcomes"][2]["reason"]
    assert read_raster(out / "north.tif").shape == (4, 96, 80)
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == [
        *("collection.json", "north.json", "north.png", "north.tif", "south.json", "south.png", "south.tif"),
        *("summary.html", "summary.json"),
    ]
    page = (out / "summary.html").read_text()
    assert 'href="north.tif"' in page
    assert content["outcomes"][2]["reason"].split(",")[0].replace("'", "&#x27;") in page


def test_the_folder_is_a_collection(tmp_path, scenes):
    """Valid by STAC's own schemas, read by pystac from its place, and over all that is in it."""
    out = tmp_path / "out"
    batch(scenes, "-o", out)
    content = json.loads((out / "collection.json").read_text())
    assert len(validate_dict(content)) == 1
    collection = pystac.Collection.from_file(out / "collection.json")
    items = sorted(collection.get_items(), key=lambda item: item.id)
    assert [item.id for item in items] == ["north", "south", "two_bands"]
    for item in items:
        assert_valid_item(out / f"{item.id}.json")
        assert item.collection_id == "out"
        assert item.get_collection().id == "out"
        assert item.assets["thumbnail"].href == "./" + f"{item.id}.png"
        assert item.get_single_link("derived_from") is not None
    boxes = np.array([item.bbox for item in items])
    assert collection.extent.spatial.bboxes[0] == [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]
    assert content["summaries"]["proj:code"] == ["EPSG:32633"]
    # Nothing tells when these rasters were acquired.
    assert content["extent"]["temporal"]["interval"] == [[None, None]]


def test_what_is_done_is_skipped_and_new_scenes_are_made(tmp_path, scenes, sample):
    out = tmp_path / "out"
    batch(scenes, "-o", out)
    before = contents(out)
    stamp = (out / "north.tif").stat().st_mtime_ns
    batch(scenes, "-o", out)
    assert summary(out) == {"north": "skipped", "south": "skipped", "two_bands": "skipped"}
    assert contents(out) == before
    write_raster(scenes / "west.tif", sample[:, :24, :20], nodata=0)
    batch(scenes, "-o", out)
    assert summary(out) == {"north": "skipped", "south": "skipped", "two_bands": "skipped", "west": "made"}
    assert (out / "north.tif").stat().st_mtime_ns == stamp
    # Products of scenes that are no longer asked for stay in the Collection.
    batch(scenes / "west.tif", "-o", out)
    assert summary(out) == {"west": "skipped"}
    assert len(list(pystac.Collection.from_file(out / "collection.json").get_items())) == 4


def test_other_settings_are_refused_until_told_to_overwrite(tmp_path, scenes):
    out = tmp_path / "out"
    batch(scenes / "north.tif", "-o", out)
    before = read_raster(out / "north.tif")
    other = ("batch", scenes / "north.tif", "-o", out, "--model", "nearest", "-q")
    assert run_here(*other).returncode == 1
    assert summary(out) == {"north": "refused"}
    assert "--overwrite replaces it" in json.loads((out / "summary.json").read_text())["outcomes"][0]["reason"]
    assert (read_raster(out / "north.tif") == before).all()
    assert run_here(*other, "--overwrite").returncode == 0
    assert summary(out) == {"north": "made"}
    assert (read_raster(out / "north.tif") != before).any()


def test_search_results_are_scenes(tmp_path, sample):
    """Each Item of the answer, by its address, cut to the area."""
    pixels = sample[:, :40, :40]
    items = [
        write_item(tmp_path / "items", name, pixels, datetime=f"2023-08-{day}T10:00:31Z")
        for name, day in (("first", 15), ("second", 20))
    ]
    out = tmp_path / "out"
    bbox = pystac.Item.from_file(items[0]).bbox
    west, south, east, north = bbox
    box = f"{west},{(south + north) / 2},{(west + east) / 2},{north}"
    with serve(tmp_path, *items) as api:
        search = ("--bbox", box, "--datetime", "2023-08", "--api", api)
        done = batch("-o", out, *search)
        assert done.returncode == 0, done.stderr
        assert summary(out) == {"first": "made", "second": "made"}
        batch("-o", out, *search)
        assert summary(out) == {"first": "skipped", "second": "skipped"}
    assert max(read_raster(out / "first.tif").shape[1:]) < 100
    interval = pystac.Collection.from_file(out / "collection.json").extent.temporal.intervals[0]
    assert [time.day for time in interval] == [15, 20]


@pytest.fixture
def two_passes(tmp_path, sample):
    """Two tiles of one overpass, seconds apart, and one of another day."""
    tiles = (("west", "15T10:00:31", 0), ("east", "15T10:00:44", 400), ("later", "20T10:00:31", 0))
    return [
        write_item(tmp_path / "items", name, sample[:, :40, :40], datetime=f"2023-08-{time}Z", left=300_000 + metres)
        for name, time, metres in tiles
    ]


def test_items_of_one_overpass_become_one_product(tmp_path, two_passes):
    """From a search and from a folder alike, with the bytes of the Items joined by hand."""
    out, box = tmp_path / "out", ",".join(map(str, pystac.Item.from_file(two_passes[0]).bbox))
    with serve(tmp_path, *two_passes) as api:
        for state in ("made", "skipped"):
            done = batch("-o", out, "--join", "--bbox", box, "--datetime", "2023-08", "--api", api)
            assert done.returncode == 0, done.stderr
            assert summary(out) == {"sentinel-2b_20230815": state, "sentinel-2b_20230820": state}
    batch(tmp_path / "items", "-o", tmp_path / "files", "--join")
    assert run_here("upscale", *two_passes[1::-1], "-o", tmp_path / "by_hand.tif", *QUICK).returncode == 0
    joined = read_raster(tmp_path / "files" / "sentinel-2b_20230815.tif")
    assert joined.shape == (4, 160, 320)
    assert (joined == read_raster(tmp_path / "by_hand.tif")).all()
    sources = json.loads((tmp_path / "files" / "summary.json").read_text())["outcomes"][0]["source"]
    assert sources == f"{two_passes[1]}, {two_passes[0]}"


def test_an_item_that_cannot_be_read_ends_no_other_overpass(tmp_path, two_passes):
    (tmp_path / "items" / "broken.json").write_text('{"type": "Feature", "stac_version": "1.0.0"}')
    done = batch(tmp_path / "items", "-o", tmp_path / "out", "--join")
    assert done.returncode == 1
    states = {"broken": "refused", "sentinel-2b_20230815": "made", "sentinel-2b_20230820": "made"}
    assert summary(tmp_path / "out") == states


def test_a_later_tile_of_an_overpass_is_not_passed_over(tmp_path, two_passes):
    """Nor does it replace a product that somebody works with, unless told to."""
    out = tmp_path / "out"
    batch(two_passes[1], "-o", out, "--join")
    before = (out / "sentinel-2b_20230815.tif").read_bytes()
    assert batch(*two_passes[:2], "-o", out, "--join").returncode == 1
    assert summary(out) == {"sentinel-2b_20230815": "refused"}
    assert (out / "sentinel-2b_20230815.tif").read_bytes() == before
    assert batch(*two_passes[:2], "-o", out, "--join", "--overwrite").returncode == 0
    assert read_raster(out / "sentinel-2b_20230815.tif").shape == (4, 160, 320)


def test_features_across_tiles_of_one_overpass_have_one_product(tmp_path, two_passes):
    from shapely.geometry import box, mapping

    _, south, east, north = pystac.Item.from_file(two_passes[0]).bbox
    across = box(east - 0.001, south + 0.001, east + 0.001, north - 0.001)
    feature = {"type": "Feature", "properties": {"name": "f"}, "geometry": mapping(across)}
    (tmp_path / "f.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    out = tmp_path / "out"
    done = batch(*two_passes[:2], "-o", out, "--join", "--aoi", tmp_path / "f.geojson", "--id", "name")
    assert done.returncode == 0, done.stderr
    assert summary(out) == {"sentinel-2b_20230815_f": "made"}
    measured = read_raster(out / "sentinel-2b_20230815_f.tif")[0] > 0
    middle = measured.shape[1] // 2
    assert measured[:, :middle].mean() > 0.6
    assert measured[:, middle:].mean() > 0.6


def test_scenes_are_put_in_a_crs_and_cut(tmp_path, scenes):
    out = tmp_path / "out"
    assert batch(scenes / "north.tif", "-o", out).returncode == 0
    west, south, east, north = pystac.Item.from_file(out / "north.json").bbox
    box = f"{west},{south},{(west + east) / 2},{north}"
    options = ("--crs", "EPSG:3035", "--bbox", box, "--clip", "--all-touched")
    done = batch(scenes / "north.tif", scenes / "south.tif", "-o", tmp_path / "cut", *options)
    assert summary(tmp_path / "cut") == {"north": "made", "south": "refused"}, done.stderr
    content = json.loads((tmp_path / "cut" / "north.json").read_text())
    assert content["properties"]["proj:code"] == "EPSG:3035"
    assert 0 < (read_raster(tmp_path / "cut" / "north.tif")[0] == 0).mean() < 0.5


def test_folders_have_items_or_products_or_rasters(tmp_path, sample):
    folder = tmp_path / "in"
    folder.mkdir()
    write_raster(folder / "a.tif", sample[:, :8, :8])
    assert [scene.name for scene in scenes_of([str(folder)])] == ["a"]
    product = write_safe(folder, sample[:, :24, :24], baseline="05.11")
    assert [scene.source for scene in scenes_of([str(folder)])] == [str(product)]
    write_item(folder, "item", sample[:, :8, :8])
    assert [scene.name for scene in scenes_of([str(folder)])] == ["item"]


def test_lists_name_scenes_beside_them_and_elsewhere(tmp_path, sample):
    write_raster(tmp_path / "a.tif", sample[:, :8, :8])
    (tmp_path / "list.txt").write_text("# of May\na.tif\n\nhttps://example.org/b/collection.json?token=1\n")
    found = scenes_of([str(tmp_path / "list.txt")])
    assert [scene.name for scene in found] == ["a", "collection_scene"]
    assert found[0].source == str(tmp_path / "a.tif")


def test_lists_may_be_utf_16(tmp_path, scenes):
    (tmp_path / "list.txt").write_text("# of Windows\nscenes/north.tif\n", encoding="utf-16")
    assert [scene.name for scene in scenes_of([str(tmp_path / "list.txt")])] == ["north"]


def test_an_item_that_others_have_edited_does_not_end_the_batch(tmp_path, scenes):
    """The Collection has those that are whole, with a byte order mark or without, and the others are named."""
    out = tmp_path / "out"
    assert batch(scenes, "-o", out).returncode == 0
    item = json.loads((out / "north.json").read_text())
    for change in (
        {"links": None},
        {"links": ["x"]},
        {"bbox": "x"},
        {"properties": {**item["properties"], "gsd": [1]}},
        {"properties": {**item["properties"], "gsd": "2.5"}},
        {"properties": {**item["properties"], "start_datetime": 5}},
    ):
        (out / "north.json").write_text(json.dumps(item | change))
        assert write_collection(out) == (2, ["north.json"]), change
    (out / "north.json").write_text(json.dumps(item | {"links": None}))
    done = run_here("batch", scenes, "-o", out, "--model", "bicubic", "--json")
    assert "north.json is left out of the Collection" in done.stderr
    heights = {"bbox": [*item["bbox"][:2], 0, *item["bbox"][2:], 100]}
    (out / "north.json").write_text(json.dumps(item | heights), encoding="utf-8-sig")
    assert batch(scenes, "-o", out).returncode == 0
    assert not (out / "north.tif.json").exists()
    collection = pystac.Collection.from_file(str(out / "collection.json"))
    assert len(list(collection.get_items())) == 3
    assert collection.extent.spatial.bboxes[0][3] == pytest.approx(item["bbox"][3])


def test_two_batches_at_once_do_no_harm(tmp_path, scenes):
    out = tmp_path / "out"
    batch(scenes, "-o", out)
    before = contents(out)
    lock = lock_folder(out / ".geosr-batch", out)
    try:
        done = batch(scenes, "-o", out, "--overwrite")
    finally:
        lock.release()
    assert done.returncode == 1
    assert "another process is making" in done.stderr
    assert contents(out) == before


def test_an_interrupted_batch_tells_what_it_did(monkeypatch, tmp_path, scenes):
    from geosr.batch import folder as module

    out, real = tmp_path / "out", module.super_resolve

    def interrupted(request, reporter):
        if request.output.stem == "south":
            raise KeyboardInterrupt
        return real(request, reporter)

    monkeypatch.setattr(module, "super_resolve", interrupted)
    done = batch(scenes, "-o", out, "--json")
    assert done.returncode == 130
    content = json.loads((out / "summary.json").read_text())
    assert (content["made"], content["waiting"]) == (1, 2)
    monkeypatch.undo()
    batch(scenes, "-o", out)
    assert summary(out) == {"north": "skipped", "south": "made", "two_bands": "made"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out"], "nothing to work on"),
        (["empty", "-o", "out"], "has no STAC Item, .SAFE product or raster"),
        (["scenes", "-o", "scenes"], "is in the folder of the products"),
        (["scenes", "-o", "file"], "is a file: name a folder"),
        (["scenes", "scenes2", "-o", "out"], "would have one product, north.tif"),
        (["scenes", "-o", "out", "--datetime", "2024"], "would search for scenes, and a source is named already"),
        (["scenes", "-o", "out", "--clip"], "--clip cuts to an area"),
        (["scenes", "-o", "out", "--all-touched"], "--all-touched is a rule for --clip"),
        (["scenes", "-o", "out", "--model", ""], "--model is empty"),
        (["scenes", "-o", "out", "--workers", "2", "--scheduler", "tcp://a:1"], "give one of them"),
        (["scenes", "-o", "s3://bucket/x"], "writes to a folder on a disk"),
        (["scenes", "-o", "out", "--join", "--dates", "2"], "leave out one of them"),
        (["scenes", "-o", "out", "--join"], "no scene is one"),
        (["latin.txt", "-o", "out"], "latin.txt is no text in UTF-8"),
        (["layers", "-o", "out"], "would have its product where layers of layers/a.tif go, a_measured.tif"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, scenes, sample, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "scenes2").mkdir()
    write_raster(tmp_path / "scenes2" / "north.tif", sample[:, :8, :8])
    (tmp_path / "latin.txt").write_bytes("Gelände.tif".encode("cp1252"))
    (tmp_path / "layers").mkdir()
    for name in ("a", "a_measured"):
        (tmp_path / "layers" / f"{name}.tif").touch()
    before = sorted(tmp_path.rglob("*"))
    done = run_here("batch", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_settings_of_the_site_hold_for_batches(monkeypatch, tmp_path, scenes):
    """A product is the one that the command upscale makes with these settings."""
    monkeypatch.setenv("GEOSR_COMPRESSION", "deflate")
    monkeypatch.setenv("GEOSR_ENGINE", "torch")
    settings.cache_clear()
    try:
        assert batch(scenes / "north.tif", "-o", tmp_path / "out").returncode == 0
        assert run_here("upscale", scenes / "north.tif", "-o", tmp_path / "one.tif", *QUICK).returncode == 0
    finally:
        settings.cache_clear()
    with rasterio.open(tmp_path / "out" / "north.tif") as raster:
        assert raster.compression.name == "deflate"
        assert raster.tags()["GEOSR_ENGINE"] == "torch-cpu-float32"
    assert (tmp_path / "out" / "north.tif").read_bytes() == (tmp_path / "one.tif").read_bytes()


def test_items_of_one_name_are_refused():
    """Names are made of Items' ids, and characters that no file system likes are lost."""
    items = [pystac.Item(id, None, None, datetime(2024, 5, 1), {}) for id in ("T33/a", "T33:a")]
    for item in items:
        item.set_self_href(f"https://example.org/{item.id[-2] == '/'}.json")
    with pytest.raises(UsageError, match=r"would have one product, T33_a\.tif"):
        scenes_of_items(items)
    assert len(scenes_of_items([items[0], items[0]])) == 1


def test_names_that_differ_by_capitals_are_one_file_on_some_disks(tmp_path, sample):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    write_raster(tmp_path / "a" / "T33.tif", sample[:, :8, :8])
    write_raster(tmp_path / "b" / "t33.tif", sample[:, :8, :8])
    with pytest.raises(UsageError, match="would have one product"):
        scenes_of([str(tmp_path / "a"), str(tmp_path / "b")])
