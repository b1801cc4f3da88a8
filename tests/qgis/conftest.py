"""The plugin's modules, which QGIS finds in its own folder of plugins."""

from __future__ import annotations

import sys

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "qgis"))
