"""Make ``geosr/data/sample.tif`` from the source distribution of spyndex 0.12.0.

    pip download --no-deps --no-binary :all: spyndex==0.12.0
    python scripts/make_sample.py spyndex-0.12.0.tar.gz

The scene's true location is not published: it is placed on Null Island.
"""

import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

MEMBER = "spyndex-0.12.0/spyndex/data/S2_10m.json"
OUTPUT = Path(__file__).parent.parent / "geosr" / "data" / "sample.tif"

with tarfile.open(sys.argv[1]) as archive:
    pixels = np.array(json.load(archive.extractfile(MEMBER)), dtype=np.uint16)

with rasterio.open(
    OUTPUT,
    "w",
    driver="GTiff",
    dtype="uint16",
    count=4,
    height=pixels.shape[1],
    width=pixels.shape[2],
    crs="EPSG:32631",
    transform=from_origin(166021.44, 0, 10, 10),
    nodata=0,
    tiled=True,
    compress="deflate",
    predictor=2,
    zlevel=9,
) as raster:
    raster.write(pixels)
    raster.descriptions = ("B02", "B03", "B04", "B08")
    raster.scales = (0.0001,) * 4
    raster.update_tags(
        NOTE="True location unpublished: placed on Null Island",
        SOURCE="spyndex 0.12.0 (MIT), S2_10m.json",
        ATTRIBUTION="Contains modified Copernicus Sentinel data",
    )
print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")
