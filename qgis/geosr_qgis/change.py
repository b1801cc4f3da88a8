"""Map change between two dates."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputRasterLayer,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorDestination,
)

from .algorithm import MODEL, OUTPUT, GeosrAlgorithm, Parameters
from .command_line import Value

BEFORE = "BEFORE"
AFTER = "AFTER"
INDEX = "INDEX"
LEAST = "LEAST"
LEAST_HECTARES = "LEAST_HECTARES"
POLYGONS = "POLYGONS"
REPORT = "REPORT"

#: Names of the indices, with their titles.
INDICES = {"ndwi": "NDWI, water", "ndvi": "NDVI, vegetation", "nbr": "NBR, burns", "ndbi": "NDBI, built-up or bare"}

#: Rasters that are loaded beside the map, by the key of the command's result.
RASTERS = {
    "DIFFERENCE": ("difference", "Difference of the index"),
    "BEFORE_PRODUCT": ("before", "Before, upscaled"),
    "AFTER_PRODUCT": ("after", "After, upscaled"),
}

#: Hectares among the results.
HECTARES = {"LESS_HECTARES": ("less", "Hectares of decrease"), "MORE_HECTARES": ("more", "Hectares of increase")}


class ChangeAlgorithm(GeosrAlgorithm):
    """The command ``geosr change``."""

    NAME = "change"
    TITLE = "Change between two dates"
    HELP = (
        "Upscales two layers of one place and one grid, registers them, and maps where an index differs by more than "
        "the errors of both dates: water, vegetation, burns or built-up ground, with areas in hectares."
    )
    SUBCOMMAND = "change"
    PRODUCTS = 2

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(QgsProcessingParameterRasterLayer(BEFORE, "Layer of the earlier date"))
        self.add(QgsProcessingParameterRasterLayer(AFTER, "Layer of the later date"))
        self.add(
            QgsProcessingParameterEnum(INDEX, "Index", list(INDICES.values()), defaultValue=0),
            "NBR and NDBI need ten bands of Sentinel-2.",
        )
        self.add_area(clip=False)
        number = QgsProcessingParameterNumber
        self.add(number(LEAST, "Smallest difference of the index", number.Double, 0.1, False, 0.0, 2.0), advanced=True)
        self.add(number(LEAST_HECTARES, "Smallest area, hectares", number.Double, 0.1, False, 0.0), advanced=True)
        self.add_model()
        self.addParameter(QgsProcessingParameterRasterDestination(OUTPUT, "Change"))
        self.addParameter(
            QgsProcessingParameterVectorDestination(
                POLYGONS, "Changed areas", QgsProcessing.TypeVectorPolygon, optional=True, createByDefault=True
            )
        )
        self.addParameter(
            QgsProcessingParameterFileDestination(
                REPORT, "Situation map", "HTML (*.html);;PDF (*.pdf)", optional=True, createByDefault=False
            )
        )
        for name, (_, title) in RASTERS.items():
            self.addOutput(QgsProcessingOutputRasterLayer(name, title))
        for name, (_, title) in HECTARES.items():
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Parameters:
        polygons = self.parameterAsOutputLayer(parameters, POLYGONS, context) if parameters.get(POLYGONS) else None
        report = self.parameterAsFileOutput(parameters, REPORT, context) if parameters.get(REPORT) else None
        options: dict[str, Value] = {
            "--output": self.parameterAsOutputLayer(parameters, OUTPUT, context),
            "--index": list(INDICES)[self.parameterAsEnum(parameters, INDEX, context)],
            **self.area(parameters, context, feedback),
            "--least": self.parameterAsDouble(parameters, LEAST, context),
            "--least-hectares": self.parameterAsDouble(parameters, LEAST_HECTARES, context),
            "--model": self.text(parameters, MODEL, context),
            "--polygons": polygons,
            "--report": report,
            "--style": True,
            "--overwrite": True,
        }
        sources = [self.raster(parameters, name, context) for name in (BEFORE, AFTER)]
        made = self.geosr(sources, options, feedback)
        if not made:
            return {}
        files = made["files"]
        for note in made["notes"]:
            feedback.pushInfo(note)
        rasters = {name: (title, files[key]) for name, (key, title) in RASTERS.items()}
        results = self.load(context, {OUTPUT: ("Change", files["map"]), **rasters})
        results.update({name: made["fine"][key]["hectares"] for name, (key, _) in HECTARES.items()})
        for name, path in ((POLYGONS, polygons), (REPORT, report)):
            if path:
                results[name] = path
        return results
