"""ESA's products, as folders and as zips, give the right reflectance in every baseline."""

from __future__ import annotations

import datetime as dt
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from rasterio.windows import Window

from catalog import SceneRequest, SourceError, open_scene, safe
from tests.safe_product import write_safe, zip_safe


def reflectance(path, **options):
    scene = open_scene(SceneRequest(str(path), **options))
    pixels, valid = scene.reader.read(scene.area)
    scale = np.array([band.scale for band in scene.bands])[:, None, None]
    offset = np.array([band.offset for band in scene.bands])[:, None, None]
    return scene, pixels * scale + offset, valid


@pytest.mark.parametrize(("baseline", "offset_dn"), [("02.14", 0), ("04.00", -1000), ("05.11", -1000)])
@pytest.mark.parametrize("level", ["1C", "2A"])
@pytest.mark.parametrize("zipped", [False, True])
def test_reflectance(tmp_path, sample, baseline, offset_dn, level, zipped):
    pixels = sample[:, :40, :60].copy()
    pixels[:, 3, 5] = 0
    product = write_safe(tmp_path, pixels, baseline=baseline, level=level)
    scene, values, valid = reflectance(zip_safe(product) if zipped else product)
    expected = (pixels.astype(float) + offset_dn) / 10000
    assert np.abs(values - expected)[valid].max() < 1e-9
    assert not valid[:, 3, 5].any()
    assert valid.sum() == valid.size - 4
    assert scene.names == ("B02", "B03", "B04", "B08")
    assert scene.geobox.crs.to_epsg() == 32633
    assert (scene.geobox.affine.c, scene.geobox.affine.f, scene.geobox.resolution.x) == (300000, 5400000, 10)
    assert scene.datetime == dt.datetime(2023, 8, 15, 10, 0, 31, 24000, tzinfo=dt.UTC)
    assert baseline in scene.radiometry[0]
    assert scene.properties["platform"] == "sentinel-2b"


def test_the_metadata_file_names_the_product_too(tmp_path, sample):
    product = write_safe(tmp_path, sample[:, :8, :8], baseline="05.11")
    scene, *_ = reflectance(product / "MTD_MSIL2A.xml")
    assert scene.bands[0].offset == pytest.approx(-0.1)


def test_bands_are_chosen_and_their_images_found_at_their_own_distance(tmp_path, sample):
    product = write_safe(tmp_path, sample[:, :8, :10], baseline="05.11")
    scene, *_ = reflectance(product, bands=["B08", "B02"])
    assert scene.names == ("B08", "B02")
    assert scene.geobox.shape == (8, 10)
    with pytest.raises(SourceError, match="no image of B11"):
        reflectance(product, bands=["B11"])
    with pytest.raises(SourceError, match="unknown band X"):
        reflectance(product, bands=["X"])


def test_clouds_become_nodata_and_their_edges_with_them(tmp_path, sample):
    pixels = sample[:, :60, :60]
    scl = np.full((30, 30), 4, np.uint8)
    scl[10:12, 14:20] = 9
    product = write_safe(tmp_path, pixels, baseline="05.11", scl=scl)
    scene, _, valid = reflectance(product, mask_clouds=True)
    expected = np.ones((60, 60), bool)
    expected[20 - 3 : 24 + 3, 28 - 3 : 40 + 3] = False
    assert (valid == expected).all()
    assert scene.nodata_declared
    # A window sees what the whole does, also where the mask grows into it.
    _, part = scene.reader.read(Window(0, 0, 26, 60))
    assert (part[0] == expected[:, :26]).all()


def test_clouds_need_a_classification(tmp_path, sample):
    product = write_safe(tmp_path, sample[:, :8, :8], baseline="05.11", level="1C")
    with pytest.raises(SourceError, match="no scene classification"):
        reflectance(product, mask_clouds=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [("<a>", "not XML"), ("<a/>", "lack PROCESSING_BASELINE"), (None, "not a .SAFE product|not the zip")],
)
def test_broken_metadata(tmp_path, sample, content, message):
    product = write_safe(tmp_path, sample[:, :8, :8], baseline="05.11")
    metadata = product / "MTD_MSIL2A.xml"
    if content is None:
        metadata.unlink()
    else:
        metadata.write_text(content)
    with pytest.raises(SourceError, match=message):
        reflectance(zip_safe(product))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2023-08-15T10:00:31.024Z</DATATAKE", "yesterday</DATATAKE"),
        ("10000</BOA", "0</BOA"),
        ("10000</BOA", "many</BOA"),
        ("band_id='1'", "band_id='x'"),
        ("band_id='1'", "no='x'"),
        ("<IMAGE_FILE>GRANULE/", "<IMAGE_FILE>"),
    ],
)
def test_metadata_that_esa_does_not_write(tmp_path, sample, old, new):
    product = write_safe(tmp_path, sample[:, :8, :8], baseline="05.11")
    metadata = product / "MTD_MSIL2A.xml"
    text = metadata.read_text()
    assert old in text
    metadata.write_text(re.sub(f"{re.escape(old)}[^<]*" if "IMAGE" in old else re.escape(old), new, text))
    with pytest.raises(SourceError):
        reflectance(product)


