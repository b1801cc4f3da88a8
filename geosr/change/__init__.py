"""Change between two dates of one place: what exceeds the errors of both, with its area and a situation map.

Start with :mod:`geosr.change.detect`, which reads from top to bottom. ``indices`` defines the spectral indices,
``dates`` reads the two dates on one grid, ``grid`` takes their difference, ``levels`` measures it on unchanged ground,
``extent`` finds where change ends, ``polygons`` turns it into areas, ``result`` sums them up, and ``situation_map``
draws the page. May import ``run``, ``evaluate`` and ``registration``.
"""
