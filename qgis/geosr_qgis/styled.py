"""Styles of results: QGIS loads results of Processing without the style that lies beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from processing.gui.RenderingStyles import RenderingStyles
from qgis.core import QgsMapLayer, QgsProcessingContext, QgsProcessingLayerPostProcessorInterface

#: QGIS keeps no reference to Python's post-processors.
_KEPT: list[QgsProcessingLayerPostProcessorInterface] = []


class _Styled(QgsProcessingLayerPostProcessorInterface):
    """Apply the style beside a layer, unless the user chose one for this output of the algorithm."""

    def __init__(self, path: str, algorithm: str, output: str) -> None:
        super().__init__()
        self._path, self._algorithm, self._output = path, algorithm, output

    def postProcessLayer(self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: Any) -> None:
        if RenderingStyles.getStyle(self._algorithm, self._output) is None:
            layer.loadNamedStyle(str(Path(self._path).with_suffix(".qml")))
            layer.triggerRepaint()
        if self in _KEPT:
            _KEPT.remove(self)


def load_styled(context: QgsProcessingContext, algorithm: str, output: str, path: str, name: str) -> None:
    """Have a raster loaded when the algorithm is done, in its style."""
    if not context.willLoadLayerOnCompletion(path):
        context.addLayerToLoadOnCompletion(path, QgsProcessingContext.LayerDetails(name, context.project(), output))
    style = _Styled(path, algorithm, output)
    _KEPT.append(style)
    context.layerToLoadOnCompletionDetails(path).setPostProcessor(style)
