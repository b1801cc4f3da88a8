"""Change between two dates of one place: what exceeds the errors of both, with its area and a situation map.

Start with :mod:`geosr.change.detect`, which reads from top to bottom. ``request`` is what it is asked, ``indices``
defines the spectral indices, ``dates`` reads the two dates on one grid, ``grid`` takes their difference, ``levels``
measures it on unchanged ground, ``extent`` finds where change ends, ``calm`` leaves out finer differences that are
errors, ``texture`` tells roofs from soil, and ``rasters`` writes all that. ``polygons`` turns change into areas,
``districts`` and ``result`` sum them up, ``situation_map`` draws the page, and ``item`` describes the map.
May import ``run``, ``evaluate`` and ``registration``.
"""
