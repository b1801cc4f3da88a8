"""Machine code that is generated at run time, as LLVM's intermediate representation.

Start with :mod:`geosr.codegen.builder`, which writes functions, and :mod:`geosr.codegen.compiler`, which compiles
them. ``quantize`` makes DN of an image, ``tiff_blocks`` encodes blocks, ``winograd`` holds convolutions. May import
``model`` and ``hardware``; callers import it lazily, since llvmlite is optional.
"""
