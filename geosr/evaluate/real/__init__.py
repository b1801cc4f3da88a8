"""Judges that need no simulator: noise, other dates, agreement of bands, range, edges and compression.

Every judge takes a function from reflectance ``(bands, rows, cols)`` to reflectance four times finer, see
:class:`geosr.evaluate.real.subject.Subject`. Begin with :mod:`geosr.evaluate.real.judge`, which runs all of them.
May import :mod:`geosr.model` and the other modules of :mod:`geosr.evaluate`.
"""
