"""Take the pictures of docs/guide/qgis.md in QGIS itself, without a screen.

Needs QGIS, and an installed geosr on the PATH; run with the Python that has QGIS's modules:

QT_QPA_PLATFORM=offscreen /usr/bin/python3 scripts/qgis_pictures.py FOLDER    # by default docs/images
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = ["/usr/share/qgis/python/plugins", str(REPOSITORY / "qgis")]

from qgis.core import (  # noqa: E402
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
)
from qgis.PyQt.QtCore import QSize, Qt  # noqa: E402
from qgis.PyQt.QtGui import QImage, QPainter  # noqa: E402

SAMPLE = REPOSITORY / "geosr" / "data" / "sample.tif"

#: Ground that the map shows, in shares of the sample's sides from its upper left corner, and the picture's side.
PART = (0.02, 0.55, 0.42, 0.95)
SIDE_PX = 520
GAP_PX = 8


def upscale(source: Path) -> list[QgsRasterLayer]:
    """Run the algorithm as its dialog does, and return the layers that it adds to the project."""
    from processing.gui.Postprocessing import handleAlgorithmResults

    project = QgsProject.instance()
    context = QgsProcessingContext()
    context.setProject(project)
    feedback = QgsProcessingFeedback()
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geosr:upscale")
    output = QgsProcessingOutputLayerDefinition(str(source.with_name("upscaled.tif")), project)
    parameters = {"INPUT": str(source), "UNCERTAINTY": True, "OUTPUT": output}
    _, done = algorithm.run(parameters, context, feedback, {}, False)
    if not done or not handleAlgorithmResults(algorithm, context, feedback, parameters=parameters):
        sys.exit("the algorithm failed")
    return [project.mapLayersByName(name)[0] for name in ("Upscaled", "Half-widths")]


def source_layer(source: Path, product: QgsRasterLayer) -> QgsRasterLayer:
    """Load the sample in the colours of its product."""
    layer = QgsRasterLayer(str(source), "Sentinel-2, 10 m")
    layer.loadNamedStyle(str(Path(product.source()).with_suffix(".qml")))
    return layer


def draw_map(layers: list[QgsRasterLayer], path: Path) -> None:
    """Draw one part of the ground in each layer, side by side."""
    whole = layers[0].extent()
    left, top, right, bottom = PART
    part = QgsRectangle(
        whole.xMinimum() + left * whole.width(),
        whole.yMaximum() - bottom * whole.height(),
        whole.xMinimum() + right * whole.width(),
        whole.yMaximum() - top * whole.height(),
    )
    sheet = QImage(len(layers) * (SIDE_PX + GAP_PX) - GAP_PX, SIDE_PX, QImage.Format_RGB32)
    sheet.fill(Qt.white)
    pen = QPainter(sheet)
    for i, layer in enumerate(layers):
        settings = QgsMapSettings()
        settings.setLayers([layer])
        settings.setDestinationCrs(layer.crs())
        settings.setExtent(part)
        settings.setOutputSize(QSize(SIDE_PX, SIDE_PX))
        job = QgsMapRendererParallelJob(settings)
        job.start()
        job.waitForFinished()
        pen.drawImage(i * (SIDE_PX + GAP_PX), 0, job.renderedImage())
    pen.end()
    sheet.save(str(path))


def grab_dialog(algorithm: str, path: Path) -> None:
    """Take a picture of an algorithm's dialog."""
    from processing.gui.AlgorithmDialog import AlgorithmDialog

    dialog = AlgorithmDialog(QgsApplication.processingRegistry().createAlgorithmById(algorithm), False, None)
    dialog.resize(980, 660)
    dialog.show()
    for _ in range(20):
        QgsApplication.processEvents()
    dialog.grab().save(str(path))
    dialog.close()


def main(folder: Path) -> None:
    """Write the pictures."""
    application = QgsApplication([], True)
    application.initQgis()
    from processing.core.Processing import Processing

    Processing.initialize()
    from geosr_qgis import classFactory

    plugin = classFactory(None)
    plugin.initProcessing()
    with tempfile.TemporaryDirectory() as name:
        # QGIS writes statistics beside the rasters that it draws.
        source = Path(shutil.copy(SAMPLE, name))
        layers = upscale(source)
        draw_map([source_layer(source, layers[0]), *layers], folder / "qgis_map.png")
        QgsProject.instance().clear()
        QgsProject.instance().addMapLayer(QgsRasterLayer(str(source), "Sentinel-2, 10 m"))
        grab_dialog("geosr:upscale", folder / "qgis_dialog.png")
    sys.stdout.flush()
    # Debian's QGIS 3.22 may crash while it takes itself down.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "docs" / "images")
