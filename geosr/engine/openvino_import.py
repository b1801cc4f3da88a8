"""OpenVINO without its telemetry, see :func:`geosr.hardware.without_modules`."""

from __future__ import annotations

from geosr.hardware import without_modules

# One that was imported before stays as it is.
with without_modules("openvino_telemetry"):
    import openvino as ov
    from openvino import opset13 as op

__all__ = ["op", "ov"]
