"""HTTP routes: ``scenes``, ``fields``, ``processes`` (jobs), ``results`` (STAC API), ``result_tiles`` (map tiles).

May import every other part of the service but :mod:`geosr.service.app`, which mounts them.
"""
