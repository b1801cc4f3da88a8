"""The command: search and upscale against a real API, info, models, demo, JSON; some of it started as users do."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest
import rasterio
from odc.geo.geobox import GeoBox
from PIL import Image
from rasterio.transform import Affine
from rasterio.windows import Window
from rio_cogeo import cog_validate

from geosr.progress import RichReporter
from tests.catalog.scenes import bbox_of
from tests.conftest import SAMPLE, assert_valid_item, data_file, read_raster, run_geosr, run_here, write_raster
from tests.stac_items import serve, write_item

DAY = "2023-08-15"


def ok(result):
    assert result.returncode == 0, result.stderr
    return result


@pytest.mark.slow
def test_search_and_upscale_give_the_pixels_of_the_file(tmp_path, sample):
    """The area's pixels are those of the whole file's product: they see what lies around them."""
    scene = sample[:, :110, :120]
    item = write_item(tmp_path, "one", scene)
    whole = write_raster(tmp_path / "whole.tif", scene, transform=Affine(10, 0, 300000, 0, -10, 5400000), nodata=0)
    box = bbox_of(Window(40, 35, 40, 35))
    with serve(tmp_path, item) as api:
        found = ok(run_here("search", "--bbox", box, "--datetime", DAY, "--api", api, "--json"))
        table = ok(run_here("search", "--bbox", box, "--datetime", DAY, "--api", api))
        searched = ok(run_geosr("upscale", "--bbox", box, "--datetime", DAY, "--api", api, "-o", tmp_path / "a.tif"))
    assert [one["id"] for one in json.loads(found.stdout)["features"]] == ["one"]
    assert "one" in table.stdout
    assert "2023-08-15 10:00" in table.stdout
    # What can be given to upscale.
    assert f"{api}/collections/sentinel-2-l2a/items/one" in table.stdout
    assert "wrote" in searched.stdout
    ok(run_here("upscale", whole, "--bbox", box, "-o", tmp_path / "b.tif"))
    ok(run_here("upscale", whole, "-o", tmp_path / "c.tif"))
    assert (read_raster(tmp_path / "a.tif") == read_raster(tmp_path / "b.tif")).all()
    with rasterio.open(tmp_path / "a.tif") as part, rasterio.open(tmp_path / "c.tif") as full:
        window = full.window(*part.bounds).round_offsets().round_lengths()
        difference = part.read().astype(int) - full.read(window=window).astype(int)
    assert abs(difference).max() <= 1
    assert cog_validate(tmp_path / "a.tif", strict=True) == (True, [], [])
    assert_valid_item(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["properties"]["datetime"] == "2023-08-15T10:00:31Z"
    assert content["properties"]["platform"] == "sentinel-2b"


def test_help_and_version():
    assert ok(run_geosr("--version")).stdout.split() == ["geosr", version("geosr")]
    shown = ok(run_geosr("upscale", "--help", COLUMNS="200")).stdout
    for default in ("Earth Search", "sentinel-2-l2a", "rgbn-x4", "auto, by the machine", "zstd", "by the memory"):
        assert f"[default: ({default})]" in shown
    alone = run_geosr()
    assert (alone.returncode, alone.stderr) == (2, "")
    assert "upscale" in alone.stdout


@pytest.mark.slow
def test_an_area_over_two_items_is_one_seamless_cog(tmp_path, sample):
    left = write_item(tmp_path, "left", sample[:, :, :150])
    right = write_item(tmp_path, "right", sample[:, :, 150:], left=301500)
    both = write_item(tmp_path / "both", "both", sample)
    box = bbox_of(Window(110, 50, 80, 60))
    with serve(tmp_path, left, right) as api:
        ok(run_here("upscale", "--bbox", box, "--datetime", DAY, "--api", api, "-o", tmp_path / "two.tif"))
    ok(run_here("upscale", both, "--bbox", box, "-o", tmp_path / "one.tif"))
    assert (read_raster(tmp_path / "two.tif") == read_raster(tmp_path / "one.tif")).all()
    sources = [link["href"] for link in json.loads((tmp_path / "two.json").read_text())["links"]]
    assert len(sources) == 2


def test_items_of_real_rasters(tmp_path):
    """The crop of a real scene by search equals that of its file."""
    source = data_file("s2/austria_b.tif")
    pixels = read_raster(source)
    item = write_item(tmp_path, "austria", pixels, left=359130, top=5352340)
    whole = write_raster(tmp_path / "whole.tif", pixels, nodata=0)
    grid = GeoBox((60, 70), Affine(10, 0, 361130, 0, -10, 5351340), "EPSG:32633")
    box = ",".join(map(str, grid.footprint("EPSG:4326").boundingbox.bbox))
    with serve(tmp_path, item) as api:
        ok(run_here("upscale", "--bbox", box, "--datetime", DAY, "--api", api, "-o", tmp_path / "a.tif"))
    ok(run_here("upscale", whole, "--bbox", box, "-o", tmp_path / "b.tif"))
    assert (read_raster(tmp_path / "a.tif") == read_raster(tmp_path / "b.tif")).all()


def test_western_boxes_are_values_and_not_options(tmp_path):
    result = run_here("upscale", SAMPLE, "-o", tmp_path / "a.tif", "--bbox", "-60.5,-10,-60,-9")
    assert "outside" in result.stderr


def test_json_for_machines(tmp_path, sample):
    source = write_raster(tmp_path / "in.tif", sample[:, :30, :30])
    result = ok(run_geosr("upscale", source, "-o", tmp_path / "out.tif", "--model", "bicubic", "--core", 20, "--json"))
    answer = json.loads(result.stdout)
    assert answer["cog"] == str(tmp_path / "out.tif")
    assert answer["item"] == str(tmp_path / "out.json")
    assert answer["chunks"] == answer["computed"] == 4
    assert set(answer["consistency_dn"]) == {"B02", "B03", "B04", "B08"}
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert [event["event"] for event in events] == ["note", "begin", *["chunk"] * 4, "stage"]


def test_quiet_is_quiet(tmp_path, sample):
    source = write_raster(tmp_path / "in.tif", sample[:, :30, :30])
    assert ok(run_here("upscale", source, "-o", tmp_path / "out.tif", "--model", "bicubic", "-q")).stderr == ""


def test_info_explains_a_source(tmp_path):
    text = ok(run_here("info", SAMPLE)).stdout
    assert "EPSG:32631" in text
    assert "reflectance = DN * 0.0001" in text
    content = json.loads(ok(run_here("info", SAMPLE, "--json")).stdout)
    assert len(content["bands"]) == 4
    system = json.loads(ok(run_here("info", "--system", "--json")).stdout)
    assert "torch" in system["libraries"]


def test_models_are_listed_and_shown():
    text = ok(run_here("models")).stdout
    assert "rgbn-x4 (default)" in text
    assert "backprojection" in text
    assert json.loads(ok(run_here("models", "rgbn-x4")).stdout)["weights_sha256"]
    assert len(json.loads(ok(run_here("models", "--json")).stdout)) >= 5


@pytest.mark.slow
def test_the_demo_can_be_run_twice(tmp_path):
    ok(run_here("demo", tmp_path / "demo"))
    first = {path.name: path.read_bytes() for path in (tmp_path / "demo").iterdir()}
    assert {"sample_2.5m.tif", "sample_2.5m.json", "before_after.png"} <= set(first)
    with Image.open(tmp_path / "demo" / "before_after.png") as picture:
        assert picture.width > 1000
    assert "up to date" in ok(run_here("demo", tmp_path / "demo")).stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "demo").iterdir()} == first


@pytest.mark.parametrize("command", [[], ["upscale"], ["search"], ["demo"], ["info"], ["models"]])
def test_help(command):
    assert "Usage: geosr" in ok(run_here(*command, "--help")).stdout


def test_the_demo_leaves_files_of_others_alone(tmp_path):
    (tmp_path / "sample.tif").write_text("precious")
    result = run_here("demo", tmp_path)
    assert result.returncode == 1
    assert "is not the bundled sample" in result.stderr
    assert (tmp_path / "sample.tif").read_text() == "precious"


def test_names_are_not_markup(capsys):
    """On a terminal, square brackets in a file's name are shown as they are."""
    reporter = RichReporter()
    reporter.note("d[/c].tif and t[red].tif")
    reporter.begin("scene[bold]", 2, 1, 100)
    reporter.end()
    shown = capsys.readouterr().err
    assert "note: d[/c].tif and t[red].tif" in shown
    assert "scene[bold]" in shown


def test_reduced_precision_is_noted_and_recorded(tmp_path, sample):
    source = write_raster(tmp_path / "in.tif", sample[:, :20, :20])
    ok(run_here("upscale", source, "-o", tmp_path / "a.tif", "--precision", "bfloat16"))
    ok(run_here("upscale", source, "-o", tmp_path / "b.tif", "--precision", "bfloat16", "--model", "bicubic"))
    with rasterio.open(tmp_path / "a.tif") as network, rasterio.open(tmp_path / "b.tif") as plain:
        assert "bfloat16" in network.tags()["GEOSR_NOTES"]
        assert plain.tags()["GEOSR_ENGINE"].endswith("float32")
