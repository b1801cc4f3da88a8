"""The STAC Item of a product goes to ``OUT.json``, or to ``OUT.tif.json`` beside an ``OUT.json`` of something else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from shapely.geometry import box, mapping

from geosr.errors import ExistsError
from geosr.run.pipeline import super_resolve
from tests.conftest import SAMPLE, call_geosr
from tests.faults.runs import finished_run
from tests.geosr.test_resume import Recorder, request
from tests.small_model import write_small_model
from tests.stac_items import write_item


def item_of(path):
    return json.loads(path.read_text())["assets"]["data"]["href"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ["precious", '{"mine": 1}', "[]", "", "\udcff", '{"type": "Feature"}'])
def test_a_file_that_is_no_item_of_the_product_stays(tmp_path, sample, content, overwrite):
    wanted, undisturbed = finished_run(tmp_path, sample)
    (tmp_path / "out.json").write_bytes(content.encode(errors="surrogateescape"))
    before, recorder = (tmp_path / "out.json").read_bytes(), Recorder()
    published = super_resolve(replace(wanted, overwrite=overwrite), recorder)
    assert published.item == tmp_path / "out.tif.json"
    assert item_of(published.item) == "./out.tif"
    assert (tmp_path / "out.json").read_bytes() == before
    assert wanted.output.read_bytes() == undisturbed
    assert [note for note in recorder.notes if "is no STAC Item of this product: the Item goes to" in note]


def test_an_item_stays_where_it_is_when_the_other_file_has_gone(tmp_path, sample):
    (tmp_path / "out.json").write_text("precious")
    super_resolve(request(tmp_path, sample))
    (tmp_path / "out.json").unlink()
    assert super_resolve(request(tmp_path, sample)).computed == 0
    super_resolve(request(tmp_path, sample, model="nearest", overwrite=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tif", "out.tif", "out.tif.json"]
    assert "nearest" in (tmp_path / "out.tif.json").read_text()


def test_an_up_to_date_product_whose_item_was_replaced_gets_another(tmp_path, sample):
    super_resolve(request(tmp_path, sample))
    item = (tmp_path / "out.json").read_bytes()
    (tmp_path / "out.json").write_text('{"mine": 1}')
    assert super_resolve(request(tmp_path, sample)).computed == 0
    assert (tmp_path / "out.tif.json").read_bytes() == item
    assert (tmp_path / "out.json").read_text() == '{"mine": 1}'


def test_the_item_of_an_earlier_product_of_this_name_is_replaced_when_told(tmp_path, sample):
    super_resolve(request(tmp_path, sample))
    (tmp_path / "out.tif").unlink()
    with pytest.raises(ExistsError, match=r"out\.json.*--overwrite"):
        super_resolve(request(tmp_path, sample, model="nearest"))
    super_resolve(request(tmp_path, sample, model="nearest", overwrite=True))
    assert "nearest" in (tmp_path / "out.json").read_text()
    assert not (tmp_path / "out.tif.json").exists()


def test_the_item_of_a_product_of_the_other_ending_stays(tmp_path, sample):
    super_resolve(request(tmp_path, sample))
    published = super_resolve(replace(request(tmp_path, sample, model="nearest"), output=tmp_path / "out.tiff"))
    assert published.item == tmp_path / "out.tiff.json"
    assert item_of(tmp_path / "out.json") == "./out.tif"


@pytest.mark.parametrize("overwrite", [False, True])
def test_without_a_place_for_its_item_no_product_is_made(tmp_path, sample, overwrite):
    for name in ("out.json", "out.tif.json"):
        (tmp_path / name).write_text("precious")
    recorder = Recorder()
    with pytest.raises(ExistsError, match=r"neither .* write to another file"):
        super_resolve(request(tmp_path, sample, overwrite=overwrite), recorder)
    assert recorder.computed == []
    assert {path.read_text() for path in tmp_path.glob("*.json")} == {"precious"}


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_product_beside_its_source_item_has_an_item_of_its_own(tmp_path, sample, overwrite):
    item = write_item(tmp_path, "one", sample[:, :9, :9])
    before = item.read_bytes()
    command = ("upscale", item, "-o", tmp_path / "one.tif", "--model", "bicubic", *overwrite)
    assert call_geosr(*command) == 0
    assert item.read_bytes() == before
    assert item_of(tmp_path / "one.tif.json") == "./one.tif"
    assert call_geosr(*command) == 0
    assert sorted(path.name for path in tmp_path.glob("one.*")) == ["one.json", "one.tif", "one.tif.json"]


def test_areas_and_model_cards_stay(tmp_path):
    area, card = tmp_path / "field.json", write_small_model(tmp_path)
    area.write_text(json.dumps(mapping(box(0.001, -0.002, 0.002, -0.001))))
    before = area.read_bytes(), card.read_bytes()
    for options in (("--aoi", area, "--model", "bicubic"), ("--aoi", area, "--model", card)):
        output = options[-1] if options[-1] == card else area
        command = ("upscale", SAMPLE, *options, "-o", output.with_suffix(".tif"), "--overwrite")
        assert call_geosr(*command) == 0
    assert (area.read_bytes(), card.read_bytes()) == before
    assert (tmp_path / "field.tif.json").exists()
    assert card.with_name(f"{card.stem}.tif.json").exists()


def test_an_area_that_is_the_products_own_item_is_not_replaced(tmp_path, capsys):
    output = tmp_path / "out.tif"
    command = ("upscale", SAMPLE, "-o", output, "--bbox", "0.001,-0.01,0.01,-0.001")
    assert call_geosr(*command, "--model", "bicubic") == 0
    before = (tmp_path / "out.json").read_bytes()
    again = ("upscale", SAMPLE, "-o", output, "--aoi", tmp_path / "out.json", "--model", "nearest", "--overwrite")
    assert call_geosr(*again) == 2
    assert "would replace" in capsys.readouterr().err
    assert (tmp_path / "out.json").read_bytes() == before
