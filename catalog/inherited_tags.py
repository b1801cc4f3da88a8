"""Selection of a source's metadata that remain true for its upscaled image."""

from __future__ import annotations

#: Beginnings of names, lower case: statistics and what GDAL says of a file's form, and what a product of geosr says of
#: how it was made itself.
_BEGINNINGS = ("statistics_", "geosr_", "ovr_", "tifftag_xresolution", "tifftag_yresolution", "tifftag_resolutionunit")

#: Names, lower case, of what describes the source's grid, pixels or file.
_NAMES = frozenset(
    (
        *(
            "transform",
            "geotransform",
            "res",
            "resolution",
            "resolution_xy",
            "gsd",
            "spatial_resolution",
            "pixel_size",
            "spec",
        ),
        *("proj:transform", "proj:shape", "proj:bbox", "proj:geometry", "shape", "width", "height", "nrows", "ncols"),
        *(
            "actual_range",
            "nodata_values",
            "is_tiled",
            "tiled",
            "blockxsize",
            "blockysize",
            "nbits",
            "layout",
            "compression",
            "interleave",
        ),
    )
)


def holds_for_result(name: object) -> bool:
    """Tell whether metadata of this name remain true for an image that is four times finer."""
    text = str(name).lower()
    return not text.startswith(_BEGINNINGS) and text not in _NAMES
