"""Processing plugin of QGIS that runs the installed command ``geosr``.

``command_line``, ``progress`` and ``child`` know nothing of QGIS: they build a command, read its progress and run it.
The other modules are the plugin. Everything works on QGIS 3.22 and Python 3.9 or newer, without packages of its own.
"""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:
    """Make the plugin. QGIS calls it."""
    from .plugin import GeosrPlugin

    return GeosrPlugin()
