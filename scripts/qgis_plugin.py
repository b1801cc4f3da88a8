"""Make the zip of the QGIS plugin, which Plugins, Manage and Install Plugins, Install from ZIP takes.

python scripts/qgis_plugin.py [FOLDER]    # writes geosr_qgis-VERSION.zip there, by default to dist/
"""

from __future__ import annotations

import sys
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

REPOSITORY = Path(__file__).resolve().parent.parent
PLUGIN = REPOSITORY / "qgis" / "geosr_qgis"

#: Endings of the files that belong to the plugin.
_ENDINGS = (".py", ".txt", ".svg")

#: Time of all entries, so that the same files make the same zip.
_TIME = (1980, 1, 1, 0, 0, 0)


def version() -> str:
    """Version in the plugin's metadata."""
    metadata = ConfigParser()
    metadata.read(PLUGIN / "metadata.txt", encoding="utf-8")
    return metadata["general"]["version"]


def make_zip(folder: Path) -> Path:
    """Write the zip to a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{PLUGIN.name}-{version()}.zip"
    files = {f"{PLUGIN.name}/{file.name}": file for file in sorted(PLUGIN.iterdir()) if file.suffix in _ENDINGS}
    files[f"{PLUGIN.name}/LICENSE"] = REPOSITORY / "LICENSE"
    with ZipFile(path, "w") as made:
        for name, file in files.items():
            entry = ZipInfo(name, _TIME)
            entry.compress_type = ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            made.writestr(entry, file.read_bytes())
    return path


if __name__ == "__main__":
    print(make_zip(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "dist"))
