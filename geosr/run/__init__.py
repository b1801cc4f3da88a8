"""One run, from a request to a published product; it survives interruption.

Start with :mod:`geosr.run.pipeline`, which reads top to bottom: ``definition`` makes a ``Run`` (``upscale_run``) of a
``request``, ``chunk`` is one chunk's work, ``checkpoint`` keeps finished chunks, ``executor``
and ``cluster`` decide where chunks are computed, ``product`` is the form and the tags of the output, ``publishing``
puts it in its place. May import ``inference``, ``engine`` and what lies below them.
"""
