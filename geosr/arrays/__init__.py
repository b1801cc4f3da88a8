"""The xarray interface: ``geosr.upscale(da)`` and ``da.geosr``.

Start with :mod:`geosr.arrays.upscale`. ``grid`` reads and refines an array's grid, ``encoding`` keeps how its values
are stored, ``chunks`` computes the image, ``dataset`` adds the uncertainty. May import ``run`` and everything below
it.
"""
