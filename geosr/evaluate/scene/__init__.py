"""What a scene's pixels are: noise, blur and registration of bands, measured on the scene itself.

Start with :mod:`geosr.evaluate.scene.measure`. May import ``catalog`` and :mod:`geosr.evaluate.consistency`.
"""