def test_the_first_level_2a_products(tmp_path, sample):
    """Before 2018 the same values had other names."""
    product = write_safe(tmp_path, sample[:, :8, :8], baseline="02.14")
    metadata = product / "MTD_MSIL2A.xml"
    text = metadata.read_text().replace("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")
    metadata.write_text(text.replace("IMAGE_FILE", "IMAGE_FILE_2A"))
    _, values, _ = reflectance(product)
    np.testing.assert_allclose(values, sample[:, :8, :8] / 10000)


def test_rasters_stay_open_between_chunks(tmp_path, sample):
    from catalog.gdal import open_raster

    product = write_safe(tmp_path, sample[:, :8, :8], baseline="05.11")
    (image,) = product.rglob("*_B03_10m.jp2")
    with open_raster(str(image)) as first, open_raster(str(image)) as second:
        assert first is second


def test_a_zip_that_is_none(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK nothing")
    with pytest.raises(SourceError, match="not a zip file"):
        reflectance(path)


def test_the_images_and_the_classification_are_files_that_must_not_be_written(tmp_path, sample):
    product = write_safe(tmp_path, sample[:, :60, :60], baseline="05.11", scl=np.full((30, 30), 4, np.uint8))
    scene, *_ = reflectance(product, mask_clouds=True)
    files = {Path(file).name.rpartition("T100031_")[2] for file in scene.files}
    assert {"B02_10m.jp2", "B03_10m.jp2", "B04_10m.jp2", "B08_10m.jp2", "SCL_20m.jp2"} <= files
    (classes,) = product.rglob("*_SCL_20m.jp2")
    os.utime(classes, ns=(1, 1))
    assert reflectance(product, mask_clouds=True)[0].identity != scene.identity


def zip_of(path, folders):
    """A zip of whole folders, each under a name of its own."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, folder in folders.items():
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.write(file, f"{name}/{file.relative_to(folder)}")
    return path


def test_a_zip_of_several_products_names_them(tmp_path, sample):
    product = write_safe(tmp_path, sample[:, :8, :8], baseline="05.09")
    path = zip_of(tmp_path / "two.zip", {"A.SAFE": product, "B.SAFE": product})
    with pytest.raises(SourceError, match=r"holds 2 products, A\.SAFE, B\.SAFE: extract it, and name one"):
        open_scene(SceneRequest(str(path)))
    path = zip_of(tmp_path / "many.zip", {f"{i}.SAFE": product for i in range(8)})
    with pytest.raises(SourceError, match=r"holds 8 products, 0\.SAFE, .*, 4\.SAFE and 3 more"):
        open_scene(SceneRequest(str(path)))


def test_a_product_in_deeper_folders_of_a_zip_is_found(tmp_path, sample):
    product = write_safe(tmp_path, sample[:, :8, :8], baseline="05.09")
    scene, *_ = reflectance(zip_of(tmp_path / "deep.zip", {"download/2023/A.SAFE": product}))
    assert scene.id == "A"


def test_a_zip_of_zips_says_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("S2A_x.zip", b"")
    with pytest.raises(SourceError, match=r"but zip files, S2A_x\.zip: extract it"):
        open_scene(SceneRequest(str(tmp_path / "a.zip")))


def test_a_folder_of_products_names_one(tmp_path, sample):
    product = write_safe(tmp_path, sample[:, :8, :8], baseline="05.09")
    with pytest.raises(SourceError, match=f"name one of those in it, as .*{product.name}"):
        open_scene(SceneRequest(str(tmp_path)))


def test_zips_and_metadata_of_absurd_size_are_refused(tmp_path, monkeypatch, sample):
    product = write_safe(tmp_path, sample[:, :8, :8], baseline="05.09")
    zipped = zip_safe(product)
    monkeypatch.setattr(safe, "_MOST_METADATA_BYTES", 100)
    for source in (product, zipped):
        with pytest.raises(SourceError, match=r"holds metadata of \d+ bytes"):
            open_scene(SceneRequest(str(source)))
    monkeypatch.setattr(safe, "_MOST_MEMBERS", 5)
    with pytest.raises(SourceError, match=r"files, and a \.SAFE product some hundred"):
        open_scene(SceneRequest(str(zipped)))
