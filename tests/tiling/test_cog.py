"""Chunk files become one valid COG with the same pixels."""

from __future__ import annotations

import hashlib
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.env import get_gdal_config
from rasterio.transform import Affine
from rio_cogeo import cog_validate

from tiling import Chunk, ChunkFile, ChunkPlan, DiskFullError, Product, encode_chunk, mosaic, read_chunk, whole, write
from tiling.encode import fields_of
from tiling.overviews import halve, level_shapes
from tiling.tiff import ImageLayout, lay_out, read_images


def make(
    folder: Path,
    rows: int,
    cols: int,
    product: Product,
    *,
    affine: Affine | None = None,
    crs: str | None = "EPSG:32733",
    core: int = 64,
):
    grid = GeoBox((rows, cols), affine or Affine(10, 0, 359130, 0, -10, 5352340), crs)
    plan = ChunkPlan(grid, whole(grid), 4, core_px=core, halo_px=4)
    rng = np.random.default_rng(5)
    shape = (product.bands, 4 * rows, 4 * cols)
    pixels = rng.integers(1, 200, shape).astype(product.dtype)
    files = {}
    for chunk in plan:
        part = pixels[(slice(None), *chunk.out.toslices())]
        files[chunk.key] = written(folder / f"{chunk.key}.tif", part, plan, chunk, product)
    return plan, files, pixels


def written(path: Path, pixels: np.ndarray, plan: ChunkPlan, chunk: Chunk, product: Product) -> ChunkFile:
    geobox = plan.geobox[chunk.out.toslices()]
    write(path, encode_chunk(pixels, geobox, product, {}, overviews=plan.kept_overviews))
    return read_chunk(path)


def test_gdal_reports_a_block_cache_of_64_megabytes_while_chunks_are_read(tmp_path, monkeypatch):
    seen, opened = [], rasterio.open

    def open_and_look(*args, **kwargs):
        seen.append(get_gdal_config("GDAL_CACHEMAX"))
        return opened(*args, **kwargs)

    product = Product("uint16", ("B02",), nodata=0)
    plan, files, _ = make(tmp_path, 300, 300, product)
    monkeypatch.setattr("tiling.cog.rasterio.open", open_and_look)
    mosaic(plan, files, product, tmp_path / "out.tif", tmp_path)
    assert set(seen) == {64 * 2**20}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 200)])
def test_pixels_and_metadata_survive(tmp_path, dtype, rows, cols):
    nodata = math.nan if dtype.startswith("float") else 0
    product = Product(
        dtype,
        ("B02", "B03"),
        nodata=nodata,
        scales=(1e-4, 1e-4),
        offsets=(-0.1, -0.1),
        tags={"GEOSR_NOTES": "a < b & “c”"},
    )
    plan, files, pixels = make(tmp_path, rows, cols, product)
    mosaic(plan, files, product, tmp_path / "out.tif", tmp_path)
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert (raster.read() == pixels).all()
        assert raster.dtypes == (dtype, dtype)
        assert raster.descriptions == ("B02", "B03")
        assert raster.scales == (1e-4, 1e-4)
        assert raster.offsets == (-0.1, -0.1)
        assert raster.tags()["GEOSR_NOTES"] == "a < b & “c”"
        assert raster.nodata == pytest.approx(nodata, nan_ok=True)
        assert raster.transform == plan.geobox.affine
        assert raster.crs == rasterio.crs.CRS.from_epsg(32733)
    assert cog_validate(tmp_path / "out.tif", strict=True) == (True, [], [])
    assert not list(tmp_path.glob("mosaic.*"))
    assert all(file.path.exists() for file in files.values())


@pytest.mark.parametrize("compression", ["zstd", "deflate"])
def test_large_cogs_have_overviews_and_blocks_and_the_same_bytes_each_time(tmp_path, compression):
    product = Product("uint16", ("B02", "B03", "B04"), nodata=0, compression=compression)
    plan, files, _ = make(tmp_path, 150, 300, product)
    digests = set()
    for _ in range(3):
        mosaic(plan, files, product, tmp_path / "out.tif", tmp_path)
        digests.add(hashlib.sha256((tmp_path / "out.tif").read_bytes()).hexdigest())
    assert len(digests) == 1
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.overviews(1) == [2, 4]
        assert raster.block_shapes[0] == (512, 512)
        assert raster.compression.name == compression
    assert cog_validate(tmp_path / "out.tif", strict=True) == (True, [], [])


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "cols"), [(530, 660), (257, 129), (128, 128), (1, 1500)])
def test_the_bytes_do_not_depend_on_the_chunks(tmp_path, rows, cols):
    """Chunks of 128 source pixels are a block, of 256 also one of the first overview, of 100 are cut anywhere."""
    product = Product("uint16", ("B02", "B03"), nodata=0)
    digests = set()
    for core in (100, 128, 256, 384, 2000):
        plan, files, pixels = make(tmp_path, rows, cols, product, core=core)
        mosaic(plan, files, product, tmp_path / "out.tif", tmp_path, threads=2)
        digests.add(hashlib.sha256((tmp_path / "out.tif").read_bytes()).hexdigest())
    assert len(digests) == 1
    assert cog_validate(tmp_path / "out.tif", strict=True) == (True, [], [])
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert (raster.read() == pixels).all()
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    for level in range(len(level_shapes(plan.geobox.shape)) - 1):
        pixels = halve(pixels, 0)
        with rasterio.open(tmp_path / "out.tif", overview_level=level) as overview:
            assert (overview.read() == pixels).all()


