"""Progress of a command, read from the lines that it writes on standard error."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

#: Beginning of the lines that the command writes for people: its errors, and servers that it waits for.
_SPOKEN = "geosr: "

#: Note with which ``geosr fields`` begins an image.
_IMAGE = re.compile(r"image (\d+) of (\d+)\b")

#: Share of a run that its chunks take; the product is assembled in the rest.
_CHUNKS = 0.95


@dataclass
class Progress:
    """State of a command that makes one product, or several one after the other."""

    products: int = 1
    """Products that the command makes."""
    percent: float = 0.0
    error: str | None = None
    """Line that the command wrote for people and nothing followed: its error where it fails."""
    _begun: int = field(default=0, repr=False)

    def read(self, line: str) -> list[str]:
        """Take a line; return what a user should read by now."""
        held, self.error = self.error, None
        texts = [] if held is None else [held]
        line = line.rstrip()
        if line.startswith(_SPOKEN):
            self.error = line[len(_SPOKEN) :]
            return texts
        text = self._take(line)
        return [*texts, text] if text else texts

    def _take(self, line: str) -> str | None:
        event = _event(line)
        if event is None:
            return line
        kind = event.get("event")
        if kind == "begin":
            self._begun += 1
            self._advance(event)
            return str(event.get("description", ""))
        if kind == "chunk":
            self._advance(event)
            return None
        if kind == "note":
            self._count_images(str(event.get("text", "")))
        if kind == "note" and str(event.get("text", "")).endswith("is up to date: nothing to do"):
            self._begun += 1
        return str(event["text"]) if "text" in event else None

    def _count_images(self, text: str) -> None:
        image = _IMAGE.match(text)
        if image is not None:
            number, total = map(int, image.groups())
            self.percent = max(self.percent, 100 * (number - 1) / max(total, 1))

    def _advance(self, event: dict[str, object]) -> None:
        total, finished = event.get("chunks"), event.get("finished")
        if isinstance(total, int) and isinstance(finished, int) and total > 0:
            share = (max(self._begun, 1) - 1 + _CHUNKS * finished / total) / max(self.products, self._begun)
            self.percent = max(self.percent, min(100.0, 100 * share))


def _event(line: str) -> dict[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
