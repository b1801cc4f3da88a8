"""Cubes: the products of one grid along time, in Zarr or NetCDF by the CF conventions.

Start with :mod:`geosr.cube.append`. ``dates`` lists the products and checks that they fit, ``layout`` describes a date
by CF, ``zarr_store`` and ``netcdf_file`` keep the cube on a disk. May import ``fields`` and everything below it.
"""
