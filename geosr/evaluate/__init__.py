"""Measures of how good an upscaled image is.

Start with :mod:`geosr.evaluate.evaluation`: truth, sensor, contenders, figures. ``metrics``, ``consistency`` and
``correctness`` define the figures, ``report`` and ``publish`` write them. May import ``inference`` and ``model``.
"""
