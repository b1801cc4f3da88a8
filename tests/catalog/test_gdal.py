"""Which files are read, what tells them from themselves after a change, and what messages must not say."""

from __future__ import annotations

import gzip
import os
import zipfile

import numpy as np
import pytest
import rasterio

from catalog import ReadError, SceneRequest, SourceError, open_scene
from catalog.gdal import files_of, open_raster
from catalog.identity import raster_identity
from catalog.paths import without_queries
from tests.conftest import write_raster

NAMES = ["B02", "B03", "B04", "B08"]


def write_vrt(path, *sources):
    """A raster of the first bands of other rasters, by any name that GDAL understands."""
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{i}"><SimpleSource><SourceFilename>{source}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for i, source in enumerate(sources, start=1)
    )
    path.write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>0, 10, 0, 80, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )
    return path


@pytest.fixture
def child(tmp_path, sample):
    return write_raster(tmp_path / "child.tif", sample[:, :8, :8])


SOURCES = [
    "{folder}/made.vrt",
    "{folder}/nested.vrt",
    "{folder}/named.vrt",
    "GTIFF_DIR:1:{folder}/child.tif",
    "vrt://{folder}/child.tif?bands=1,2,3,4",
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_change_of_any_file_that_is_read_changes_the_identity(tmp_path, child, source):
    write_vrt(tmp_path / "made.vrt", *[child] * 4)
    write_vrt(tmp_path / "nested.vrt", *[f"vrt://{child}?bands={i}" for i in (1, 2, 3, 4)])
    write_vrt(tmp_path / "named.vrt", *[f"GTIFF_DIR:1:{child}"] * 4)
    request = SceneRequest(source.format(folder=tmp_path), bands=NAMES)
    if source.startswith("vrt") or source.startswith("GTIFF"):
        request = SceneRequest(source.format(folder=tmp_path))
    before = open_scene(request)
    assert str(child) in before.files
    assert open_scene(request).identity == before.identity
    os.utime(child, ns=(1, 1))
    assert open_scene(request).identity != before.identity


@pytest.mark.parametrize("source", [*SOURCES[3:], "/vsizip/{folder}/packed.ZIP/child.tif"])
def test_parts_of_files_stay_open_between_chunks_until_the_file_changes(tmp_path, child, source):
    with zipfile.ZipFile(tmp_path / "packed.ZIP", "w") as archive:
        archive.write(child, "child.tif")
    path = source.format(folder=tmp_path)
    with open_raster(path) as first, open_raster(path) as second:
        assert first is second
    for file in ("child.tif", "packed.ZIP"):
        os.utime(tmp_path / file, ns=(1, 1))
    with open_raster(path) as third:
        assert third is not first


def test_the_identity_of_what_is_in_an_archive_is_that_of_the_archive(tmp_path, child):
    for name in ("a.zip", "b.ZIP"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.write(child, "child.tif")
        assert raster_identity(f"/vsizip/{tmp_path}/{name}/child.tif")["size"] == (tmp_path / name).stat().st_size
    (tmp_path / "child.tif.gz").write_bytes(gzip.compress(child.read_bytes()))
    assert "size" in raster_identity(f"/vsigzip/{tmp_path}/child.tif.gz")
    assert "size" in raster_identity(f"/vsisubfile/0,{child}")


def test_asking_for_its_files_leaves_a_raster_open(tmp_path, child):
    with rasterio.open(child, "r+") as raster:
        raster.update_tags(SENSOR="MSI")
    scene = open_scene(SceneRequest(f"GTIFF_DIR:1:{child}"))
    assert scene.names == tuple(NAMES)
    assert scene.tags == {"SENSOR": "MSI"}
    assert scene.reader.read(scene.area)[1].all()


def test_a_missing_part_is_told_of_before_anything_is_computed(tmp_path, child):
    path = write_vrt(tmp_path / "made.vrt", *[child] * 3, tmp_path / "nowhere.tif")
    assert str(tmp_path / "nowhere.tif") in files_of(str(path))
    with pytest.raises(ReadError, match=r"nowhere\.tif"):
        open_scene(SceneRequest(str(path), bands=NAMES))


def test_what_a_query_asks_for_is_part_of_the_identity_and_what_grants_access_is_not():
    address = "https://titiler.example/cog?url="
    assert raster_identity(f"{address}a.tif") != raster_identity(f"{address}b.tif")
    signed = [f"{address}a.tif&{key}" for key in ("sig=x&se=2030", "X-Amz-Signature=y&X-Amz-Date=1", "token=z")]
    assert all(raster_identity(one) == raster_identity(f"{address}a.tif") for one in signed)
    assert raster_identity("https://x/a.tif?sig=SECRET") == {"path": "https://x/a.tif"}
    assert "b.tif" not in str(raster_identity(f"{address}b.tif"))


def test_messages_do_not_repeat_what_grants_access():
    text = "'/vsicurl/https://x/a.tif?sig=SECRET&b=1' not found, nor https://y/b?token=SECRET; why?"
    assert without_queries(text) == "'/vsicurl/https://x/a.tif' not found, nor https://y/b why?"
    with pytest.raises(SourceError) as caught, open_raster("http://127.0.0.1:9/x.tif?sig=SECRET"):
        pass
    assert "SECRET" not in str(caught.value)


def test_a_virtual_raster_of_a_file_that_was_written_anew_is_opened_anew(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.ones((4, 8, 8), np.uint16))
    virtual = write_vrt(tmp_path / "a.vrt", *[path] * 4)
    with open_raster(str(virtual)) as raster:
        assert (raster.read() == 1).all()
    write_raster(path, np.full((4, 8, 8), 2, np.uint16))
    os.utime(path, ns=(5, 5))
    with open_raster(str(virtual)) as raster:
        assert (raster.read() == 2).all()
