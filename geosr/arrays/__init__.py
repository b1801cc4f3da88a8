"""The xarray interface: ``geosr.upscale(data)``, ``da.geosr`` and ``ds.geosr``.

Start with :mod:`geosr.arrays.upscale`. ``array`` upscales a DataArray, ``variables`` a Dataset, both by a ``method``.
``grid`` reads and refines a grid, ``bands``, ``encoding`` and ``attributes`` know what values mean and how they are
stored, ``chunks`` computes images, ``fuse`` makes one of several dates, ``dataset`` adds the uncertainty. May import
``run`` and everything below it.
"""
