"""Products as maps: previews, 8-bit images, QGIS styles and comparisons.

Start with :mod:`geosr.maps.outputs`, what ``geosr upscale`` writes beside a product. ``raster`` reads any raster at the
size of a picture, ``stretch`` and ``palettes`` make colours of it, ``qml`` writes styles. May import ``run`` and
everything below it.
"""
