"""Machine and versions behind a figure, and the folder of results."""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from geosr import hardware

RESULTS = Path(__file__).parent / "results"

_VERSIONS = ("geosr", "torch", "openvino", "llvmlite", "rasterio", "numpy")


def arguments_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options of all benchmarks."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="the smallest case only, to see that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where results are kept")
    return parser


def command_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> str:
    """The command of a benchmark, with the options that change what it measures; of files, what they are."""
    words = ["python", f"benchmarks/{parser.prog}"]
    for name, value in vars(arguments).items():
        if value == parser.get_default(name) or name in ("smoke", "results"):
            continue
        values = value if isinstance(value, list) else [name.upper() if isinstance(value, Path) else value]
        words += [f"--{name}", *([] if value is True else map(str, values))]
    return " ".join(words)


def machine() -> dict[str, Any]:
    """Processor, its cores and instructions, and the versions that matter."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in info if ":" in line)
    flags = hardware.cpu_flags()
    return {
        "processor": _processor(fields),
        "cores": hardware.cores(),
        "memory_gib": round(hardware.memory_bytes() / 2**30, 1),
        "amx": "amx_tile" in flags,
        "avx512": "avx512f" in flags,
        "versions": {name: version(name) for name in _VERSIONS},
    }


def _processor(fields: dict[str, str]) -> str:
    """Its name, and where it is told its family and model: clouds give several generations one name."""
    name, *numbers = (fields.get(key, "").strip() for key in ("model name\t", "cpu family\t", "model\t\t"))
    return f"{name or 'unknown'} (family {numbers[0]}, model {numbers[1]})" if all(numbers) else name or "unknown"


def in_words(machine: dict[str, Any]) -> str:
    """The sentence on a result's ``machine``."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"Machine: {machine['processor']}, {machine['cores']} cores, "
        f"AVX-512 {'yes' if machine['avx512'] else 'no'}, AMX {'yes' if machine['amx'] else 'no'}; {versions}."
    )


def keep(name: str, command: str, content: dict[str, Any], results: Path = RESULTS) -> None:
    """Write a result with its command and machine; ``benchmarks/report.py`` makes the page of them."""
    results.mkdir(exist_ok=True)
    result = {"command": command, "machine": machine(), **content}
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (results / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
