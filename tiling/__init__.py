"""Grids, chunk plans, windowed reads, chunk files and their mosaic into a Cloud-Optimized GeoTIFF.

Knows nothing of networks, catalogues or HTTP.
"""

from tiling.atomic import replacing
from tiling.chunks import read_chunk_tags, write_chunk
from tiling.cog import is_whole, mosaic
from tiling.errors import DiskFullError, OutputError, PlanError, TilingError
from tiling.fill import fill_invalid
from tiling.plan import Chunk, ChunkPlan, crop, grow, refine, whole
from tiling.product import BLOCK_PX, Compression, Product
from tiling.read import Reflection, read_reflected, reflect

__all__ = [
    "BLOCK_PX",
    "Chunk",
    "ChunkPlan",
    "Compression",
    "DiskFullError",
    "OutputError",
    "PlanError",
    "Product",
    "Reflection",
    "TilingError",
    "crop",
    "fill_invalid",
    "grow",
    "is_whole",
    "mosaic",
    "read_chunk_tags",
    "read_reflected",
    "refine",
    "reflect",
    "replacing",
    "whole",
    "write_chunk",
]
