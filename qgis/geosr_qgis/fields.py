"""Statistics of fields over time."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from .algorithm import OUTPUT, GeosrAlgorithm, Parameters, source_of
from .command_line import Value

PRODUCTS = "PRODUCTS"
FOLDER = "FOLDER"
FIELDS = "FIELDS"
ID = "ID"
INDEX = "INDEX"
PLOTS = "PLOTS"
OVERWRITE = "OVERWRITE"
ROWS = "ROWS"


class FieldsAlgorithm(GeosrAlgorithm):
    """The command ``geosr fields``."""

    NAME = "fields"
    TITLE = "Fields over time"
    HELP = (
        "Statistics of indices in polygons, by date: means with half-widths, medians, percentiles, and shares of "
        "nodata and clouds. Products are layers, or a folder that the command geosr batch made.\n\n"
        "An existing table is appended to: dates whose rows are there are not computed again."
    )
    SUBCOMMAND = "fields"

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(QgsProcessingParameterMultipleLayers(PRODUCTS, "Products", QgsProcessing.TypeRaster, optional=True))
        self.add(
            QgsProcessingParameterFile(
                FOLDER, "Folder of products, instead of layers", QgsProcessingParameterFile.Folder, optional=True
            )
        )
        self.add(QgsProcessingParameterFeatureSource(FIELDS, "Fields", [QgsProcessing.TypeVectorPolygon]))
        self.add(
            QgsProcessingParameterField(ID, "Column that names the fields", None, FIELDS, optional=True),
            "Their numbers where none is given.",
        )
        self.add(
            QgsProcessingParameterString(INDEX, "Indices", "ndvi"),
            "ndvi, ndre, ndwi, nbr, or an expression of bands in reflectance, as ratio=B08/B04; several with commas.",
        )
        self.add(
            QgsProcessingParameterBoolean(OVERWRITE, "Compute a table of other fields or indices anew", False),
            advanced=True,
        )
        self.addParameter(
            QgsProcessingParameterVectorDestination(OUTPUT, "Statistics of fields", QgsProcessing.TypeVectorPolygon)
        )
        self.addParameter(
            QgsProcessingParameterFolderDestination(PLOTS, "Plots over time", optional=True, createByDefault=False)
        )
        self.addOutput(QgsProcessingOutputNumber(ROWS, "Rows of the table"))

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Parameters:
        layers = self.parameterAsLayerList(parameters, PRODUCTS, context) if parameters.get(PRODUCTS) else []
        folder = self.text(parameters, FOLDER, context)
        if not layers and folder is None:
            raise QgsProcessingException("there are no products: choose layers, or a folder that geosr batch made")
        path, layer = self.parameterAsCompatibleSourceLayerPathAndLayerName(
            parameters, FIELDS, context, ["gpkg", "geojson", "shp", "fgb"], "gpkg", feedback
        )
        output = self.parameterAsOutputLayer(parameters, OUTPUT, context)
        plots = self.parameterAsString(parameters, PLOTS, context) if parameters.get(PLOTS) else None
        options: dict[str, Value] = {
            "--output": output,
            "--fields": path,
            "--layer": layer,
            "--id": self.text(parameters, ID, context),
            "--index": self.text(parameters, INDEX, context),
            "--plots": plots,
            "--overwrite": self.parameterAsBoolean(parameters, OVERWRITE, context),
        }
        made = self.geosr([*map(source_of, layers), *([folder] if folder else [])], options, feedback)
        if not made:
            return {}
        for note in made["notes"]:
            feedback.pushInfo(note)
        results: Parameters = {OUTPUT: output, ROWS: made["rows"]}
        return {**results, PLOTS: plots} if plots else results
