"""Properties of this machine: cores, memory, and instructions that decide how fast a network runs."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

#: Where a container's limit on its memory is, bytes or "max": control groups in their second and first version.
_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

#: What drivers of GPUs have on Linux: Nvidia's, the same in Windows' subsystem, and AMD's.
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")

#: Instructions that decide how fast a network runs on a CPU.
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")


def cores() -> int:
    """Cores that this process may use: ``OMP_NUM_THREADS`` where it is set, as Dask sets it for its workers."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory that this process may use: the machine's, or the container's where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _MEMORY_LIMITS:
        if path.is_file() and (limit := path.read_text(encoding="ascii").strip()).isdecimal():
            total = min(total, int(limit))
    return total


def release_free_memory() -> None:
    """Give memory that was freed, and that the C library keeps for later, back to the system; on Linux with glibc.

    Many arrays of some megabytes, made and freed by several threads, otherwise leave hundreds of megabytes behind.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


@lru_cache(maxsize=1)
def cpu_flags() -> frozenset[str]:
    """The processor's instructions among :data:`CPU_FLAGS`; none where the system does not tell."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return frozenset()
    lines = path.read_text(encoding="utf-8").splitlines()
    told = set(next((line for line in lines if line.startswith("flags")), "").split())
    return frozenset(told & set(CPU_FLAGS))


def has_fast_bfloat16() -> bool:
    """Tell whether the processor multiplies matrices of bfloat16 several times as fast as of float32."""
    return "amx_bf16" in cpu_flags()


def has_openvino() -> bool:
    """Tell whether OpenVINO is installed."""
    return find_spec("openvino") is not None


@contextmanager
def without_modules(*names: str) -> Iterator[None]:
    """Let imports fail meanwhile as where the packages ``names`` are not installed; those loaded already stay.

    This is the only place that edits ``sys.modules``. Two libraries load an optional package wherever it is installed,
    and neither has a setting against it:

    - OpenVINO reports each ``import openvino`` to a server when ``openvino_telemetry`` can be imported (pull request
      23832 there, "Send Telemetry info during importing of openvino"). Users opt out by a command that writes a file
      into their home; a library that imports OpenVINO for them cannot. To be asked of upstream as: "Let applications
      turn telemetry off before ``import openvino``, by an environment variable".
    - rio-tiler imports xarray and rioxarray with ``rio_tiler.io``, for a reader that is optional (pull request 530
      there, "Xarray reader"). With pandas and Dask, which come along, that takes longer than all else that the service
      imports. To be asked of upstream as: "Import ``XarrayReader`` lazily, by ``__getattr__`` of ``rio_tiler.io``".
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def has_native() -> bool:
    """Tell whether code of our own can be compiled for this processor, see :mod:`geosr.codegen`."""
    return find_spec("llvmlite") is not None and bool(cpu_flags() & {"avx2", "avx512f"})


def has_winograd() -> bool:
    """Tell whether Winograd's engine can run: its code is our own, and OpenVINO runs the rest."""
    return has_native() and has_openvino()


def may_have_gpu() -> bool:
    """Tell whether there may be a GPU that PyTorch reaches as CUDA, without loading PyTorch."""
    return not sys.platform.startswith("linux") or any(Path(device).exists() for device in _GPU_DEVICES)
