"""The plugin: it adds its algorithms to Processing, and takes them out."""

from __future__ import annotations

from qgis.core import QgsApplication

from .provider import GeosrProvider


class GeosrPlugin:
    """Plugin without windows of its own."""

    def __init__(self) -> None:
        self._provider: GeosrProvider | None = None

    def initProcessing(self) -> None:
        """Add the algorithms; ``qgis_process`` calls this alone."""
        self._provider = GeosrProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        """Start in QGIS."""
        self.initProcessing()

    def unload(self) -> None:
        """Take the algorithms out."""
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None
