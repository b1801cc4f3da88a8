"""Draw layers of a running service in QGIS: ``clients_in_qgis.py LAYERS.json``, with the Python that has its modules.

Each layer has a ``name``, the ``provider`` and the ``source`` by which QGIS opens it, the ``extent`` to draw, metres of
Web Mercator, and the ``png`` to write. Printed is, as JSON, for each its CRS, size and bands.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsRectangle,
)
from qgis.PyQt.QtCore import QSize, Qt

SIDE_PX = 256


def draw(one: dict[str, Any]) -> dict[str, Any]:
    """Draw a layer as QGIS does when it is added."""
    layer = QgsRasterLayer(one["source"], one["name"], one["provider"])
    if not layer.isValid():
        return {"error": f"QGIS cannot open it: {layer.error().summary()}"}
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    settings.setExtent(QgsRectangle(*one["extent"]))
    settings.setOutputSize(QSize(SIDE_PX, SIDE_PX))
    settings.setBackgroundColor(Qt.transparent)
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    if job.errors() or not job.renderedImage().save(one["png"]):
        return {"error": "QGIS cannot draw it"}
    return {"crs": layer.crs().authid(), "size": [layer.width(), layer.height()], "bands": layer.bandCount()}


application = QgsApplication([], False)
application.initQgis()
made = [draw(one) for one in json.loads(Path(sys.argv[1]).read_text())]
sys.stdout.write(json.dumps(made) + "\n")
sys.stdout.flush()
# Debian's QGIS 3.22 may crash while it takes itself down.
os._exit(0)
