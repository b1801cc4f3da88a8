"""Several dates make one image: the reference date's product, sharpened by what further dates really show.

Start with :mod:`geosr.dates.correct`, which corrects the image of one window. ``survey`` registers and harmonises each
date once for a scene, ``weights`` says how much each of its pixels counts, ``sampling`` is the sensor under a shift,
``solve`` solves for the correction; ``fuse`` does all that with DN. May import ``inference``, ``registration`` and
``model``; knows no files, runs or arrays.
"""
