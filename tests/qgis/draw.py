"""Draw rasters as QGIS shows them: ``draw.py RASTER PNG …``, with the Python that has QGIS's modules."""

from __future__ import annotations

import os
import sys

from qgis.core import QgsApplication, QgsMapRendererParallelJob, QgsMapSettings, QgsRasterLayer
from qgis.PyQt.QtCore import QSize, Qt


def draw(raster: str, png: str) -> None:
    """Draw one raster in its own size, by the style beside it."""
    layer = QgsRasterLayer(raster, "layer")
    if not layer.isValid():
        sys.exit(f"QGIS cannot open {raster}")
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setExtent(layer.extent())
    settings.setOutputSize(QSize(layer.width(), layer.height()))
    settings.setBackgroundColor(Qt.transparent)
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    if job.errors() or not job.renderedImage().save(png):
        sys.exit(f"QGIS cannot draw {raster}")


application = QgsApplication([], False)
application.initQgis()
for one in range(1, len(sys.argv), 2):
    draw(*sys.argv[one : one + 2])
sys.stdout.flush()
# Debian's QGIS 3.22 may crash while it takes itself down.
os._exit(0)
