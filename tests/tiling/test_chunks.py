"""Header and checksums of a chunk file."""

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from rio_cogeo import cog_validate

from tiling import OutputError, Product, encode_chunk, is_whole, read_chunk, write

GRID = GeoBox((1100, 700), Affine(2.5, 0, 359130, 0, -2.5, 5352340), "EPSG:32633")
PRODUCT = Product("uint16", ("B02", "B03"), nodata=0, scales=(1e-4, 1e-4), offsets=(0.0, 0.0))


@pytest.fixture
def chunk(tmp_path):
    pixels = np.random.default_rng(1).integers(1, 3000, (2, *GRID.shape)).astype(np.uint16)
    write(tmp_path / "r0000c0000.tif", encode_chunk(pixels, GRID, PRODUCT, {"CONSISTENCY": "[1, <2>]"}, overviews=1))
    return tmp_path / "r0000c0000.tif", pixels


def test_it_is_a_cog_of_its_own_part(chunk):
    path, pixels = chunk
    assert cog_validate(path)[0]
    with rasterio.open(path) as raster:
        assert (raster.read() == pixels).all()
        assert raster.transform == GRID.affine
        assert raster.overviews(1) == [2]
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_its_tags_and_blocks_are_read_without_gdal(chunk):
    path, _ = chunk
    file = read_chunk(path)
    assert file.tags["CONSISTENCY"] == "[1, <2>]"
    assert [image.sizes.shape for image in file.images] == [(3, 2), (2, 1)]
    content = path.read_bytes()
    for image in file.images:
        for offset, size in zip(image.offsets.ravel(), image.sizes.ravel(), strict=True):
            assert int.from_bytes(content[offset - 4 : offset], "little") == size
            assert content[offset + size : offset + size + 4] == content[offset + size - 4 : offset + size]


def test_a_damaged_chunk_is_said_to_be_computed_anew(tmp_path):
    path = tmp_path / "r0000c0000.tif"
    path.write_bytes(b"II*\0nothing")
    with pytest.raises(OutputError, match=r"r0000c0000\.tif is damaged: the same command computes it anew") as caught:
        read_chunk(path)
    assert "remove" not in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
        lambda content: b"MM" + content[2:],
    ],
)
def test_damage_is_seen(chunk, damage):
    path, _ = chunk
    assert is_whole(path)
    path.write_bytes(damage(path.read_bytes()))
    assert not is_whole(path)


def test_what_is_not_there_is_not_whole(tmp_path):
    assert not is_whole(tmp_path / "nothing.tif")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"])
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 513), (512, 700)])
def test_gdal_reads_differences_between_the_ends_of_a_type(tmp_path, dtype, rows, cols):
    limits, rng = np.iinfo(dtype), np.random.default_rng(rows)
    pixels = rng.integers(limits.min, limits.max, (3, rows, cols), dtype, endpoint=True)
    pixels[:, :, ::2] = rng.choice(np.array([limits.min, limits.max], dtype), pixels[:, :, ::2].shape)
    grid = GeoBox((rows, cols), GRID.affine, GRID.crs)
    # A view, as the bands of a part of an image are.
    wide = np.zeros((3, rows, cols + 9), dtype)
    wide[:, :, 4:-5] = pixels
    write(tmp_path / "chunk.tif", encode_chunk(wide[:, :, 4:-5], grid, Product(dtype, ("1", "2", "3")), {}))
    with rasterio.open(tmp_path / "chunk.tif") as raster:
        assert raster.compression is rasterio.enums.Compression.zstd
        assert (raster.read() == pixels).all()
