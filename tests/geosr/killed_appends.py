"""Append products to a cube in processes that kill themselves at one file operation after another.

    python -m tests.geosr.killed_appends CUBE UNDISTURBED PRODUCT...

The first product begins both cubes. UNDISTURBED is the one that no process is killed at. Prints for each process how
many operations it was let, the signal by which it ended, and how many dates the cube had when it was dead.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import h5netcdf
import xarray as xr

from geosr.cube import layout, netcdf_file, zarr_store
from geosr.cube.append import CubeRequest, build_cube

#: Operations by which a cube is changed: something is renamed into it, or it is copied.
EVENTS = ("os.rename", "shutil.copyfile")

#: Operations more that each process is let than the one before.
STEP = 7


def main() -> None:
    """Let each process do more, until one is not killed."""
    cube, undisturbed, products = Path(sys.argv[1]), Path(sys.argv[2]), tuple(sys.argv[3:])
    for module in (layout, zarr_store, netcdf_file):
        module.PIECE_PX = 32
    layout.SQUARE_PX = 64
    for path in (cube, undisturbed):
        build_cube(CubeRequest(products[:1], path))
    # All that is imported late is there then, once for all processes; Zarr's thread starts anew in each of them.
    build_cube(CubeRequest(products, undisturbed))
    let, status = 0, signal.SIGKILL
    while status:
        child = os.fork()
        if not child:
            append(cube, products, let)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        print(let, os.waitstatus_to_exitcode(status), dates_of(cube), flush=True)  # noqa: T201
        let += STEP


def append(cube: Path, products: tuple[str, ...], let: int) -> None:
    """Append, and die at the operation after those that are let; without any, as soon as the first file is written."""
    done = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal done
        if event == "os.kill":
            return  # its own
        paths = " ".join(map(str, arguments))
        if (event in EVENTS and str(cube) in paths) or (event == "open" and not let and "zarr.json" in paths):
            done += 1
        if done > let:
            os.kill(os.getpid(), signal.SIGKILL)

    write = h5netcdf.Variable.__setitem__

    def counted(self: h5netcdf.Variable, key: object, value: object) -> None:
        count("shutil.copyfile", (cube,))
        write(self, key, value)

    h5netcdf.Variable.__setitem__ = counted
    sys.addaudithook(count)
    build_cube(CubeRequest(products, cube))


def dates_of(cube: Path) -> int:
    """Dates of a cube as a reader sees them."""
    with xr.open_zarr(cube) if cube.suffix == ".zarr" else xr.open_dataset(cube) as opened:
        return opened.sizes["time"]


if __name__ == "__main__":
    main()
