"""Runs that are disturbed at a moment of their work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from geosr.run.pipeline import super_resolve
from geosr.run.request import UpscaleRequest
from tests.geosr.test_resume import Recorder, request


class Disturbed(Recorder):
    """Does something at the first chunk, or before each assembly of the product."""

    def __init__(
        self, *, first_chunk: Callable[[], object] | None = None, assembling: Callable[[], object] | None = None
    ) -> None:
        super().__init__()
        self._first_chunk, self._assembling = first_chunk, assembling

    def chunk(self, key: str, finished: int, total: int) -> None:
        super().chunk(key, finished, total)
        if self._first_chunk is not None and len(self.computed) == 1:
            self._first_chunk()

    def stage(self, text: str) -> None:
        if self._assembling is not None and text == "assembling":
            self._assembling()


def finished_run(folder: Path, sample, **options) -> tuple[UpscaleRequest, bytes]:
    """The request of a run of four chunks, and the bytes that it leaves when nothing disturbs it; they are removed."""
    wanted = request(folder, sample, **options)
    super_resolve(wanted)
    content = wanted.output.read_bytes()
    for path in (wanted.output, wanted.output.with_suffix(".json")):
        path.unlink()
    return wanted, content
