"""Upscale a product of Sentinel-2 or a STAC Item, which QGIS need not be able to open."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProcessingContext, QgsProcessingFeedback, QgsProcessingParameterString

from .algorithm import Parameters
from .product import ProductAlgorithm

SOURCE = "SOURCE"


class SceneAlgorithm(ProductAlgorithm):
    """The command ``geosr upscale SCENE``."""

    NAME = "scene"
    TITLE = "Upscale a .SAFE product or STAC Item"
    HELP = (
        "Upscales a scene that is given by path or address: a .SAFE folder or zip, a STAC Item, or a raster. Give an "
        "extent or polygons, or all of the scene is upscaled."
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self.add(QgsProcessingParameterString(SOURCE, "Path or address of the scene"))
        self.add_area()
        self.add_mask_clouds()
        self.add_product()

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Parameters:
        source = self.parameterAsString(parameters, SOURCE, context).strip()
        return self.make_product([source], {}, parameters, context, feedback)
