"""Scale and offset that files, headers, users and profiles declare, and what products pass on of them."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from catalog import SceneRequest, SourceError, open_scene, read_sensor
from tests.conftest import write_raster


def opened(path, **options):
    return open_scene(SceneRequest(str(path), **options))


def test_what_the_user_or_a_profile_tells_is_declared_by_the_product(tmp_path, sample):
    """Otherwise nobody could tell how its DN become reflectance, as for an index of it."""
    raster = write_raster(tmp_path / "a.tif", sample[:, :20, :20])
    assert opened(raster, offset=-0.1).scaled
    assert opened(raster, scale=2e-4).scaled
    landsat = ((sample[:, :20, :20] / 10000 + 0.2) / 0.0000275).round().astype(np.uint16)
    raster = write_raster(tmp_path / "b.tif", landsat, names=("SR_B2", "SR_B3", "SR_B4", "SR_B5"))
    assert opened(raster, sensor=read_sensor("landsat-oli")).scaled
    picture = write_raster(tmp_path / "c.tif", (sample[:3, :20, :20] // 32).astype(np.uint8), names=())
    assert not opened(picture, plain_image=True).scaled


def test_the_scale_of_an_envi_header_holds(tmp_path, sample):
    raster = write_raster(tmp_path / "a.dat", (sample[:, :20, :20] // 10).astype(np.int16), driver="ENVI")
    header = raster.with_suffix(".hdr")
    header.write_text(
        header.read_text()
        + "reflectance scale factor = 1000\nwavelength = {490, 560, 665, 842}\nwavelength units = nanometers\n"
    )
    scene = opened(raster)
    assert scene.names == ("B02", "B03", "B04", "B08")
    assert {(band.scale, band.offset) for band in scene.bands} == {(0.001, 0.0)}
    assert opened(raster, scale=0.0005).bands[0].scale == 0.0005


def test_a_scale_that_only_metadata_tell_is_noted(tmp_path, sample):
    raster = write_raster(tmp_path / "a.tif", sample[:, :20, :20])
    with rasterio.open(raster, "r+") as file:
        file.update_tags(2, scale_factor="0.0001", add_offset="-0.1", units="1")
    (note,) = (note for note in opened(raster).notes if "metadata" in note)
    assert note.startswith("the file's metadata tell scale_factor 0.0001 and add_offset -0.1, which is not applied")
    assert not any("metadata" in note for note in opened(raster, scale=1e-4, offset=-0.1).notes)


def test_brightness_that_counts_from_white_is_refused(tmp_path, sample):
    path = write_raster(
        tmp_path / "a.tif", (sample[:1, :20, :20] // 32).astype(np.uint8), names=(), photometric="MINISWHITE"
    )
    with pytest.raises(SourceError, match="counts brightness from white"):
        opened(path, plain_image=True)
