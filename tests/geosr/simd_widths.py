"""The SIMD widths that tests can run here: 8 floats on every processor with AVX2, and 16 with AVX-512."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from geosr import hardware

WIDTHS = (8, 16) if "avx512f" in hardware.cpu_flags() else (8,)


@contextmanager
def processor_of(simd_width):
    """Let code that asks for the processor's instructions see one of this width."""
    flags = {"avx2"} if simd_width == 8 else {"avx2", "avx512f"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
        yield
