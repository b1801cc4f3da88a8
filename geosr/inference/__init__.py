"""From the DN of a window to super-resolved DN.

Start with :mod:`geosr.inference.upscaler`, where DN become reflectance. ``quantize`` makes DN of the engine's image,
``scene_calibration`` adapts half-widths to a scene. May import ``engine``, ``codegen`` and ``model``; knows nothing
of files, runs or chunks.
"""
