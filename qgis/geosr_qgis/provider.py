"""The algorithms as a provider of Processing, and its setting: the path of the command."""

from __future__ import annotations

import shutil
from pathlib import Path

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsProcessingException, QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

#: Key of the setting.
COMMAND = "GEOSR_COMMAND"


def command() -> str:
    """Path of the command: as set, or as found on the PATH. Raises :class:`QgsProcessingException`."""
    named = ProcessingConfig.getSetting(COMMAND)
    if named:
        return str(Path(named).expanduser())
    found = shutil.which("geosr")
    if found is None:
        raise QgsProcessingException(
            "the command geosr is not on the PATH of QGIS: install it (python -m pip install "
            "'geosr[cpu,change,fields]'), and name it in Settings, Options, Processing, Providers, geosr"
        )
    return found


class GeosrProvider(QgsProcessingProvider):
    """Algorithms of the command ``geosr``."""

    def id(self) -> str:
        return "geosr"

    def name(self) -> str:
        return "geosr"

    def longName(self) -> str:
        return "geosr, super-resolution of satellite imagery"

    def icon(self) -> QIcon:
        return QIcon(str(Path(__file__).with_name("icon.svg")))

    def load(self) -> bool:
        ProcessingConfig.settingIcons[self.name()] = self.icon()
        ProcessingConfig.addSetting(
            Setting(self.name(), COMMAND, "Command geosr (empty: as found on the PATH)", "", valuetype=Setting.FILE)
        )
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        ProcessingConfig.removeSetting(COMMAND)

    def loadAlgorithms(self) -> None:
        from .change import ChangeAlgorithm
        from .fields import FieldsAlgorithm
        from .scene import SceneAlgorithm
        from .search import SearchAlgorithm
        from .upscale import UpscaleAlgorithm

        for algorithm in (UpscaleAlgorithm, SceneAlgorithm, SearchAlgorithm, ChangeAlgorithm, FieldsAlgorithm):
            self.addAlgorithm(algorithm())

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        return ["tif", "tiff"]

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        return ["gpkg", "geojson"]

    def supportsNonFileBasedOutput(self) -> bool:
        return False
