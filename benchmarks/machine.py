"""What a figure was measured on, and where results are kept."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Processor, whether it has AMX and AVX-512, and the versions that matter."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in info if ":" in line)
    flags = fields.get("flags\t\t", "").split()
    return {
        "processor": fields.get("model name\t", "unknown").strip(),
        "cores": os.cpu_count(),
        "amx": "amx_tile" in flags,
        "avx512": "avx512f" in flags,
        "versions": {name: version(name) for name in ("geosr", "torch", "rasterio", "numpy")},
    }


def keep(name: str, command: str, content: dict[str, Any]) -> None:
    """Write a result with its command and machine; ``benchmarks/report.py`` makes the page of them."""
    RESULTS.mkdir(exist_ok=True)
    result = {"command": command, "machine": machine(), **content}
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
