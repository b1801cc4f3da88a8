"""Cubes in Zarr version 3: a folder, in which a date is added without touching another.

A date is written beside the cube in a store of its own. Its pieces are then moved into the cube's arrays, behind the
end that these have, where no reader looks. The consolidated metadata of the cube, replaced at last in one step, make
them visible. A kill before leaves the cube as it was, and the next run begins with the same date again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask

import tiling
from catalog.strict_json import to_json
from geosr.cube.dates import CubeDate
from geosr.cube.layout import DIMENSIONS, FORM, PIECE_PX, PRODUCTS, attributes_of, dataset_of, square_of
from geosr.errors import ExistsError

#: Metadata of a group or array, and the folder of an array's pieces.
_METADATA, _PIECES = "zarr.json", "c"


class ZarrStore:
    """A cube in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the cube. Raises :class:`ExistsError` for a folder of something else."""
        try:
            found: dict[str, Any] = self._metadata()["attributes"]
            _ = found[PRODUCTS], found[FORM]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ExistsError(f"{self.path} exists and is no cube of geosr: --overwrite replaces it") from error
        return found

    def create(self, date: CubeDate, records: Sequence[Mapping[str, str]], work: Path) -> None:
        """Put a cube of one date in its place; ``work`` is an empty folder beside it."""
        draft, old = work / "cube.zarr", work / "old.zarr"
        self._write(date, records, draft)
        if self.path.exists():
            self.path.rename(old)
        draft.rename(self.path)

    def append(self, date: CubeDate, records: Sequence[Mapping[str, str]], work: Path) -> None:
        """Add a date; ``records`` are those of all dates, this one's last."""
        draft, place = work / "date.zarr", len(records) - 1
        self._write(date, records, draft)
        root = self._metadata()
        consolidated = root["consolidated_metadata"]["metadata"]
        arrays = [name for name, one in consolidated.items() if one.get("dimension_names", [""])[:1] == [DIMENSIONS[0]]]
        for name in arrays:
            target, made = self.path / name / _PIECES / str(place), draft / name / _PIECES / "0"
            # A run that was killed may have left pieces of another date.
            if target.is_dir():
                shutil.rmtree(target)
            target.unlink(missing_ok=True)
            if made.exists():
                target.parent.mkdir(exist_ok=True)
                made.rename(target)
        for name in arrays:
            consolidated[name]["shape"][0] = place + 1
            own = json.loads((self.path / name / _METADATA).read_text(encoding="utf-8"))
            own["shape"][0] = place + 1
            tiling.write(self.path / name / _METADATA, [to_json(own, indent=2).encode()])
        root["attributes"] = attributes_of(date.form, records)
        tiling.write(self.path / _METADATA, [to_json(root, indent=2).encode()])

    def _metadata(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.path / _METADATA).read_text(encoding="utf-8"))
        return content

    def _write(self, date: CubeDate, records: Sequence[Mapping[str, str]], path: Path) -> None:
        """Write a store of one date, a square of a band at a time."""
        import warnings

        from zarr.codecs import BloscCodec

        made = dataset_of(date, records)
        square = square_of(date.form)
        for name, variable in made.variables.items():
            if variable.dims == DIMENSIONS:
                variable.encoding = {
                    "chunks": (1, PIECE_PX, PIECE_PX),
                    "shards": (1, *square),
                    "compressors": [BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")],
                }
            elif name == "time":
                variable.encoding["chunks"] = (1,)
        with warnings.catch_warnings(), dask.config.set(scheduler="synchronous"):
            # Consolidated metadata of version 3 are a convention of Zarr and xarray, not yet of the format.
            warnings.filterwarnings("ignore", message="Consolidated metadata")
            made.to_zarr(path, mode="w", zarr_format=3, consolidated=True, safe_chunks=False)
