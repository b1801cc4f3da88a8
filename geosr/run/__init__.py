"""One run, from a request to a published product; it survives interruption.

Start with :mod:`geosr.run.pipeline`, which reads top to bottom. ``chunk`` is one chunk's work and decides its margin,
``checkpoint`` keeps finished chunks, ``executor`` and ``cluster`` decide where chunks are computed, ``product`` is
what is left behind. May import ``inference``, ``engine`` and what lies below them.
"""
