"""The table of fields: a row for each field, date and measure, in Parquet, GeoParquet, CSV or GeoPackage."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from shapely.geometry.base import BaseGeometry

import tiling
from catalog.features import Feature
from geosr.errors import ExistsError, UsageError

#: Endings of tables, and what they are.
ENDINGS = {".parquet": "Parquet", ".geoparquet": "GeoParquet", ".csv": "CSV", ".gpkg": "GeoPackage"}

#: Columns that say which row it is.
KEYS = ("field", "time", "product", "measure")

#: Last column: digest of all that determines a row.
RUN = "run"

_LAYER = "fields"


@dataclass(frozen=True)
class FieldTable:
    """A table in a file, which is always whole."""

    path: Path
    polygons: Mapping[str | int, BaseGeometry]
    """Places of the fields, in degrees, for formats that have them."""

    @classmethod
    def of(cls, path: Path, fields: Sequence[Feature]) -> FieldTable:
        """Table at a path. Raises :class:`UsageError` for an ending without a format."""
        if path.suffix.lower() not in ENDINGS:
            raise UsageError(f"a table is written as {', '.join(ENDINGS)}, not {path.suffix or path.name}")
        if not path.absolute().parent.is_dir():
            raise UsageError(f"the folder of {path} does not exist")
        return cls(path, {field.id: field.polygon for field in fields})

    def read(self) -> pd.DataFrame:
        """Rows that are there; none without the file.

        Raises :class:`ExistsError` for a file that is no such table.
        """
        if not self.path.exists():
            return pd.DataFrame()
        try:
            rows = self._rows()
        except Exception as error:
            # Readers of four formats raise a dozen exceptions for a file of something else.
            raise ExistsError(f"{self.path} exists and is no table of fields: --overwrite replaces it") from error
        if not {*KEYS, RUN} <= set(rows.columns):
            raise ExistsError(f"{self.path} exists and is no table of fields: --overwrite replaces it")
        rows["time"] = pd.to_datetime(rows["time"], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
        return rows

    def _rows(self) -> pd.DataFrame:
        suffix = self.path.suffix.lower()
        if suffix == ".csv":
            numbers = all(isinstance(name, int) for name in self.polygons)
            kinds = {"field": "int64" if numbers else str, "product": str, "measure": str, RUN: str}
            return pd.read_csv(self.path, dtype=kinds, keep_default_na=False, na_values=[""])
        if suffix == ".gpkg":
            import pyogrio

            read: pd.DataFrame = pyogrio.read_dataframe(self.path, layer=_LAYER, read_geometry=False)
            return read
        return pd.read_parquet(self.path).drop(columns="geometry", errors="ignore")

    def write(self, rows: pd.DataFrame) -> None:
        """Put a table with these rows in its place, in one step.

        Raises :class:`tiling.OutputError`.
        """
        tiling.write(self.path, [self._bytes(rows)])

    def _bytes(self, rows: pd.DataFrame) -> bytes:
        suffix = self.path.suffix.lower()
        if suffix == ".csv":
            text: str = rows.assign(time=rows["time"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")).to_csv(index=False)
            return text.encode()
        buffer = io.BytesIO()
        if suffix == ".parquet":
            rows.to_parquet(buffer, index=False, compression="zstd")
        elif suffix == ".geoparquet":
            self._placed(rows).to_parquet(buffer, index=False, compression="zstd")
        else:
            import pyogrio

            with TemporaryDirectory() as folder:
                draft = Path(folder) / "table.gpkg"
                pyogrio.write_dataframe(self._placed(rows), draft, layer=_LAYER, driver="GPKG")
                return draft.read_bytes()
        return buffer.getvalue()

    def _placed(self, rows: pd.DataFrame) -> Any:
        """Rows with the places of their fields."""
        import geopandas

        return geopandas.GeoDataFrame(rows, geometry=[self.polygons[name] for name in rows["field"]], crs="EPSG:4326")
