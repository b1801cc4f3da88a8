"""Views of scenes: change between two, stretches of what is shown, profiles, and addresses for other programs."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.warp import transform as transform_points

from tests.conftest import SAMPLE

# Services start in processes of their own.
pytestmark = pytest.mark.slow

#: In the middle of the sample.
TILE = "16/32770/32770"


def picture(answer):
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA")).astype(int)


@pytest.fixture(scope="module")
def darker(service, tmp_path_factory):
    """The sample with its near infrared halved in the left half, uploaded as another scene."""
    path = tmp_path_factory.mktemp("views") / "darker.tif"
    with rasterio.open(SAMPLE) as source:
        pixels, profile, names = source.read(), source.profile, source.descriptions
        tags, offsets, scales = source.tags(), source.offsets, source.scales
    pixels[3, :, : pixels.shape[2] // 2] //= 2
    with rasterio.open(path, "w", **profile) as out:
        out.write(pixels)
        out.descriptions, out.offsets, out.scales = names, offsets, scales
        out.update_tags(**tags)
    answer = service.http.post("/scenes/upload?title=darker", content=path.read_bytes())
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_change_shows_where_two_scenes_differ_and_in_which_direction(service, darker):
    def tile(scene, since, **more):
        params = {"layer": "change", "bands": "ndvi", "since": since, **more}
        return picture(service.http.get(f"/scenes/{scene}/tiles/14/8192/8192", params=params))

    lost, gained = tile(darker, "demo"), tile("demo", darker)
    west, east = np.s_[60:120, 20:70], np.s_[60:120, 190:230]
    # The sample begins at the tile's left edge; its middle is at the tile's pixel 157.
    assert (lost[east][..., :3] > 240).all(), "unchanged ground is white"
    assert lost[west][..., 2].mean() < lost[west][..., 0].mean(), "a loss is brown"
    assert gained[west][..., 0].mean() < gained[west][..., 2].mean(), "a gain is blue-green"
    assert (tile(darker, "demo", rescale="-1,1")[west] >= lost[west]).mean() > 0.9
    entry = service.http.get("/scenes/demo").json()["combinations"]
    (ndvi,) = (one for one in entry if one["name"] == "ndvi")
    assert ndvi["change"]["range"] == [-0.5, 0.5]
    assert len(ndvi["change"]["legend"]) == 9


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("layer=change", "since"),
        ("layer=sr&since=demo", "since"),
        ("layer=original&sharpness=0.5", "sharpness"),
        ("layer=sr&sharpness=0.5", "no weights for visual products"),
        ("layer=sr&bands=B04&rescale=0,1,0,1,0,1", "low,high"),
    ],
)
def test_a_view_that_there_is_not_is_not_found(service, asked, reason):
    answer = service.http.get(f"/scenes/demo/tiles/{TILE}?{asked}")
    assert answer.status_code == 404, answer.text
    assert reason in answer.json()["detail"]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("rescale=0,1,0,1", "six"),
        ("rescale=0,nan", "six"),
        ("bands=B04,B03,B02,B08", "up to three"),
        ("scale=1&scale=2", "scale: is given more than once"),
    ],
)
def test_a_parameter_of_another_form_is_refused(service, asked, reason):
    answer = service.http.get(f"/scenes/demo/tiles/{TILE}?{asked}")
    assert answer.status_code == 400, answer.text
    assert reason in answer.json()["detail"]


def test_a_stretch_is_of_what_is_shown(service):
    with rasterio.open(SAMPLE) as source:
        left, top = source.transform * (0, 0)
        right, bottom = source.transform * (40, 30)
        (west, east), (north, south) = transform_points(source.crs, "EPSG:4326", [left, right], [top, bottom])
        pixels = source.read(window=rasterio.windows.Window(0, 0, 40, 30)) * source.scales[0] + source.offsets[0]
    params = {"bbox": f"{west + 1e-6},{south + 1e-6},{east - 1e-6},{north - 1e-6}", "bands": "true-colour"}
    found = service.http.get("/scenes/demo/stretch", params={**params, "low": 5, "high": 95}).json()
    for (low, high), band in zip(found["limits"], (2, 1, 0), strict=True):
        assert [low, high] == pytest.approx(np.percentile(pixels[band], (5, 95)), abs=1e-4)
    assert len(found["rescale"].split(",")) == 6
    shown = picture(service.http.get(f"/scenes/demo/tiles/{TILE}?bands=true-colour&rescale={found['rescale']}"))
    assert (shown != picture(service.http.get(f"/scenes/demo/tiles/{TILE}?bands=true-colour"))).any()
    assert service.http.get("/scenes/demo/stretch?bbox=10,10,11,11").status_code == 404


def test_a_profile_has_the_values_of_its_points(service):
    west, south, east, north = service.http.get("/scenes/demo").json()["bbox"]
    ends = [west + (east - west) * 0.4, south + (north - south) * 0.6, east + 0.001, south + (north - south) * 0.55]
    found = service.http.get("/scenes/demo/profile", params={"line": ",".join(map(repr, ends))}).json()
    assert found["distance_m"][0] == 0
    assert found["distance_m"][-1] == pytest.approx(111_320 * np.hypot(ends[2] - ends[0], ends[3] - ends[1]), rel=0.01)
    # Of points beyond the scene nothing is known.
    assert found["bands"][0]["before"][-1] is None
    assert found["bands"][0]["after"][-1] is None
    for i in (0, 70, 120):
        share = i / 199
        place = {"lon": ends[0] + share * (ends[2] - ends[0]), "lat": ends[1] + share * (ends[3] - ends[1])}
        point = service.http.get("/scenes/demo/point", params=place).json()
        for band, line in zip(point["bands"], found["bands"], strict=True):
            assert line["before"][i] == pytest.approx(band["before"]["reflectance"], abs=2e-5)
            assert line["after"][i] == pytest.approx(band["after"]["reflectance"], abs=2e-5)
    refused = [
        ("1,2,3", "four numbers"),
        ("10,10,11,11", "no pixel"),
        ("nan,0,1,1", "four numbers"),
        ("1,1,181,1", "180"),
    ]
    # Where the scene's CRS does not reach.
    refused.append(("93,0,93,0", "no pixel"))
    for line, reason in refused:
        answer = service.http.get("/scenes/demo/profile", params={"line": line})
        assert answer.status_code in (400, 404)
        assert reason in answer.json()["detail"]


def test_there_is_no_pixel_where_the_crs_does_not_reach(service):
    answer = service.http.get("/scenes/demo/point", params={"lon": 93, "lat": 0})
    assert answer.status_code == 404, answer.text


def test_wmts_lists_layers_whose_tiles_are_there(service):
    answer = service.http.get("/scenes/demo/wmts?bands=ndvi")
    assert answer.headers["content-type"].startswith("application/xml")
    space = {"w": "http://www.opengis.net/wmts/1.0", "o": "http://www.opengis.net/ows/1.1"}
    root = ElementTree.fromstring(answer.content)
    templates = {
        layer.findtext("o:Identifier", namespaces=space): layer.find("w:ResourceURL", space).get("template")
        for layer in root.iterfind(".//w:Layer", space)
    }
    assert list(templates) == ["sr", "original"]
    address = templates["original"]
    for name, value in (("TileMatrix", 16), ("TileCol", 32770), ("TileRow", 32770)):
        address = address.replace(f"{{{name}}}", str(value))
    shown = picture(service.http.get(address))
    assert (shown == picture(service.http.get(f"/scenes/demo/tiles/{TILE}?layer=original&bands=ndvi"))).all()
    scales = [float(one.text) for one in root.iterfind(".//w:ScaleDenominator", space)]
    assert scales[0] == pytest.approx(559082264.0287178)
    assert scales[1] == scales[0] / 2
