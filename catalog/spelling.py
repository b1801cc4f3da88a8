"""Options and parameters by the names that users give them in, for messages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spelling:
    """Options as the user gives them."""

    scale: str
    offset: str
    nodata: str
    otherwise: str
    """Advice for values that are no reflectance."""


COMMAND = Spelling("--scale {:g}", "--offset {:g}", "--nodata {}", ", or --plain-image to upscale values as they are")
PYTHON = Spelling("scale={:g}", "offset={:g}", "nodata={}", "")
CONFIGURED = Spelling("scale: {:g}", "offset: {:g}", "nodata: {}", "")
