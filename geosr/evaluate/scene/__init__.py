"""Noise, blur and registration of bands, measured on a scene itself.

Start with :mod:`geosr.evaluate.scene.measure`. May import ``catalog`` and :mod:`geosr.evaluate.consistency`.
"""
