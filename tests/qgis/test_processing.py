"""The plugin in QGIS: run by ``qgis_process``, and as a dialog runs it. Skipped where QGIS is not installed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import rasterio
from rasterio.windows import Window

from tests.conftest import SAMPLE, read_raster, write_raster
from tests.qgis.here import plugin_environment, qgis_process, qgis_python
from tests.small_model import write_small_model
from tests.stac_items import serve, write_item

pytestmark = pytest.mark.slow

SIDE = 64


@pytest.fixture(scope="module")
def in_qgis(tmp_path_factory):
    """Environment of QGIS with the plugin, and a folder with a layer, polygons of a part of it and outputs."""
    qgis_python()
    folder = tmp_path_factory.mktemp("qgis")
    with rasterio.open(SAMPLE) as raster:
        window = Window(100, 60, SIDE, SIDE)
        pixels, transform, crs = raster.read(window=window), raster.window_transform(window), raster.crs
    write_raster(folder / "scene.tif", pixels, crs=crs, transform=transform, nodata=0, scale=1e-4, offset=0.0)
    with rasterio.open(folder / "scene.tif", "r+") as scene:
        scene.update_tags(TIFFTAG_DATETIME="2024:05:14 10:05:00")
    changed = pixels.copy()
    changed[:, 20:44, 20:44] = [[[700]], [[600]], [[450]], [[150]]]
    write_raster(folder / "later.tif", changed, crs=crs, transform=transform, nodata=0, scale=1e-4, offset=0.0)
    west, north = transform * (8, 8)
    east, south = transform * (40, 40)
    ring = [[west, north], [east, north], [east, south], [west, south], [west, north]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    named = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{crs.to_epsg()}"}}
    (folder / "area.geojson").write_text(json.dumps({"type": "FeatureCollection", "crs": named, "features": [feature]}))
    return plugin_environment(folder / "profile"), folder


def run_process(in_qgis, *arguments):
    environment, folder = in_qgis
    return subprocess.run(
        [qgis_process(), *map(str, arguments)], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


def run_session(in_qgis, jobs):
    environment, folder = in_qgis
    (folder / "jobs.json").write_text(json.dumps(jobs))
    script = Path(__file__).with_name("session.py")
    done = subprocess.run(
        [qgis_python(), str(script), str(folder / "jobs.json")],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_qgis_process_upscales_a_layer_within_polygons(in_qgis):
    folder = in_qgis[1]
    done = run_process(
        in_qgis,
        *("run", "geosr:upscale", "--INPUT=scene.tif", "--AREA=area.geojson", "--CLIP=1", "--MODEL=bicubic"),
        f"--OUTPUT={folder / 'part.tif'}",
    )
    assert "OUTPUT:\t" in done.stdout, done.stderr
    assert "100 - done." in done.stdout
    part = read_raster(folder / "part.tif")
    assert part.shape[0] == 4
    assert 128 <= part.shape[1] <= 136
    assert (part > 0).all(axis=0).sum() == 128 * 128
    assert (folder / "part.qml").exists()


def test_qgis_process_upscales_an_area_of_a_catalogue(in_qgis, sample):
    folder = in_qgis[1]
    item = write_item(folder / "catalogue", "one", sample)
    with serve(folder / "catalogue", item) as api:
        done = run_process(
            in_qgis,
            *("run", "geosr:search", "--EXTENT=300600,301300,5398900,5399500 [EPSG:32633]", "--MODEL=bicubic"),
            *("--FIRST=2023-08-01", "--LAST=2023-08-31", f"--API={api}", f"--OUTPUT={folder / 'found.tif'}"),
        )
    assert "OUTPUT:\t" in done.stdout, done.stdout + done.stderr
    assert "--datetime=2023-08-01/2023-08-31 --max-cloud=20" in done.stdout
    with rasterio.open(folder / "found.tif") as raster:
        assert raster.res == (2.5, 2.5)
        left, bottom, right, top = raster.bounds
    # The box in degrees around the extent.
    assert 300500 < left <= 300600 < 301300 <= right < 301400
    assert 5398800 < bottom <= 5398900 < 5399500 <= top < 5399600


def test_errors_are_the_one_line_of_the_command(in_qgis):
    folder = in_qgis[1]
    done = run_process(
        in_qgis, "run", "geosr:upscale", "--INPUT=scene.tif", "--SCALE=0", f"--OUTPUT={folder / 'none.tif'}"
    )
    assert "--scale cannot be 0" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "none.tif").exists()


def test_layers_are_loaded_in_their_styles_and_cancelling_leaves_none(in_qgis):
    folder = in_qgis[1]
    model = str(write_small_model(folder))
    upscale = {"INPUT": "scene.tif", "OUTPUT": str(folder / "up.tif"), "MODEL": model}
    upscaled, change, fields, cancelled, lost, ill_named, nowhere = run_session(
        in_qgis,
        [
            {"algorithm": "geosr:upscale", "parameters": {**upscale, "UNCERTAINTY": True}},
            {
                "algorithm": "geosr:change",
                "parameters": {
                    **{"BEFORE": "scene.tif", "AFTER": "later.tif", "OUTPUT": str(folder / "change.tif")},
                    **{"POLYGONS": str(folder / "areas.gpkg"), "INDEX": 0},
                },
                "loaded": ["OUTPUT", "POLYGONS"],
            },
            {
                "algorithm": "geosr:fields",
                "parameters": {
                    **{"PRODUCTS": [str(folder / "up.tif")], "FIELDS": "area.geojson", "INDEX": "ndvi,ratio=B08/B04"},
                    "OUTPUT": str(folder / "fields.gpkg"),
                },
            },
            {
                "algorithm": "geosr:upscale",
                "parameters": {"INPUT": "later.tif", "OUTPUT": str(folder / "cancelled.tif")},
                # After the first of sixteen chunks.
                "environment": {"GEOSR_CORE_PX": "16"},
                "cancel": True,
            },
            {"algorithm": "geosr:upscale", "parameters": upscale, "command": str(folder / "scene.tif")},
            {"algorithm": "geosr:scene", "parameters": {"SOURCE": "no.SAFE", "OUTPUT": str(folder / "no.tif")}},
            {"algorithm": "geosr:search", "parameters": {"OUTPUT": str(folder / "no.tif"), "FIRST": "2024-06-01"}},
        ],
    )
    assert upscaled["layers"] == {
        "Upscaled": "multibandcolor",
        "Half-widths": "singlebandpseudocolor",
        "Measured fraction": "singlebandpseudocolor",
    }
    assert change["layers"] == {
        "Change": "paletted",
        "Difference of the index": "singlebandpseudocolor",
        "Before, upscaled": "multibandcolor",
        "After, upscaled": "multibandcolor",
        "Changed areas": "singleSymbol",
    }
    assert change["results"]["MORE_HECTARES"] == pytest.approx(24 * 24 * 0.01, rel=0.05)
    assert fields["layers"] == {"Statistics of fields": "singleSymbol"}
    assert fields["results"]["ROWS"] == 2
    assert cancelled["layers"] == {}
    assert "goes on where it was" in cancelled["log"]
    assert not (folder / "cancelled.tif").exists()
    assert f"cannot start {folder / 'scene.tif'}: Permission denied" in lost["error"]
    assert "no.SAFE" in ill_named["error"]
    assert "search with --bbox or --aoi and --datetime" in nowhere["error"]