def test_a_file_too_large_for_32_bits_is_a_bigtiff():
    """Only the directories of four gigabytes are made, from the sizes of blocks without their content."""
    product = Product("uint16", ("B02", "B03", "B04", "B08"), nodata=0)
    fields = fields_of(product, GeoBox((43920, 43920), Affine(2.5, 0, 0, 0, -2.5, 0), "EPSG:32633"), {})
    for size, mark in ((500_000, b"II*\0"), (600_000, b"II+\0")):
        sizes = np.full((86, 86), size)
        header, (offsets,) = lay_out([ImageLayout(fields, sizes, np.full_like(sizes, 7))])
        assert header[:4] == mark
        (image,) = read_images(lambda start, stop, header=header: header[start:stop])
        assert (image.offsets == offsets).all()
        assert (image.sizes == sizes).all()
        assert (image.checksums == 7).all()
        assert (np.diff(offsets.ravel()) == size + 8).all()
        assert offsets[0, 0] == len(header) + 4


def test_overviews_ignore_nodata(tmp_path):
    product = Product("uint16", ("B02",), nodata=0)
    grid = GeoBox((200, 200), Affine(10, 0, 0, 0, -10, 0), "EPSG:32633")
    plan = ChunkPlan(grid, whole(grid), 4, core_px=200, halo_px=0)
    pixels = np.full((1, 800, 800), 1000, np.uint16)
    pixels[0, ::2] = 0
    chunk = next(iter(plan))
    files = {chunk.key: written(tmp_path / "a.tif", pixels, plan, chunk, product)}
    mosaic(plan, files, product, tmp_path / "out.tif", tmp_path)
    with rasterio.open(tmp_path / "out.tif", overview_level=0) as overview:
        assert (overview.read() == 1000).all()


@pytest.mark.parametrize(
    ("affine", "crs"),
    [
        (Affine(10, 0, 500000, 0, 10, 0), "EPSG:32633"),
        (Affine.translation(500000, 7) * Affine.rotation(30) * Affine.scale(10, -10), "EPSG:32633"),
        (Affine.identity(), None),
        (Affine(0.0001, 0, 14, 0, -0.00007, 48), "EPSG:4326"),
    ],
)
def test_grids_of_every_kind_survive(tmp_path, affine, crs):
    product = Product("uint8", ("grey",))
    plan, files, pixels = make(tmp_path, 9, 7, product, affine=affine, crs=crs)
    mosaic(plan, files, product, tmp_path / "out.tif", tmp_path)
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.transform == affine * Affine.scale(0.25)
        assert (raster.crs.to_epsg() if raster.crs else None) == (int(crs[5:]) if crs else None)
        assert (raster.read() == pixels).all()


def test_blocks_of_nothing_but_nodata_are_there(tmp_path):
    product = Product("uint16", ("B02",), nodata=0)
    grid = GeoBox((400, 400), Affine(10, 0, 0, 0, -10, 0), "EPSG:32633")
    plan = ChunkPlan(grid, whole(grid), 4, core_px=400, halo_px=0)
    pixels = np.zeros((1, 1600, 1600), np.uint16)
    pixels[0, 0, 0] = 7
    chunk = next(iter(plan))
    files = {chunk.key: written(tmp_path / "a.tif", pixels, plan, chunk, product)}
    mosaic(plan, files, product, tmp_path / "out.tif", tmp_path)
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert (raster.read() == pixels).all()
    assert cog_validate(tmp_path / "out.tif", strict=True) == (True, [], [])


def test_too_little_space_is_seen_before_anything_is_written(tmp_path, monkeypatch):
    product = Product("uint8", ("grey",))
    plan, files, _ = make(tmp_path, 9, 7, product)
    usage = type("Usage", (), {"free": 10})
    # The free space of a disk cannot be set; a real full one is in tests/geosr/test_wrong_input.py.
    monkeypatch.setattr("tiling.cog.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DiskFullError, match="no space left"):
        mosaic(plan, files, product, tmp_path / "out.tif", tmp_path)
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.slow
def test_a_disk_that_fills_up_while_the_cog_is_written(tmp_path):
    """GDAL itself may not notice: a limit on the file's size cuts the last blocks off, as quotas do."""
    product = Product("uint16", ("B02", "B03", "B04"), nodata=0)
    plan, files, _ = make(tmp_path, 150, 300, product)
    whole = sum(file.path.stat().st_size for file in files.values())
    script = """
import pickle, resource, signal, sys, tiling
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
job, limits = pickle.load(sys.stdin.buffer)
for limit in limits:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
    try:
        tiling.mosaic(*job)
    except Exception as error:
        print(type(error).__module__, job[-2].exists(), len(list(job[-1].glob("mosaic.*"))))
"""
    job = [plan, files, product, tmp_path / "out.tif", tmp_path]
    limits = [int(share * whole) for share in (0.3, 0.9, 1.05, 1.2)]
    told = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps((job, limits)), capture_output=True, check=True
    )
    assert told.stdout.decode().splitlines() == ["tiling.errors False 0"] * len(limits)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("int64", -(2**63)), ("int64", -9999), ("uint8", 255), ("int32", -(2**31))],
)
def test_nodata_of_integers_is_exact(tmp_path, dtype, nodata):
    product = Product(dtype, ("B02",), nodata=float(nodata))
    plan, files, pixels = make(tmp_path, 5, 6, product)
    mosaic(plan, files, product, tmp_path / "out.tif", tmp_path)
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.nodata == nodata
        assert raster.dtypes == (dtype,)
        assert (raster.read() == pixels).all()
