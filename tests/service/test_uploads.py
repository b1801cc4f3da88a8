"""Uploads of other forms than GeoTIFF, and of other instruments than Sentinel-2; and zips that want too much."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import rasterio

from catalog import read_sensor
from geosr.service.problems import Problem
from geosr.service.uploads import RasterDescription, UploadLimits, keep_upload
from tests.conftest import SAMPLE, read_raster, write_raster
from tests.safe_product import write_safe, zip_safe
from tests.service.conftest import served

LIMITS = UploadLimits(pixels=10**6, bytes=10**7)


@pytest.fixture(scope="module")
def pixels():
    return read_raster(SAMPLE)[:, :64, :64]


@pytest.fixture(scope="module")
def safe_zip(pixels, tmp_path_factory):
    return zip_safe(write_safe(tmp_path_factory.mktemp("safe"), pixels, baseline="05.09"))


def keep(folder, content, limits=LIMITS):
    (folder / "upload").write_bytes(content)
    (folder / "scene").mkdir()
    return keep_upload(folder / "upload", folder / "scene", RasterDescription(), limits)


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_of_a_zip_only_a_product_is_extracted(safe_zip, tmp_path):
    with zipfile.ZipFile(safe_zip) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    root = next(iter(members)).partition("/")[0]
    others = (f"{root}/../../../out.xml", "/tmp/geosr-out.xml", f"{root}/run.sh", f"{root}/QI_DATA/a.jp2")
    product = keep(tmp_path, zipped(**members, **dict.fromkeys(others, b"")))
    extracted = {str(path.relative_to(product.parent)) for path in product.rglob("*") if path.is_file()}
    assert extracted == set(members)
    assert {path.name for path in tmp_path.iterdir()} == {"scene"}


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"PK\x03\x04" + bytes(100), 415, "not a zip"),
        (zipped(a="1"), 415, "no .SAFE"),
        (zipped(**{"a.SAFE/b.xml": "1", "c.SAFE/b.xml": "1"}), 415, "2 .SAFE"),
        (zipped(**{"a.SAFE/b.xml": "1"}), 415, "no metadata"),
        (zipped(**{"a.SAFE/b.xml": bytes(2 * 10**7)}), 413, "larger"),
        (zipped(**{f"a.SAFE/{i}.xml": "1" for i in range(2001)}), 413, "larger"),
        (zipped(**{"a.SAFE/IMG_DATA/b.jp2": bytes(100)}), 415, "JPEG 2000"),
        (b"\xff\x4f\xff\x51" + bytes(100), 415, "JPEG 2000"),
    ],
)
def test_zips_and_images_that_are_something_else_are_refused(tmp_path, content, status, reason):
    with pytest.raises(Problem, match=reason) as refused:
        keep(tmp_path, content)
    assert refused.value.status == status


def test_a_damaged_jpeg_2000_that_is_written_anew_is_refused(pixels, tmp_path):
    path = write_raster(tmp_path / "a.jp2", pixels, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    (tmp_path / "scene").mkdir()
    with pytest.raises(Problem, match="JPEG 2000"):
        keep_upload(path, tmp_path / "scene", RasterDescription(scale=0.1), LIMITS)


@pytest.mark.slow
def test_products_images_and_other_sensors_are_uploaded_and_upscaled(pixels, safe_zip, tmp_path):
    jp2 = write_raster(tmp_path / "a.jp2", pixels, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    landsat = read_sensor("landsat-oli")
    names = landsat.order_of(len(landsat.bands))
    many = np.repeat(pixels[:1], len(names), axis=0) + 7000
    other = write_raster(tmp_path / "l.tif", many, names=(), transform=rasterio.transform.from_origin(3e5, 5e6, 30, 30))
    with served(tmp_path / "data") as service:

        def upload(path, **params):
            answer = service.http.post("/scenes/upload", params=params, content=path.read_bytes())
            assert answer.status_code == 201, answer.text
            return answer.json()

        def product_of(scene):
            job = service.submit(scene=scene["id"], bbox=None)
            assert service.wait(job)["status"] == "successful"
            bands = service.http.get(f"/collections/results/items/{job}").json()["assets"]["data"]["bands"]
            with rasterio.open(service.data / "jobs" / job / "product.tif") as product:
                return tuple(band["name"] for band in bands), product.shape

        product = upload(safe_zip)
        assert product["datetime"].startswith("2023-08-15T10:00:31")
        assert product["bands"][0]["offset"] == pytest.approx(-0.1)
        assert product_of(product) == (("B02", "B03", "B04", "B08"), (256, 256))
        # A JPEG 2000 says nothing of its bands, and is kept as a GeoTIFF that does.
        described = upload(jp2, bands="B02,B03,B04,B08", scale=0.0001)
        assert product_of(described) == (("B02", "B03", "B04", "B08"), (256, 256))
        (kept,) = (service.data / "scenes" / described["id"]).glob("upload.*")
        assert np.array_equal(read_raster(kept), pixels)
        scene = upload(other, sensor="landsat-oli")
        shown = [band["name"] for band in scene["bands"]]
        assert set(shown) <= set(names)
        assert {band["scale"] for band in scene["bands"]} == {landsat.scale}
        assert product_of(scene)[0] == tuple(shown)
        for params, content, status in (
            ({"sensor": "/etc/passwd"}, other, 400),
            ({"scale": 0.1}, safe_zip, 409),
            ({"scale": 0.5}, other, 409),
        ):
            assert (
                service.http.post("/scenes/upload", params=params, content=content.read_bytes()).status_code == status
            )
        refused = service.http.post(
            "/processes/upscale/execution", json={"inputs": {"scene": scene["id"], "sensor": "a.yaml"}}
        )
        assert refused.status_code == 400
        assert len(list((service.data / "scenes").iterdir())) == 3
