"""HTTP routes: ``scenes``, ``processes`` (jobs), ``results`` (STAC API) and ``result_tiles`` (map tiles of products).

May import every other part of the service but :mod:`geosr.service.app`, which mounts them.
"""
