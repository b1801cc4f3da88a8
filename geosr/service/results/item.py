"""A result's STAC Item as clients get it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_item(path: Path) -> dict[str, Any]:
    """An Item whose links lead elsewhere: where the service keeps its files is nobody else's business."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    links = [link for link in content.get("links", ()) if link["href"].startswith(("http://", "https://"))]
    return {**content, "links": links}


def item_bytes(path: Path) -> bytes:
    """Bytes of the Item as a download."""
    return json.dumps(read_item(path), indent=2).encode()
