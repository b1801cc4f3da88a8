"""The engine for CPUs in float32: 3 × 3 convolutions by Winograd's minimal filtering, and what follows them.

Start with :mod:`geosr.engine.winograd.engine`. ``layout`` places images in memory, ``dispatch`` runs generated code
on threads, ``network`` and ``constraint`` are the two halves of a model. May import ``engine`` and
:mod:`geosr.codegen`, which holds the kernels.
"""
