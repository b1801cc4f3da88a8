"""Kernels of the Winograd engine: generated code for images in the layout of :mod:`geosr.engine.winograd.layout`.

Start with :mod:`geosr.codegen.winograd.library`, which names every compiled function. ``arguments`` holds the
structures that code shares with Python. May import :mod:`geosr.codegen` and ``model``.
"""
