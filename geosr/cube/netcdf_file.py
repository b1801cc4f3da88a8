"""Cubes in NetCDF-4: one file. A date is added to a copy of it, which then takes its place in one step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask

from geosr.cube.dates import CubeDate
from geosr.cube.layout import DIMENSIONS, FORM, PIECE_PX, PRODUCTS, attributes_of, dataset_of, square_of
from geosr.errors import ExistsError


class NetcdfFile:
    """A cube in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the cube. Raises :class:`ExistsError` for a file of something else."""
        import h5netcdf

        try:
            with h5netcdf.File(self.path, "r") as file:
                return {name: file.attrs[name] for name in (PRODUCTS, FORM)}
        except (OSError, LookupError, ValueError) as error:
            raise ExistsError(f"{self.path} exists and is no cube of geosr: --overwrite replaces it") from error

    def create(self, date: CubeDate, records: Sequence[Mapping[str, str]], work: Path) -> None:
        """Put a cube of one date in its place; ``work`` is an empty folder beside it."""
        made = dataset_of(date, records)
        rows, cols = date.form.geobox.shape
        piece = (1, min(PIECE_PX, rows), min(PIECE_PX, cols))
        for variable in made.variables.values():
            if variable.dims == DIMENSIONS:
                variable.encoding = {"chunksizes": piece, "zlib": True, "complevel": 4, "shuffle": True}
        draft = work / "cube.nc"
        with dask.config.set(scheduler="synchronous"):
            made.to_netcdf(draft, engine="h5netcdf", unlimited_dims=["time"])
        self._install(draft)

    def append(self, date: CubeDate, records: Sequence[Mapping[str, str]], work: Path) -> None:
        """Add a date; ``records`` are those of all dates, this one's last."""
        import h5netcdf

        draft, place = work / "cube.nc", len(records) - 1
        shutil.copyfile(self.path, draft)
        made = dataset_of(date, records)
        high, wide = square_of(date.form)
        rows, cols = date.form.geobox.shape
        with h5netcdf.File(draft, "r+") as file, dask.config.set(scheduler="synchronous"):
            file.resize_dimension("time", place + 1)
            file.variables["time"][place] = int(made["time"].to_numpy()[0])
            for name, variable in made.data_vars.items():
                for top in range(0, rows, high):
                    for left in range(0, cols, wide):
                        part = variable.data[0, top : top + high, left : left + wide].compute()
                        bottom, right = top + part.shape[0], left + part.shape[1]
                        file.variables[str(name)][place, top:bottom, left:right] = part
            for key, value in attributes_of(date.form, records).items():
                file.attrs[key] = value
        self._install(draft)

    def _install(self, draft: Path) -> None:
        """Put a finished file in its place."""
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(self.path)
