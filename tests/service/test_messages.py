"""Messages to clients have neither the command's options nor this machine's paths."""

from __future__ import annotations

import pytest

from catalog import SceneRequest, SourceError, open_scene
from geosr.service.jobs.inputs import UpscaleInputs
from geosr.service.messages import INPUTS, for_clients


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "nothing found in s2 for 2020 and this area: widen the dates or the area, or raise --max-cloud",
            "nothing found in s2 for 2020 and this area: widen the dates or the area, or raise max_cloud",
        ),
        (
            "Item a tells neither an offset nor a processing baseline: give --offset -0.1 for DN of baseline 04.00 or "
            "later, --offset 0 otherwise",
            "Item a tells neither an offset nor a processing baseline",
        ),
        (
            "uint8 values without a scale are a picture, not reflectance: give --scale (such as 0.0039 for 1/255), or "
            "--plain-image to upscale them as they are",
            "uint8 values without a scale are a picture, not reflectance",
        ),
        (
            "the area is outside /srv/data/jobs/ab12/item.json, which covers 1,2,3,4",
            "the area is outside item.json, which covers 1,2,3,4",
        ),
        ("cannot open /srv/data/scenes/ab12/upload.tif: it is damaged", "cannot open upload.tif: it is damaged"),
        ("the same command with fewer --workers goes on", "what is asked for cannot be done"),
        ("https://example.org/a/b.tif is not a raster", "https://example.org/a/b.tif is not a raster"),
        (
            "cannot reach a STAC API at http://127.0.0.1:9/v1: refused",
            "cannot reach a STAC API at a server of the service's network: refused",
        ),
        ("nothing at http://stac/v1 in s2", "nothing at a server of the service's network in s2"),
        ("nothing at https://stac.example.org/v1 in s2", "nothing at https://stac.example.org/v1 in s2"),
        ("12 km/h and 1/255 stay, s3://bucket/a/b too", "12 km/h and 1/255 stay, s3://bucket/a/b too"),
    ],
)
def test_options_become_inputs_and_paths_names(said, told):
    assert for_clients(said) == told


def test_inputs_that_are_named_are_inputs():
    assert set(UpscaleInputs.model_fields) > INPUTS


def test_a_message_of_an_error_keeps_the_name_of_its_file(tmp_path):
    path = tmp_path / "scene.tif"
    path.write_text("none")
    with pytest.raises(SourceError) as refused:
        open_scene(SceneRequest(str(path)))
    assert str(tmp_path) in str(refused.value)
    told = for_clients(str(refused.value))
    assert told.startswith("scene.tif ")
    assert str(tmp_path) not in told
