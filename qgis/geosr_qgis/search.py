"""Upscale an area from a STAC catalogue."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDateTime,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from .algorithm import Parameters
from .command_line import Value, period
from .product import ProductAlgorithm

FIRST = "FIRST"
LAST = "LAST"
MAX_CLOUD = "MAX_CLOUD"
DATES = "DATES"
FILL = "FILL"
API = "API"
COLLECTION = "COLLECTION"


class SearchAlgorithm(ProductAlgorithm):
    """The command ``geosr upscale --bbox … --datetime …``."""

    NAME = "search"
    TITLE = "Upscale an area from a STAC catalogue"
    HELP = (
        "Searches a STAC catalogue for the clearest scene of an area between two days, reads what lies in the area, "
        "and upscales it four times. The default is Sentinel-2 L2A of Earth Search, which needs no account."
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add_area()
        for name, title in ((FIRST, "First day"), (LAST, "Last day")):
            self.add(QgsProcessingParameterDateTime(name, title, QgsProcessingParameterDateTime.Date, optional=True))
        self.add(
            QgsProcessingParameterNumber(
                MAX_CLOUD, "Highest cloud cover, percent", QgsProcessingParameterNumber.Double, 20.0, False, 0.0, 100.0
            )
        )
        self.add_mask_clouds()
        self.add(
            QgsProcessingParameterNumber(DATES, "Dates that make the image", defaultValue=1, minValue=1, maxValue=16),
            "Above 1, one date's image is corrected by others, so many dates in all.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(FILL, "Fill gaps from other overpasses, clearest first", False), advanced=True
        )
        self.add(
            QgsProcessingParameterString(API, "Address of the STAC API", optional=True),
            "Empty for Earth Search.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterString(COLLECTION, "Collection", optional=True),
            "Empty for sentinel-2-l2a.",
            advanced=True,
        )
        self.add_product()

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Parameters:
        first, last = (
            self.parameterAsDateTime(parameters, name, context).toString("yyyy-MM-dd") if parameters.get(name) else None
            for name in (FIRST, LAST)
        )
        dates = self.parameterAsInt(parameters, DATES, context)
        options: dict[str, Value] = {
            "--dates": dates if dates > 1 else None,
            "--datetime": period(first, last),
            "--max-cloud": self.parameterAsDouble(parameters, MAX_CLOUD, context),
            "--fill": self.parameterAsBoolean(parameters, FILL, context),
            "--api": self.text(parameters, API, context),
            "--collection": self.text(parameters, COLLECTION, context),
        }
        return self.make_product([], options, parameters, context, feedback)
