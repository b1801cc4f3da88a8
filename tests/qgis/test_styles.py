"""Styles as QGIS itself shows them: colours of pixels that it draws."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from geosr.maps.palettes import PALETTES
from geosr.maps.qml import classes_style, natural_style, style_of
from geosr.maps.raster import MapRaster, read_shown
from geosr.maps.stretch import Stretch
from tests.conftest import RGBN, write_raster
from tests.qgis.here import draw, qgis_python

#: Sides of the rasters.
ROWS, COLS = 40, 48

#: Values that run through a palette, with one that is not measured.
RAMP = np.linspace(0, 1, COLS, dtype=np.float32)


def with_style(path, style):
    path.with_suffix(".qml").write_text(style)
    return path


def index_raster(path, name):
    palette = PALETTES[name]
    values = np.broadcast_to(palette.low + (palette.high - palette.low) * RAMP, (1, ROWS, COLS)).copy()
    values[:, :4, :4] = np.nan
    write_raster(path, values, names=(), nodata=float("nan"))
    return with_style(path, style_of(MapRaster.of(str(path)), name))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Pictures that QGIS draws, by name, and the rasters."""
    qgis_python()
    folder = tmp_path_factory.mktemp("qgis")
    pixels = np.stack([base + np.arange(ROWS * COLS).reshape(ROWS, COLS) for base in (1100, 1200, 3400, 4000)])
    pixels[:, 8:12, 8:12] = 0  # Not measured. QGIS takes reflectance of exactly 0, here DN 1000, for it as well.
    product = write_raster(folder / "product.tif", pixels.astype(np.uint16), nodata=0, scale=1e-4, offset=-0.1)
    classes = np.zeros((1, ROWS, COLS), np.uint8)
    classes[0, 10:20], classes[0, 20:30], classes[0, 30:] = 1, 2, 255
    # Half-widths of four bands in DN; the red one's are shown.
    widths = np.stack([np.full((ROWS, COLS), dn, np.uint16) for dn in (100, 200, 250, 450)])
    rasters = {
        "product": with_style(product, natural_style(MapRaster.of(str(product)))),
        "classes": with_style(
            write_raster(folder / "classes.tif", classes, names=(), nodata=255),
            classes_style([(1, "less", (196, 60, 40)), (2, "more", (30, 90, 200))]),
        ),
        **{name: index_raster(folder / f"{name}.tif", name) for name in ("ndvi", "ndbi", "change", "measured")},
    }
    path = write_raster(folder / "u.tif", widths, names=[f"{band} half-width" for band in RGBN], scale=1e-4, offset=0.0)
    rasters["uncertainty"] = with_style(path, style_of(MapRaster.of(str(path)), "uncertainty"))
    pictures = {name: folder / f"{name}.png" for name in rasters}
    draw({rasters[name]: pictures[name] for name in rasters})
    return {name: np.asarray(Image.open(path).convert("RGBA")).astype(int) for name, path in pictures.items()}, rasters


def test_true_colours_are_those_of_previews(shown):
    pictures, rasters = shown
    numbers = MapRaster.of(str(rasters["product"])).shown()
    pixels = read_shown(str(rasters["product"]), numbers)
    ours = Stretch.measured(pixels)(pixels).transpose(1, 2, 0).astype(int)
    picture = pictures["product"]
    measured = pixels.valid
    assert (picture[~measured] == 0).all(), "what is not measured is not clear"
    assert (picture[measured][:, 3] == 255).all()
    difference = np.abs(picture[..., :3] - ours)[measured]
    # QGIS applies the gamma to bytes: dark ones differ by a few.
    assert difference.mean() < 3
    assert (picture[measured][:, 0] > picture[measured][:, 1]).all(), "red ground is not red"


@pytest.mark.parametrize("name", ["ndvi", "ndbi", "change", "measured"])
def test_indices_have_the_colours_of_their_palette(shown, name):
    picture = shown[0][name]
    palette = PALETTES[name]
    values = palette.low + (palette.high - palette.low) * RAMP
    ours = palette(values[None]).transpose(1, 2, 0)[0].astype(int)
    assert np.abs(picture[20, :, :3] - ours).max() <= 2
    assert (picture[:4, :4, 3] == 0).all()


def test_uncertainty_is_shown_in_reflectance(shown):
    ours = PALETTES["uncertainty"](np.full((1, 1), 0.025, np.float32))[:, 0, 0]
    assert np.abs(shown[0]["uncertainty"][5, 5, :3] - ours).max() <= 2


def test_classes_have_their_colours_and_unchanged_ground_is_clear(shown):
    picture = shown[0]["classes"]
    assert [tuple(picture[row, 5]) for row in (5, 15, 25, 35)] == [
        (0, 0, 0, 0),
        (196, 60, 40, 255),
        (30, 90, 200, 255),
        (0, 0, 0, 0),
    ]
