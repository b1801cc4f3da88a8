"""Parameters and the run that the algorithms of one product share."""

from __future__ import annotations

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputRasterLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
)

from .algorithm import CLIP, MASK_CLOUDS, MODEL, OUTPUT, GeosrAlgorithm, Parameters
from .command_line import Value

UNCERTAINTY = "UNCERTAINTY"
KEEP = "KEEP"
SHARPNESS = "SHARPNESS"
RESTART = "RESTART"
UNCERTAINTY_LAYER = "UNCERTAINTY_LAYER"
MEASURED_LAYER = "MEASURED_LAYER"


class ProductAlgorithm(GeosrAlgorithm):
    """Base of the algorithms that make one product."""

    SUBCOMMAND = "upscale"

    def add_product(self) -> None:
        """Add how to upscale and where to write."""
        self.add(
            QgsProcessingParameterBoolean(UNCERTAINTY, "Uncertainty and measured fraction as layers", False),
            "Half the width of each pixel's 90 % interval, and how much of the local detail is measured.",
        )
        self.add_model()
        self.add(
            QgsProcessingParameterString(KEEP, "Bands to write, as B04,B03,B02", optional=True),
            "All bands that the model needs are used; empty writes all.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                SHARPNESS, "Sharpness", QgsProcessingParameterNumber.Double, 0.0, minValue=0.0, maxValue=1.0
            ),
            "Above 0 the product looks sharper and is not for measuring; above 0.5 not advised.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean(RESTART, "Forget an unfinished run with other settings", False),
            advanced=True,
        )
        self.addParameter(QgsProcessingParameterRasterDestination(OUTPUT, "Upscaled"))
        self.addOutput(QgsProcessingOutputRasterLayer(UNCERTAINTY_LAYER, "Half-widths"))
        self.addOutput(QgsProcessingOutputRasterLayer(MEASURED_LAYER, "Measured fraction"))

    def make_product(
        self,
        sources: list[str],
        options: dict[str, Value],
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> Parameters:
        """Run the command with the shared options as well; return the algorithm's results."""
        defined = {definition.name() for definition in self.parameterDefinitions()}
        shared: dict[str, Value] = {
            "--output": self.parameterAsOutputLayer(parameters, OUTPUT, context),
            **self.area(parameters, context, feedback),
            "--clip": self.parameterAsBoolean(parameters, CLIP, context),
            "--mask-clouds": MASK_CLOUDS in defined and self.parameterAsBoolean(parameters, MASK_CLOUDS, context),
            "--uncertainty": self.parameterAsBoolean(parameters, UNCERTAINTY, context),
            "--model": self.text(parameters, MODEL, context),
            "--keep": self.text(parameters, KEEP, context),
            "--sharpness": self.parameterAsDouble(parameters, SHARPNESS, context) or None,
            "--restart": self.parameterAsBoolean(parameters, RESTART, context),
            "--style": True,
            "--overwrite": True,
        }
        made = self.geosr(sources, {**shared, **options}, feedback)
        return self.load(
            context,
            {
                OUTPUT: ("Upscaled", made.get("cog")),
                UNCERTAINTY_LAYER: ("Half-widths", made.get("uncertainty")),
                MEASURED_LAYER: ("Measured fraction", made.get("measured")),
            },
        )
