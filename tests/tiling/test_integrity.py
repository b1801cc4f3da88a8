"""Every byte of a chunk or a product is held against stored checksums."""

from __future__ import annotations

import logging
import random

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine

from tests.tiling.test_cog import make
from tiling import (
    DamagedChunkError,
    OutputError,
    Product,
    encode_chunk,
    find_damage,
    is_whole,
    mosaic,
    read_chunk,
    write,
)
from tiling.encode import fields_of
from tiling.tiff import ImageLayout, lay_out, read_checked_images

PRODUCT = Product("uint16", ("B02", "B03"), nodata=0, tags={"GEOSR_MODEL": "bicubic"})


def flip(path, at, bit=0):
    """Change one bit of a file; the same again changes it back."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << bit)]))


@pytest.fixture
def product(tmp_path):
    """A product of several blocks with overviews, and its chunk files."""
    plan, files, _ = make(tmp_path, 300, 200, PRODUCT)
    mosaic(plan, files, PRODUCT, tmp_path / "out.tif", tmp_path)
    return tmp_path / "out.tif"


@pytest.mark.parametrize("compression", ["zstd", "deflate"])
def test_one_flipped_bit_anywhere_in_a_file_is_damage(tmp_path, compression):
    """Each byte in turn: header, directories, tags, envelopes and blocks, of the image and its overview."""
    grid = GeoBox((40, 30), Affine(10, 0, 359130, 0, -10, 5352340), "EPSG:32733")
    pixels = np.random.default_rng(3).integers(1, 9, (2, 40, 30)).astype(np.uint16)
    kind = Product("uint16", ("B02", "B03"), nodata=0, compression=compression)
    path = tmp_path / "chunk.tif"
    write(path, encode_chunk(pixels, grid, kind, {"RUN": "1"}, overviews=1))
    bits, unseen = random.Random(1), []
    for at in range(path.stat().st_size):
        bit = bits.randrange(8)
        flip(path, at, bit)
        if is_whole(path):
            unseen.append((at, bit))
        flip(path, at, bit)
    assert unseen == []
    assert is_whole(path)


def test_damage_of_a_product_is_named_by_its_place(product):
    assert list(find_damage(product)) == []
    images = read_chunk(product).images
    where = {
        (0, 2, 1): "pixels from row 1024 and column 512 of the full image",
        (1, 0, 0): "pixels from row 0 and column 0 of overview 1",
    }
    for (level, row, col), words in where.items():
        at = int(images[level].offsets[row, col]) + int(images[level].sizes[row, col]) // 2
        flip(product, at)
        (line,) = find_damage(product)
        assert line == words
        flip(product, at)
    assert is_whole(product)


def test_a_zeroed_page_and_a_file_that_is_cut_or_longer_are_damaged(product):
    content = product.read_bytes()
    page = len(content) // 2 // 4096 * 4096
    product.write_bytes(content[:page] + bytes(4096) + content[page + 4096 :])
    assert list(find_damage(product)) != []
    product.write_bytes(content[:-1])
    assert f"it has {len(content) - 1} bytes, and {len(content)} were written" in list(find_damage(product))
    product.write_bytes(content + b"\0")
    assert list(find_damage(product)) == [f"it has {len(content) + 1} bytes, and {len(content)} were written"]


def test_a_changed_tag_is_damage_of_the_header(product):
    content = product.read_bytes()
    product.write_bytes(content.replace(b">bicubic<", b">bilinea<"))
    with rasterio.open(product) as raster:
        assert raster.tags()["GEOSR_MODEL"] == "bilinea"
    assert list(find_damage(product)) == ["its header is damaged"]


def test_a_file_of_another_program_stores_no_checksums(tmp_path):
    profile = {"driver": "GTiff", "width": 32, "height": 32, "count": 1, "dtype": "uint8", "tiled": True}
    with rasterio.open(tmp_path / "a.tif", "w", blockxsize=16, blockysize=16, crs="EPSG:4326", **profile) as raster:
        raster.write(np.ones((1, 32, 32), np.uint8))
    assert list(find_damage(tmp_path / "a.tif")) == ["no checksums are stored in it"]
    assert not is_whole(tmp_path / "a.tif")
    with pytest.raises(OutputError, match="cannot read"):
        list(find_damage(tmp_path / "nothing.tif"))


@pytest.mark.parametrize("core", [64, 100, 128, 256])
@pytest.mark.parametrize("level", [0, -1])
def test_no_damaged_block_goes_into_a_product(tmp_path, core, level):
    """Blocks are copied, or decoded to make others, as the plan's chunks lie; each kind is checked."""
    plan, files, _ = make(tmp_path, 300, 300, PRODUCT, core=core)
    victim = files["r0001c0001"]
    image = victim.images[level]
    flip(victim.path, int(image.offsets[0, 0]) + 9)
    with pytest.raises(DamagedChunkError, match="r0001c0001") as caught:
        mosaic(plan, files, PRODUCT, tmp_path / "out.tif", tmp_path)
    assert caught.value.path == victim.path
    assert not (tmp_path / "out.tif").exists()


def test_a_damaged_header_of_a_chunk_is_a_damaged_chunk(tmp_path):
    _, files, _ = make(tmp_path, 64, 64, PRODUCT)
    victim = files["r0000c0000"]
    flip(victim.path, int(min(image.offsets.min() for image in victim.images)) - 30)
    with pytest.raises(DamagedChunkError, match="r0000c0000"):
        read_chunk(victim.path)


@pytest.mark.parametrize(("size", "mark"), [(500_000, b"II*\0"), (600_000, b"II+\0")])
def test_headers_of_both_kinds_of_tiff_are_checked(size, mark):
    fields = fields_of(PRODUCT, GeoBox((43920, 43920), Affine(2.5, 0, 0, 0, -2.5, 0), "EPSG:32633"), {})
    sizes = np.full((86, 86), size)
    header = lay_out([ImageLayout(fields, sizes, np.arange(86 * 86).reshape(86, 86))])[0]
    assert header[:4] == mark
    assert read_checked_images(lambda start, stop: header[start:stop])[1] == len(header)
    damaged = bytearray(header)
    damaged[len(header) // 2] ^= 4
    with pytest.raises(OutputError, match="damaged"):
        read_checked_images(lambda start, stop: bytes(damaged[start:stop]))


def test_gdal_reads_files_with_checksums_without_a_warning(product, caplog):
    with caplog.at_level(logging.WARNING), rasterio.open(product) as raster:
        raster.read()
        assert raster.overviews(1) == [2, 4]
    assert caplog.records == []
