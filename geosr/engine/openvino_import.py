"""OpenVINO without its telemetry: by default its import alone reports to a server, and nobody here was asked."""

from __future__ import annotations

import sys

# Where that package cannot be imported, OpenVINO does without. One that was imported before stays as it is.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
from openvino import opset13 as op  # noqa: E402

__all__ = ["op", "ov"]
