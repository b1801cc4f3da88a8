"""QGIS layer styles (QML), which QGIS 3 applies to a raster that has one of its name beside it."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from geosr.before_after import GAMMA
from geosr.errors import UsageError
from geosr.maps.palettes import PALETTES, Palette
from geosr.maps.raster import FALSE_COLOUR, TRUE_COLOUR, MapRaster, read_shown
from geosr.maps.stretch import Stretch

#: Marks styles that were written here and may be replaced.
MARK = "geosr"

#: Styles by name; the others are those of palettes.
COMBINATIONS = {"true-colour": TRUE_COLOUR, "false-colour": FALSE_COLOUR}

#: Styles that a user can ask for.
STYLES = (*COMBINATIONS, *PALETTES)

#: Longest side of the image that limits are measured on, pixels.
_MEASURED_PX = 1024


def style_of(raster: MapRaster, style: str) -> str:
    """Write the style of a raster.

    Raises :class:`UsageError` for an unknown style, or one that the raster has no bands for.
    """
    if style in COMBINATIONS:
        numbers = raster.with_roles(COMBINATIONS[style])
        if numbers is None:
            raise UsageError(f"{style} needs the bands {', '.join(COMBINATIONS[style])}, and {_bands_of(raster)}")
        return _colours(raster, numbers)
    if style not in PALETTES:
        raise UsageError(f"there is no style {style!r}: known are {', '.join(STYLES)}")
    # Layers of several bands are shown by their red one, whose half-widths lie between the others'.
    number = (raster.with_roles(("red",)) or (1,))[0]
    # Half-widths of a source without a scale are DN: QGIS shows these.
    unit = raster.reflectance_per_value[number - 1] if style == "uncertainty" else 1.0
    return _palette(number, PALETTES[style], unit)


def natural_style(raster: MapRaster) -> str:
    """Write the style that shows true colours, or three bands, or one in grey."""
    return _colours(raster, raster.shown())


def classes_style(classes: Sequence[tuple[int, str, tuple[int, int, int]]]) -> str:
    """Write the style of a map of classes: value, meaning and colour of each. Other values are clear."""
    renderer = _renderer("paletted", band="1")
    entries = ElementTree.SubElement(renderer, "colorPalette")
    for value, meaning, (red, green, blue) in classes:
        ElementTree.SubElement(
            entries,
            "paletteEntry",
            value=str(value),
            label=meaning,
            color=f"#{red:02x}{green:02x}{blue:02x}",
            alpha="255",
        )
    return _document(renderer)


def _bands_of(raster: MapRaster) -> str:
    return f"{raster.path} has {', '.join(raster.names)}"


def _colours(raster: MapRaster, numbers: tuple[int, ...]) -> str:
    stretch = Stretch.measured(read_shown(raster.path, numbers, _MEASURED_PX))
    if len(numbers) == 1:
        renderer = _renderer("singlebandgray", grayBand=str(numbers[0]), gradient="BlackToWhite")
        _limits(renderer, "contrastEnhancement", raster, numbers[0], stretch)
    else:
        names = ("red", "green", "blue")
        renderer = _renderer("multibandcolor", **{f"{n}Band": str(i) for n, i in zip(names, numbers, strict=True)})
        for name, number in zip(names, numbers, strict=True):
            _limits(renderer, f"{name}ContrastEnhancement", raster, number, stretch)
    return _document(renderer, gamma=GAMMA)


def _limits(parent: ElementTree.Element, name: str, raster: MapRaster, number: int, stretch: Stretch) -> None:
    """Add the limits of a band in the values that QGIS shows, which have scale and offset applied."""
    scale, offset = raster.scales[number - 1], raster.offsets[number - 1]
    enhancement = ElementTree.SubElement(parent, name)
    for key, value in (("minValue", stretch.low), ("maxValue", stretch.high)):
        ElementTree.SubElement(enhancement, key).text = f"{value * scale + offset:.8g}"
    ElementTree.SubElement(enhancement, "algorithm").text = "StretchToMinimumMaximum"


def _palette(number: int, palette: Palette, unit: float) -> str:
    """Write the style of one band; ``unit`` is the palette's value of a value 1 that QGIS shows."""
    low, high = f"{palette.low / unit:g}", f"{palette.high / unit:g}"
    renderer = _renderer("singlebandpseudocolor", band=str(number), classificationMin=low, classificationMax=high)
    shader = ElementTree.SubElement(
        ElementTree.SubElement(renderer, "rastershader"),
        "colorrampshader",
        colorRampType="INTERPOLATED",
        classificationMode="1",
        clip="0",
        minimumValue=low,
        maximumValue=high,
        labelPrecision="2",
    )
    for value, colour in palette.steps():
        shown = f"{value / unit:g}"
        ElementTree.SubElement(shader, "item", value=shown, label=f"{value:g}", color=colour, alpha="255")
    return _document(renderer)


def _renderer(kind: str, **attributes: str) -> ElementTree.Element:
    form = {"type": kind, "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    return ElementTree.Element("rasterrenderer", form | attributes)


def _document(renderer: ElementTree.Element, gamma: float = 1.0) -> str:
    root = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    root.append(ElementTree.Comment(f" {MARK} "))
    pipe = ElementTree.SubElement(root, "pipe")
    pipe.append(renderer)
    ElementTree.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma=f"{gamma:g}")
    ElementTree.SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0", colorizeOn="0")
    ElementTree.SubElement(pipe, "rasterresampler", maxOversampling="2")
    ElementTree.SubElement(root, "blendMode").text = "0"
    ElementTree.indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ElementTree.tostring(root, "unicode") + "\n"
