"""Uploads for schemathesis, which loads this module: it knows no rasters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import schemathesis  # type: ignore[import-not-found]

_RASTER = Path(__file__).parent.parent / "geosr" / "data" / "sample.tif"


@schemathesis.serializer("image/tiff", "image/jp2", "application/zip")  # type: ignore[untyped-decorator]
def upload(_: Any, value: Any) -> bytes:
    """The bundled sample for any content, and JSON for what is none."""
    return _RASTER.read_bytes() if isinstance(value, bytes | str) else json.dumps(value, default=str).encode()
