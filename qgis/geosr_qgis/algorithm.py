"""An algorithm that runs the command ``geosr``: shared parameters, progress, errors and results."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterString,
    QgsRasterLayer,
)
from qgis.PyQt.QtGui import QIcon

from .child import NotFoundError, run
from .command_line import Value, bounding_box, clean_environment, command_line, shown
from .progress import Progress
from .provider import command
from .styled import load_styled

OUTPUT = "OUTPUT"
EXTENT = "EXTENT"
AREA = "AREA"
CLIP = "CLIP"
MASK_CLOUDS = "MASK_CLOUDS"
MODEL = "MODEL"

Parameters = dict[str, Any]


class GeosrAlgorithm(QgsProcessingAlgorithm):
    """Base of the algorithms."""

    #: Set by each algorithm.
    NAME = ""
    TITLE = ""
    HELP = ""
    SUBCOMMAND = ""
    PRODUCTS = 1

    def name(self) -> str:
        return self.NAME

    def displayName(self) -> str:
        return self.TITLE

    def shortHelpString(self) -> str:
        return self.HELP

    def icon(self) -> QIcon:
        return self.provider().icon() if self.provider() else QIcon()

    def createInstance(self) -> GeosrAlgorithm:
        return type(self)()

    def add(self, parameter: QgsProcessingParameterDefinition, help_text: str = "", *, advanced: bool = False) -> None:
        """Add a parameter."""
        parameter.setHelp(help_text)
        if advanced:
            parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
        self.addParameter(parameter)

    def add_area(self, *, clip: bool = True) -> None:
        """Add an extent and polygons that bound the area."""
        self.add(QgsProcessingParameterExtent(EXTENT, "Extent", optional=True))
        self.add(
            QgsProcessingParameterFeatureSource(
                AREA, "Polygons of the area, instead of an extent", [QgsProcessing.TypeVectorPolygon], optional=True
            )
        )
        if clip:
            self.add(QgsProcessingParameterBoolean(CLIP, "Cut to the polygons", defaultValue=False))

    def add_mask_clouds(self) -> None:
        """Add the mask of clouds."""
        self.add(
            QgsProcessingParameterBoolean(MASK_CLOUDS, "Make clouds and shadows nodata", defaultValue=False),
            "For sources with a scene classification: .SAFE products and STAC Items of Sentinel-2 L2A.",
        )

    def add_model(self) -> None:
        """Add the model."""
        self.add(
            QgsProcessingParameterString(MODEL, "Model", optional=True),
            "A name that the command geosr models prints, or a card file; empty for the default.",
            advanced=True,
        )

    def area(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Value]:
        """Options of the area."""
        options: dict[str, Value] = {}
        if parameters.get(EXTENT):
            degrees = QgsCoordinateReferenceSystem("EPSG:4326")
            box = self.parameterAsExtent(parameters, EXTENT, context, degrees)
            options["--bbox"] = bounding_box(box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())
        if parameters.get(AREA):
            path, layer = self.parameterAsCompatibleSourceLayerPathAndLayerName(
                parameters, AREA, context, ["gpkg", "geojson", "shp", "fgb"], "gpkg", feedback
            )
            options["--aoi"], options["--layer"] = path, layer
        return options

    def text(self, parameters: Parameters, name: str, context: QgsProcessingContext) -> str | None:
        """A text, or None where it is empty."""
        return self.parameterAsString(parameters, name, context).strip() or None

    def number(self, parameters: Parameters, name: str, context: QgsProcessingContext) -> float | None:
        """A number, or None where none was given."""
        return None if parameters.get(name) in (None, "") else self.parameterAsDouble(parameters, name, context)

    def raster(self, parameters: Parameters, name: str, context: QgsProcessingContext) -> str:
        """Path or address of a raster layer. Raises :class:`QgsProcessingException` for layers that are no files."""
        layer = self.parameterAsRasterLayer(parameters, name, context)
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, name))
        return source_of(layer)

    def geosr(
        self,
        sources: Sequence[str],
        options: Mapping[str, Value],
        feedback: QgsProcessingFeedback,
    ) -> Parameters:
        """Run the command and return what it prints; empty where the user cancelled.

        Raises :class:`QgsProcessingException` with the command's one line where it fails.
        """
        arguments = command_line(command(), self.SUBCOMMAND, sources, options)
        feedback.pushCommandInfo(shown(arguments))
        progress = Progress(self.PRODUCTS)

        def read(line: str) -> None:
            for text in progress.read(line):
                feedback.pushInfo(text)
            feedback.setProgress(progress.percent)

        try:
            outcome = run(arguments, clean_environment(os.environ), read, feedback.isCanceled)
        except NotFoundError as error:
            raise QgsProcessingException(
                f"cannot start {error}; name the command in Settings, Options, Processing, Providers, geosr"
            ) from error
        if outcome.cancelled:
            feedback.pushInfo("cancelled: the same run to the same file goes on where it was")
            return {}
        if outcome.code:
            raise QgsProcessingException(progress.error or f"geosr ended with code {outcome.code} and said nothing")
        feedback.setProgress(100)
        result: Parameters = json.loads(outcome.output)
        return result

    def load(self, context: QgsProcessingContext, paths: Mapping[str, tuple[str, str | None]]) -> Parameters:
        """Load rasters in their styles with the main output, if that is loaded; return the algorithm's results.

        ``paths`` has a title and a path, or None, by the output's name; the main output comes first.
        """
        written = {name: (title, path) for name, (title, path) in paths.items() if path}
        first = next(iter(written.values()), None)
        if first is not None and context.willLoadLayerOnCompletion(first[1]):
            for name, (title, path) in written.items():
                load_styled(context, self.id(), name, str(path), title)
        return {name: path for name, (_, path) in written.items()}


def source_of(layer: QgsRasterLayer) -> str:
    """Path or address of a raster layer. Raises :class:`QgsProcessingException` for layers that are no files."""
    if layer.providerType() != "gdal":
        raise QgsProcessingException(
            f"{layer.name()} is a layer of {layer.providerType()}, not a raster file: save it as GeoTIFF first"
        )
    source = str(layer.source())
    return source[len("/vsicurl/") :] if source.startswith("/vsicurl/") else source
