"""Machine code that is generated at run time, as LLVM's intermediate representation.

Start with ``README.md`` beside this file; :mod:`geosr.codegen.builder` writes functions and
:mod:`geosr.codegen.compiler` compiles them. ``quantize`` converts an image to DN, ``tiff_blocks`` encodes blocks,
``winograd`` holds convolutions. May import ``model`` and ``hardware``; callers import it lazily, since llvmlite is
optional.
"""
