"""A product for each feature of each scene, and several scenes at a time on one cluster."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.transform import from_origin

from catalog import SceneRequest
from catalog.features import Feature
from geosr.batch.features import scenes_of_features
from geosr.batch.folder import run_batch
from geosr.batch.parallel import run_scenes
from geosr.batch.scenes import BatchScene
from geosr.progress import QuietReporter
from tests.conftest import read_raster, run_here, write_raster
from tests.geosr.test_batch import QUICK, contents, summary

#: Corners of fields in metres, from the south-western corner of the northern scene, whose neighbour is south of it.
FIELDS = {"Hofäcker": (20, 30, 90, 80), "Ried/2": (100, -60, 160, 60), "far": (9000, 0, 9100, 100)}


@pytest.fixture
def farm(tmp_path, sample):
    """Two scenes, one below the other, and fields in one, in both, and in none of them."""
    (tmp_path / "scenes").mkdir()
    for name, top in (("north", 5352340), ("south", 5352100)):
        transform = from_origin(359130, top, 10, 10)
        write_raster(tmp_path / "scenes" / f"{name}.tif", sample[:, :24, :20], nodata=0, transform=transform)
    (tmp_path / "scenes" / "broken.tif").write_text("no raster")
    write_fields(tmp_path, FIELDS)
    return tmp_path


def write_fields(folder, fields):
    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform
    features = []
    for name, (left, bottom, right, top) in fields.items():
        # A corner is cut off, so that clipping is seen.
        place = shapely.Polygon([(left, bottom), (right, bottom), (right, top)])
        moved = shapely.transform(place, lambda x, y: to_degrees(x + 359130, y + 5352100), interleaved=False)
        geometry = shapely.geometry.mapping(moved)
        features.append({"type": "Feature", "properties": {"name": name}, "geometry": geometry})
    content = {"type": "FeatureCollection", "features": features}
    (folder / "fields.geojson").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def batch(farm, *more):
    options = ("--aoi", farm / "fields.geojson", "--id", "name", *more)
    return run_here("batch", farm / "scenes", "-o", farm / "out", *options, *QUICK)


def test_each_feature_of_each_scene_is_a_product_cut_to_it(farm):
    done = batch(farm)
    made = ["north_Hofäcker", "north_Ried_2", "south_Ried_2"]
    assert summary(farm / "out") == {"broken": "refused", **dict.fromkeys(made, "made")}
    assert "3 made, 0 there already, 1 refused" in done.stdout
    # The same as by hand.
    one = farm / "one.tif"
    options = ("--aoi", farm / "fields.geojson", "--where", "name = 'Hofäcker'", "--clip")
    assert run_here("upscale", farm / "scenes" / "north.tif", "-o", one, *options, *QUICK).returncode == 0
    assert (farm / "out" / "north_Hofäcker.tif").read_bytes() == one.read_bytes()
    pixels = read_raster(one)[0]
    assert 0.3 < (pixels == 0).mean() < 0.7
    with rasterio.open(one) as raster:
        assert raster.bounds.right - raster.bounds.left < 100

    before = contents(farm / "out")
    batch(farm)
    assert summary(farm / "out") == {"broken": "refused", **dict.fromkeys(made, "skipped")}
    assert contents(farm / "out") == before
    write_fields(farm, {**FIELDS, "new": (30, -90, 80, -40)})
    batch(farm)
    assert summary(farm / "out") == {"broken": "refused", **dict.fromkeys(made, "skipped"), "south_new": "made"}


def test_a_scene_that_did_not_open_is_not_made_for_the_whole_area(farm):
    def request_of(scene, product):
        raise AssertionError("the scene is opened again")

    scene = BatchScene("north", str(farm / "scenes" / "north.tif"))
    feature = Feature("far", shapely.box(0, 0, 1, 1))
    broken = replace(scene, name="broken", source=str(farm / "scenes" / "broken.tif"))
    (refused,), _ = scenes_of_features([scene, broken], [feature], SceneRequest(scene.source))
    (outcome,) = run_batch([refused], request_of, farm / "out", QuietReporter())
    assert (outcome.name, outcome.state, outcome.product) == ("broken", "refused", None)
    assert "broken.tif" in outcome.reason


def test_features_that_no_scene_shows_are_counted(farm):
    done = run_here(
        *("batch", farm / "scenes", "-o", farm / "out", "--aoi", farm / "fields.geojson", "--id", "name"),
        *("--where", "name <> 'Hofäcker'", "--model", "bicubic", "--json"),
    )
    assert "no scene shows 1 of 2 features, as far" in done.stderr
    assert summary(farm / "out") == {"broken": "refused", "north_Ried_2": "made", "south_Ried_2": "made"}


@pytest.mark.slow
def test_scenes_at_a_time_on_a_cluster_are_those_one_after_the_other(farm):
    (farm / "scenes" / "broken.tif").unlink()
    done = run_here("batch", farm / "scenes", "-o", farm / "one", *QUICK)
    assert done.returncode == 0
    done = run_here("batch", farm / "scenes", "-o", farm / "two", "--workers", "2", "--model", "bicubic", "--json")
    assert done.returncode == 0, done.stderr
    assert summary(farm / "two") == {"north": "made", "south": "made"}
    for name in ("north.tif", "south.tif", "north.png"):
        assert (farm / "two" / name).read_bytes() == (farm / "one" / name).read_bytes()
    assert json.loads(done.stdout)["made"] == 2
    before = contents(farm / "two")
    run_here("batch", farm / "scenes", "-o", farm / "two", *QUICK)
    assert summary(farm / "two") == {"north": "skipped", "south": "skipped"}
    assert contents(farm / "two") == before


class Notes(QuietReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_scenes_run_beside_each_other_and_end_in_their_order():
    meet, done, reporter = threading.Barrier(2, timeout=30), [], Notes()

    def make(job, listener):
        meet.wait()
        listener.note("made")
        return job

    run_scenes([("a", 1), ("b", 2), ("c", 3), ("d", 4)], make, reporter, 2, done.append)
    assert done == [1, 2, 3, 4]
    assert {"a: made", "d: made", "scene 4 of 4 is through: d"} <= set(reporter.notes)


def test_an_interrupt_ends_the_other_scenes_at_their_next_chunk():
    begun, made, ended, done = threading.Event(), [], [], []

    def make(job, listener):
        if job == "first":
            assert begun.wait(300)
            raise KeyboardInterrupt
        made.append(job)
        begun.set()
        try:
            while True:
                listener.chunk("r0c0", 1, 9)
        finally:
            ended.append(job)

    jobs = [(name, name) for name in ("first", "running", "waiting")]
    with pytest.raises(KeyboardInterrupt):
        run_scenes(jobs, make, Notes(), 2, done.append)
    assert done == []
    # The last one may have begun before the interrupt was seen, and has ended then too.
    assert "running" in made
    assert sorted(ended) == sorted(made)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--id", "name"), "--id names features of --aoi: give it as well"),
        (("--aoi", "fields.geojson", "--id", "nom"), "has no column 'nom': it has name"),
        (("--aoi", "twice.geojson", "--id", "name"), "occur more than once"),
        (
            ("--aoi", "alike.geojson", "--id", "name"),
            "two features of scenes/north.tif would have one product",
        ),
        (("--aoi", "fields.geojson", "--id", "name", "--where", "name = 'far'"), "no scene shows a feature of --aoi"),
    ],
)
def test_wrong_input_is_one_line(farm, options, message):
    (farm / "scenes" / "broken.tif").unlink()
    content = (farm / "fields.geojson").read_text(encoding="utf-8")
    (farm / "twice.geojson").write_text(content.replace("Ried/2", "far"), encoding="utf-8")
    (farm / "alike.geojson").write_text(content.replace("Ried/2", "a:b").replace("Hofäcker", "a b"), encoding="utf-8")
    before = sorted(farm.rglob("*"))
    done = run_here("batch", "scenes", "-o", "out", *options, *QUICK, cwd=farm)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(farm.rglob("*")) == before
