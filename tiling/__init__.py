"""Grids, chunk plans, windowed reads, chunk files and their mosaic into a Cloud-Optimized GeoTIFF.

Knows nothing of networks, catalogues or HTTP.
"""

from tiling.chunks import ChunkEncoder, ChunkFile, encode_chunk, read_chunk
from tiling.cog import mosaic
from tiling.errors import (
    DamagedChunkError,
    DiskFullError,
    OccupiedError,
    OutputError,
    PlanError,
    StorageError,
    TilingError,
)
from tiling.fill import fill_invalid
from tiling.integrity import find_damage, is_whole
from tiling.locations import NAME_BYTES, Content, Location, derived_name, gdal_path, is_remote, locate
from tiling.plan import Chunk, ChunkPlan, crop, grow, refine, whole
from tiling.product import BLOCK_PX, Compression, Product, nearest_non_nodata, nodata_as
from tiling.read import Reflection, read_reflected, reflect
from tiling.storage import Occupant, move, occupant, read_range, replacing, write

__all__ = [
    "BLOCK_PX",
    "NAME_BYTES",
    "Chunk",
    "ChunkEncoder",
    "ChunkFile",
    "ChunkPlan",
    "Compression",
    "Content",
    "DamagedChunkError",
    "DiskFullError",
    "Location",
    "Occupant",
    "OccupiedError",
    "OutputError",
    "PlanError",
    "Product",
    "Reflection",
    "StorageError",
    "TilingError",
    "crop",
    "derived_name",
    "encode_chunk",
    "fill_invalid",
    "find_damage",
    "gdal_path",
    "grow",
    "is_remote",
    "is_whole",
    "locate",
    "mosaic",
    "move",
    "nearest_non_nodata",
    "nodata_as",
    "occupant",
    "read_chunk",
    "read_range",
    "read_reflected",
    "refine",
    "reflect",
    "replacing",
    "whole",
    "write",
]
