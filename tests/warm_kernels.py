"""Kernels that most runs compile. A process that imports this has them, as have those that are forked from it."""

from __future__ import annotations

from geosr import hardware

if hardware.has_native():
    from geosr.codegen import quantize, tiff_blocks
    from geosr.codegen.compiler import simd_width_here
    from geosr.codegen.winograd import library

    library.compiled()
    for module in (quantize, tiff_blocks):
        module._compiled(simd_width_here())
