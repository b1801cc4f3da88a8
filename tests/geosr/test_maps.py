"""Outputs for maps: colours that viewers show right, previews, 8-bit images and QGIS styles."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rio_cogeo import cog_validate

from geosr.maps.outputs import MapOutputs
from geosr.maps.palettes import PALETTES
from geosr.maps.qml import STYLES, style_of
from geosr.maps.raster import MapRaster, read_shown
from geosr.maps.stretch import Stretch
from geosr.run.publishing import Published
from tests.conftest import RGBN, assert_valid_item, read_raster, run_here, write_raster
from tests.small_model import write_small_model

#: Bright red ground, with a hole in it.
RED = dict(zip(RGBN, (400, 500, 2400, 3000), strict=True))


@pytest.fixture
def red(tmp_path):
    pixels = np.empty((4, 40, 48), np.uint16)
    for i, dn in enumerate(RED.values()):
        pixels[i] = dn + np.arange(48) * 4
    pixels[:, 8:12, 8:12] = 0
    return write_raster(tmp_path / "red.tif", pixels, nodata=0, scale=1e-4, offset=0.0)


def run(*arguments):
    return run_here(*arguments).returncode


def limits(renderer, name):
    enhancement = renderer.find(f"{name}ContrastEnhancement")
    return [float(enhancement.find(key).text) for key in ("minValue", "maxValue")]


def renderer_of(text):
    return ElementTree.fromstring(text.partition("\n")[2]).find("pipe/rasterrenderer")


def test_bands_of_products_have_their_colours(tmp_path, red):
    done = run("upscale", red, "-o", tmp_path / "out.tif", "--model", "bicubic", "-q")
    assert done == 0
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.colorinterp == (ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.nir)
        assert raster.descriptions == RGBN


def test_files_for_maps_go_with_a_product(tmp_path, red):
    """All are assets of its Item; a second run changes none of the product, and writes them again."""
    out = tmp_path / "out.tif"
    command = ("upscale", red, "-o", out, "--model", "bicubic", "--style", "-q")
    more = ("--preview", tmp_path / "out.png", "--rgb8", tmp_path / "rgb.tif")
    assert run(*command, *more) == 0
    before = out.read_bytes()
    item = json.loads((tmp_path / "out.json").read_text())
    assert_valid_item(tmp_path / "out.json")
    assert {key: asset["href"] for key, asset in item["assets"].items()} == {
        "data": "./out.tif",
        "thumbnail": "./out.png",
        "visual": "./rgb.tif",
        "style": "./out.qml",
    }
    assert item["assets"]["thumbnail"]["roles"] == ["thumbnail"]

    picture = np.asarray(Image.open(tmp_path / "out.png"))
    assert picture.shape == (160, 192, 4)
    assert (picture[..., 3] == 0).sum() == 16 * 16
    assert (picture[100, 100, :3] == sorted(picture[100, 100, :3], reverse=True)).all(), "red is not the brightest"

    assert cog_validate(tmp_path / "rgb.tif", strict=True)[0]
    with rasterio.open(tmp_path / "rgb.tif") as rgb, rasterio.open(out) as product:
        assert (rgb.transform, rgb.crs, rgb.shape) == (product.transform, product.crs, product.shape)
        assert rgb.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        assert rgb.descriptions == ("B04", "B03", "B02")
        assert (rgb.read_masks(1) == product.read_masks(1)).all()
        stated = rgb.tags()["GEOSR_STRETCH"]
        shown = read_shown(str(out), (3, 2, 1))
        assert (rgb.read() == Stretch.measured(shown)(shown)).all()
        assert stated == str(Stretch.measured(shown))

    assert run(*command, *more) == 0
    assert out.read_bytes() == before
    # Without the options, what the Item says of the files stays.
    assert run("upscale", red, "-o", out, "--model", "bicubic", "-q") == 0
    assert json.loads((tmp_path / "out.json").read_text()) == item


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--uncertainty",)])
def test_some_bands_are_written_of_all_that_are_computed(tmp_path, red, more):
    """In the order asked for, with the pixels of a run that writes all; resuming knows them apart."""
    whole, some = tmp_path / "whole.tif", tmp_path / "some.tif"
    more = ("--model", write_small_model(tmp_path), *more)
    assert run("upscale", red, "-o", whole, "-q", *more) == 0
    assert run("upscale", red, "-o", some, "-q", "--keep", "B08, red", *more) == 0
    assert (read_raster(some) == read_raster(whole)[[3, 2]]).all()
    with rasterio.open(some) as raster:
        assert raster.descriptions == ("B08", "B04")
        assert raster.colorinterp == (ColorInterp.nir, ColorInterp.red)
    bands = json.loads((tmp_path / "some.json").read_text())["assets"]["data"]["bands"]
    assert [band["name"] for band in bands] == ["B08", "B04"]
    if "--uncertainty" in more:
        widths = [read_raster(path.with_name(f"{path.stem}_uncertainty.tif")) for path in (whole, some)]
        assert (widths[1] == widths[0][[3, 2]]).all()
    before = some.stat().st_mtime_ns
    assert run("upscale", red, "-o", some, "-q", "--keep", "B08,B04", *more) == 0
    assert some.stat().st_mtime_ns == before
    assert run("upscale", red, "-o", some, "-q", "--keep", "B04,B08", *more) == 1


def test_files_for_maps_never_replace_the_source_or_a_layer(tmp_path, red):
    """Not even with --overwrite."""
    before = red.read_bytes()
    command = ("upscale", red, "-o", tmp_path / "out.tif", "--model", "bicubic", "--overwrite", "-q")
    done = run_here(*command, "--rgb8", tmp_path / "." / "red.tif")
    assert (done.returncode, "would replace the source itself" in done.stderr) == (1, True)
    assert run_here(*command, "--rgb8", tmp_path / "out_measured.tif").returncode == 2
    assert red.read_bytes() == before
    assert list(tmp_path.iterdir()) == [red]


def test_styles_of_layers(tmp_path, red):
    assert run("upscale", red, "-o", tmp_path / "out.tif", "--model", "bicubic", "-q") == 0
    widths = np.full((4, 8, 8), 60, np.uint16)
    layers = {
        "uncertainty": write_raster(tmp_path / "u.tif", widths, names=[f"{band} half-width" for band in RGBN]),
        "measured": write_raster(tmp_path / "m.tif", np.full((1, 8, 8), 90, np.uint8), names=["measured"]),
    }
    published = Published(tmp_path / "out.tif", tmp_path / "out.json", 0, 1, {}, layers)
    assert MapOutputs(style=True).write(published) == {
        "style": tmp_path / "out.qml",
        "uncertainty_style": tmp_path / "u.qml",
        "measured_style": tmp_path / "m.qml",
    }
    assert {"style", "uncertainty_style", "measured_style"} <= set(json.loads(published.item.read_text())["assets"])
    uncertainty = renderer_of((tmp_path / "u.qml").read_text())
    # Half-widths of the red band.
    assert (uncertainty.get("type"), uncertainty.get("band")) == ("singlebandpseudocolor", "3")
    assert renderer_of((tmp_path / "m.qml").read_text()).get("classificationMax") == "100"


@pytest.mark.parametrize(("scale", "unit"), [(None, 1e-4), (1e-4, 1.0)])
def test_half_widths_have_their_colours_with_and_without_a_scale_in_the_file(tmp_path, sample, scale, unit):
    """The layer of a source without a scale holds DN, which QGIS shows."""
    source = write_raster(tmp_path / "in.tif", sample[:, :24, :24], scale=scale)
    done = ("upscale", source, "-o", tmp_path / "out.tif", "--uncertainty", "--style", "-q")
    assert run(*done) == 0
    with rasterio.open(tmp_path / "out_uncertainty.tif") as layer:
        assert layer.scales == (scale or 1.0,) * 4
    steps = renderer_of((tmp_path / "out_uncertainty.qml").read_text()).findall("rastershader/colorrampshader/item")
    values = [value for value, _ in PALETTES["uncertainty"].steps()]
    assert [float(one.get("value")) for one in steps] == pytest.approx([value / unit for value in values])
    assert [float(one.get("label")) for one in steps] == values
    # Half-widths as the other layers are styled: by the command, for a file.
    assert run("style", tmp_path / "out_uncertainty.tif", "--as", "uncertainty", "--overwrite") == 0
    again = renderer_of((tmp_path / "out_uncertainty.qml").read_text())
    assert float(again.get("classificationMax")) == pytest.approx(0.05 / unit)


def test_styles_show_red_as_red_in_the_values_of_qgis(red):
    """QGIS applies scale and offset before the limits of a style."""
    renderer = renderer_of(style_of(MapRaster.of(str(red)), "true-colour"))
    assert [renderer.get(f"{name}Band") for name in ("red", "green", "blue")] == ["3", "2", "1"]
    low, high = limits(renderer, "red")
    assert 0.039 < low < 0.05
    assert 0.24 < high < 0.27
    assert limits(renderer, "blue") == [low, high], "bands have limits of their own, and colours shift"


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_one(red, style):
    renderer = renderer_of(style_of(MapRaster.of(str(red)), style))
    if style in PALETTES:
        items = renderer.findall("rastershader/colorrampshader/item")
        assert [float(item.get("value")) for item in items] == [value for value, _ in PALETTES[style].steps()]
        assert len({item.get("color") for item in items}) == len(items)


def test_the_command_writes_styles(red):
    assert run("style", red, "--as", "ndvi") == 0
    assert renderer_of(red.with_suffix(".qml").read_text()).get("type") == "singlebandpseudocolor"
    assert run("style", red) == 1, "replaced without --overwrite"
    assert run("style", red, "--overwrite") == 0
    assert renderer_of(red.with_suffix(".qml").read_text()).get("type") == "multibandcolor"


def test_previews_of_indices(tmp_path, red):
    assert run("preview", red, "-o", tmp_path / "a.png", "--index", "ndvi", "--size", "24") == 0
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    assert picture.shape == (20, 24, 4)
    # NDVI of 0.111 lies between #fee08b at 0.28 and #f46d43 at 0.04.
    ndvi = (3000 - 2400) / (3000 + 2400)
    assert np.abs(picture[15, 0, :3].astype(int) - PALETTES["ndvi"](np.full((1, 1), ndvi))[:, 0, 0]).max() <= 4


def test_previews_with_a_stretch_of_their_own(tmp_path, red):
    options = ("--bands", "nir", "--stretch", "3000,3188")
    assert run("preview", red, "-o", tmp_path / "a.png", *options) == 0
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    assert (picture[30, 0, 0], picture[30, 47, 0]) == (1, 255)
    assert (picture[..., 0] == picture[..., 1]).all()


def test_rasters_that_say_nothing_of_their_bands_are_shown_in_order(tmp_path):
    path = write_raster(tmp_path / "in.tif", np.ones((3, 8, 8), np.uint16), names=())
    assert MapRaster.of(str(path)).shown() == (1, 2, 3)
    assert MapRaster.of(str(write_raster(tmp_path / "one.tif", np.ones((2, 8, 8), np.uint16), names=()))).shown() == (
        1,
    )


def test_rasters_without_a_measured_pixel_have_a_preview(tmp_path):
    path = write_raster(tmp_path / "in.tif", np.zeros((4, 8, 8), np.uint16), nodata=0)
    assert run("preview", path, "-o", tmp_path / "a.png") == 0
    assert not np.asarray(Image.open(tmp_path / "a.png")).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["preview", "IN", "-o", "a.jpg"], "has to be a PNG"),
        (["preview", "IN", "-o", "a.png", "--bands", "B04,B11,B02"], "has no band 'B11' among B02, B03, B04, B08"),
        (["preview", "IN", "-o", "a.png", "--bands", "B04,B03"], "are 2 bands: name three"),
        (["preview", "IN", "-o", "a.png", "--index", "nbr"], "nbr needs the bands nir and swir22"),
        (["preview", "IN", "-o", "a.png", "--index", "evi"], "there is no index 'evi'"),
        (["preview", "IN", "-o", "a.png", "--stretch", "9"], "is no stretch"),
        (["preview", "IN", "-o", "a.png", "--stretch", "9,3"], "is empty"),
        (["preview", "IN", "-o", "a.png", "--stretch", "0,1", "--index", "ndvi"], "leave --bands and --stretch out"),
        (["preview", "missing.tif", "-o", "a.png"], "missing.tif"),
        (["style", "IN", "--as", "heat"], "there is no style 'heat'"),
        (["upscale", "IN", "-o", "out.tif", "--keep", "B04,B11"], "no band 'B11' to keep among B02, B03, B04, B08"),
        (["upscale", "IN", "-o", "out.tif", "--keep", "B04,red"], "kept twice"),
        (["upscale", "IN", "-o", "out.tif", "--keep", "B04,"], "has an empty name"),
        (["upscale", "IN", "-o", "out.tif", "--preview", "a.jpg"], "has to end in .png"),
        (["upscale", "IN", "-o", "out.tif", "--rgb8", "rgb.png"], "has to end in .tif"),
        (["upscale", "IN", "-o", "out.tif", "--rgb8", "out.tif"], "is the product itself"),
        (["upscale", "IN", "-o", "out.tif", "--preview", "no/a.png"], "the folder no does not exist"),
        (["upscale", "IN", "-o", "out.tif", "--preview", "mine.png"], "mine.png exists and is not of out.tif"),
    ],
)
def test_wrong_input_is_one_line(monkeypatch, tmp_path, red, options, message):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 4)).save("mine.png")
    before = sorted(tmp_path.iterdir())
    done = run_here(*(red if option == "IN" else option for option in options))
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_bytes_of_a_stretch_leave_nodata_alone(red):
    raster = MapRaster.of(str(red))
    shown = read_shown(str(red), raster.shown())
    bytes_ = Stretch(500, 2000)(shown)
    assert ((bytes_ == 0).all(axis=0) == (read_raster(red)[0] == 0)).all()
    assert bytes_.max() == 255
