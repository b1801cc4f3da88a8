"""Upscale a raster layer."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from .algorithm import Parameters, source_of
from .product import ProductAlgorithm

INPUT = "INPUT"
MORE = "MORE"
BANDS = "BANDS"
SENSOR = "SENSOR"
PLAIN_IMAGE = "PLAIN_IMAGE"
NUMBERS = {
    "SCALE": ("--scale", "Reflectance per DN, instead of what the file says"),
    "OFFSET": ("--offset", "Reflectance at DN 0, instead of what the file says"),
    "NODATA": ("--nodata", "A DN without measurement, besides those of the file"),
}


class UpscaleAlgorithm(ProductAlgorithm):
    """The command ``geosr upscale RASTER``."""

    NAME = "upscale"
    TITLE = "Upscale a layer"
    HELP = (
        "Upscales a raster layer four times, as Sentinel-2 of 10 m to 2.5 m. Reflectance, bands and CRS stay, and "
        "pixels line up with the source's. The layer's bands have to be known: by their descriptions, or named below."
        "\n\n"
        "Cancelled and started again with the same settings and file, a run goes on where it was."
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(QgsProcessingParameterRasterLayer(INPUT, "Layer"))
        self.add_area()
        self.add(
            QgsProcessingParameterMultipleLayers(
                MORE, "Further layers of the same date, joined to it", QgsProcessing.TypeRaster, optional=True
            ),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterString(BANDS, "Names of the bands in order, as B02,B03,B04,B08", optional=True),
            "For a raster whose bands have no names; a dash skips one.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterString(SENSOR, "Instrument", optional=True),
            "Decides reflectance and blur where the file does not, as sentinel-2-l2a.",
            advanced=True,
        )
        for name, (_, title) in NUMBERS.items():
            self.add(
                QgsProcessingParameterNumber(name, title, QgsProcessingParameterNumber.Double, None, optional=True),
                advanced=True,
            )
        self.add(
            QgsProcessingParameterBoolean(PLAIN_IMAGE, "A plain image, without CRS or reflectance", False),
            advanced=True,
        )
        self.add_product()

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Parameters:
        more = self.parameterAsLayerList(parameters, MORE, context) if parameters.get(MORE) else []
        options = {
            "--bands": self.text(parameters, BANDS, context),
            "--sensor": self.text(parameters, SENSOR, context),
            "--plain-image": self.parameterAsBoolean(parameters, PLAIN_IMAGE, context),
            **{option: self.number(parameters, name, context) for name, (option, _) in NUMBERS.items()},
        }
        sources = [self.raster(parameters, INPUT, context), *map(source_of, more)]
        return self.make_product(sources, options, parameters, context, feedback)
