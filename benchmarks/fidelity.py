"""Fidelity of models on held-out imagery that was blurred and sampled like Sentinel-2: ``geosr evaluate``, kept.

    python benchmarks/fidelity.py --data DATA

Real-ESRGAN's published weights are compared with where DATA holds them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from machine import keep

from geosr.evaluate.evaluation import EvaluationRequest, evaluate
from geosr.evaluate.result import as_json
from geosr.model import zoo
from geosr.progress import PlainReporter

PEER = "weights/realesrgan_x4plus_rgb_fp16.safetensors"


def main() -> None:
    """Evaluate on every standard set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the imagery")
    parser.add_argument("--model", default=zoo.DEFAULT_MODEL)
    arguments = parser.parse_args()
    peer = arguments.data / PEER
    against = (str(peer),) if peer.is_file() else ()
    evaluation = as_json(evaluate(EvaluationRequest(arguments.model, arguments.data, against), PlainReporter()))
    keep(
        "fidelity",
        "python benchmarks/fidelity.py --data DATA",
        {
            "model": evaluation["model"],
            "sigma_hr_px": evaluation["sensor"]["sigma_hr_px"],
            "multiply_adds_per_lr_px": {
                name: one["multiply_adds_per_lr_px"] for name, one in evaluation["contenders"].items()
            },
            "sets": {name: one["figures"] for name, one in evaluation["sets"].items()},
            "coverage": {name: one["coverage"] for name, one in evaluation["sets"].items()},
        },
    )


if __name__ == "__main__":
    main()
