"""Files of a result in one archive, and its preview."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from fastapi import Response
from fastapi.responses import FileResponse, StreamingResponse

from geosr.service.jobs.display_files import style_path
from geosr.service.jobs.record import SUCCESSFUL, Job
from geosr.service.problems import Problem
from geosr.service.results.item import item_bytes

_COPY_BYTES = 2**20


def preview_of(job: Job) -> Response:
    """A picture of a result. Raises :class:`Problem` where there is none."""
    path = _files_of(job)[job.process.main].with_name(job.process.preview)
    if not path.exists():
        raise Problem(404, "the job has no preview")
    headers = {"Cache-Control": "private, max-age=600"}
    return FileResponse(path, media_type="image/png", headers=headers, stat_result=path.stat())


def bundle_of(job: Job) -> Response:
    """An archive of a result: its files, styles for QGIS and a preview. Raises :class:`Problem`."""
    files = {name: path for name, path in _files_of(job).items() if job.process.outputs[name].bundled}
    headers = {"Content-Disposition": f'attachment; filename="geosr-{job.id[:8]}.zip"'}
    return StreamingResponse(_archive(job, files), media_type="application/zip", headers=headers)


def _files_of(job: Job) -> dict[str, Path]:
    files = job.files()
    if job.status != SUCCESSFUL or job.process.main not in files:
        raise Problem(404, "the job has no such file")
    return files


def _archive(job: Job, files: dict[str, Path]) -> Iterator[bytes]:
    """Parts of the archive, written as they are read: rasters are compressed already, and none is held whole."""
    out, outputs = _Parts(), job.process.outputs
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files.items():
            if name == "item":
                archive.writestr(_entry(job, outputs[name].file), item_bytes(path))
                continue
            with path.open("rb") as source, archive.open(_entry(job, outputs[name].file), "w", force_zip64=True) as to:
                while part := source.read(_COPY_BYTES):
                    to.write(part)
                    yield out.take()
            style = style_path(path)
            # The style is that of the raster: a table beside it may have the same stem.
            if path.suffix == ".tif" and style.exists():
                archive.writestr(_entry(job, style_path(Path(outputs[name].file)).name), style.read_bytes())
        preview = files[job.process.main].with_name(job.process.preview)
        if preview.exists():
            archive.writestr(_entry(job, preview.name), preview.read_bytes())
    yield out.take()


def _entry(job: Job, name: str) -> zipfile.ZipInfo:
    made = datetime.fromtimestamp(job.finished or job.updated, UTC)
    return zipfile.ZipInfo(f"geosr-{job.id[:8]}/{name}", made.timetuple()[:6])


class _Parts:
    """Bytes of a writer that were not taken yet."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> bytes:
        """Return what was written, and forget it."""
        taken, self._parts = b"".join(self._parts), []
        return taken
