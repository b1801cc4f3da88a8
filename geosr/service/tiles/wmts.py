"""WMTS 1.0.0 capabilities (OGC 07-057r7), REST only, on the common grid of web maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

_WMTS = "http://www.opengis.net/wmts/1.0"
_OWS = "http://www.opengis.net/ows/1.1"
_XLINK = "http://www.w3.org/1999/xlink"

# Once: the table is the process' own, and requests that change it at a time meet.
for _prefix, _name in (("", _WMTS), ("ows", _OWS), ("xlink", _XLINK)):
    ElementTree.register_namespace(_prefix, _name)

_GRID = "GoogleMapsCompatible"
_LEVELS = 23
_TILE_PX = 256

#: Half of the equator in Web Mercator, metres, and metres of a pixel of the standard's screens.
_HALF_M = 20037508.342789244
_SCREEN_PX_M = 0.00028


@dataclass(frozen=True)
class WmtsLayer:
    """A layer of tiles."""

    name: str
    title: str
    address: str
    """Address of a tile, with ``{TileMatrix}``, ``{TileCol}`` and ``{TileRow}``."""
    bounds: tuple[float, float, float, float]
    """West, south, east and north, degrees."""


def capabilities(layers: Sequence[WmtsLayer], address: str) -> bytes:
    """The document that lists layers; ``address`` is its own."""
    root = ElementTree.Element(f"{{{_WMTS}}}Capabilities", version="1.0.0")
    service = ElementTree.SubElement(root, f"{{{_OWS}}}ServiceIdentification")
    for name, text in (("Title", "geosr"), ("ServiceType", "OGC WMTS"), ("ServiceTypeVersion", "1.0.0")):
        _ows(service, name, text)
    contents = ElementTree.SubElement(root, f"{{{_WMTS}}}Contents")
    for layer in layers:
        _add_layer(contents, layer)
    _add_grid(contents)
    ElementTree.SubElement(root, f"{{{_WMTS}}}ServiceMetadataURL", {f"{{{_XLINK}}}href": address})
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _add_layer(contents: ElementTree.Element, layer: WmtsLayer) -> None:
    element = ElementTree.SubElement(contents, f"{{{_WMTS}}}Layer")
    _ows(element, "Title", layer.title)
    west, south, east, north = layer.bounds
    box = ElementTree.SubElement(element, f"{{{_OWS}}}WGS84BoundingBox")
    _ows(box, "LowerCorner", f"{west:.7f} {south:.7f}")
    _ows(box, "UpperCorner", f"{east:.7f} {north:.7f}")
    _ows(element, "Identifier", layer.name)
    style = ElementTree.SubElement(element, f"{{{_WMTS}}}Style", isDefault="true")
    _ows(style, "Identifier", "default")
    _wmts(element, "Format", "image/png")
    _wmts(ElementTree.SubElement(element, f"{{{_WMTS}}}TileMatrixSetLink"), "TileMatrixSet", _GRID)
    ElementTree.SubElement(
        element, f"{{{_WMTS}}}ResourceURL", format="image/png", resourceType="tile", template=layer.address
    )


def _add_grid(contents: ElementTree.Element) -> None:
    grid = ElementTree.SubElement(contents, f"{{{_WMTS}}}TileMatrixSet")
    _ows(grid, "Identifier", _GRID)
    _ows(grid, "SupportedCRS", "urn:ogc:def:crs:EPSG::3857")
    _wmts(grid, "WellKnownScaleSet", f"urn:ogc:def:wkss:OGC:1.0:{_GRID}")
    for level in range(_LEVELS):
        matrix = ElementTree.SubElement(grid, f"{{{_WMTS}}}TileMatrix")
        _ows(matrix, "Identifier", str(level))
        pixel_m = 2 * _HALF_M / _TILE_PX / 2**level
        _wmts(matrix, "ScaleDenominator", repr(pixel_m / _SCREEN_PX_M))
        _wmts(matrix, "TopLeftCorner", f"{-_HALF_M!r} {_HALF_M!r}")
        for name, value in (("TileWidth", _TILE_PX), ("TileHeight", _TILE_PX)):
            _wmts(matrix, name, str(value))
        for name in ("MatrixWidth", "MatrixHeight"):
            _wmts(matrix, name, str(2**level))


def _ows(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, f"{{{_OWS}}}{name}").text = text


def _wmts(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, f"{{{_WMTS}}}{name}").text = text
