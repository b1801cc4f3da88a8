"""Delivery of results: by value or by reference, in a document or raw, whole or in ranges."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from geosr.service.context import Context
from geosr.service.jobs.callbacks import Subscriber
from geosr.service.jobs.processes import Process
from geosr.service.jobs.record import FAILED, SUCCESSFUL, Job
from geosr.service.problems import RESULT_NOT_READY, Problem
from geosr.service.results.item import item_bytes

#: Bytes of a raster that a document holds at most; larger ones are given by reference.
_MOST_VALUE_BYTES = 32 * 2**20


class Output(BaseModel):
    """Form in which an output is wanted."""

    model_config = ConfigDict(extra="allow")

    transmission_mode: Literal["value", "reference"] = Field(default="reference", alias="transmissionMode")


class Delivery(BaseModel):
    """Form in which results are wanted."""

    model_config = ConfigDict(extra="forbid")

    outputs: dict[str, Output] | None = None
    response: Literal["raw", "document"] = "document"
    subscriber: Subscriber | None = None

    def check(self, process: Process) -> None:
        """Raises :class:`Problem` for what the process does not give."""
        wanted = self.outputs or {}
        unknown = set(wanted) - set(process.outputs)
        if unknown:
            raise Problem(400, f"outputs: {', '.join(sorted(unknown))} is none of {', '.join(process.outputs)}")
        by_value = "value" in {one.transmission_mode for one in wanted.values()}
        if by_value and self.response == "raw" and len(wanted) != 1:
            raise Problem(409, "outputs: raw and by value is given one output; several in a document, or by reference")


def results_of(job: Job, context: Context, wanted: Delivery) -> Response:
    """The answer with a job's results. Raises :class:`Problem` while there are none."""
    if job.status == FAILED:
        raise Problem(job.failure_status or 500, f"the job failed: {job.message}")
    if job.status != SUCCESSFUL:
        kind = RESULT_NOT_READY if not job.over else "about:blank"
        raise Problem(404 if not job.over else 410, f"the job is {job.status}: it has no results", kind=kind)
    files, outputs = job.files(), job.process.outputs
    names = [name for name in wanted.outputs or outputs if name in files]
    if wanted.response == "raw" and wanted.outputs and len(wanted.outputs) == 1:
        (name, output) = next(iter(wanted.outputs.items()))
        if name not in files:
            raise Problem(404, f"outputs: the job has no {name}")
        if output.transmission_mode == "value":
            return _file(job, name, files[name])
    if wanted.response == "raw":
        links = [
            f'<{_address(job, context, name)}>; rel="related"; type="{outputs[name].media}"; title="{name}"'
            for name in names
        ]
        return Response(status_code=204, headers={"Link": ", ".join(links)})
    return JSONResponse(document_of(job, context, wanted))


def document_of(job: Job, context: Context, wanted: Delivery) -> dict[str, Any]:
    """The results of a job as a document, each by value or as a link."""
    files = job.files()
    names = [name for name in wanted.outputs or job.process.outputs if name in files]
    return {name: _in_document(job, name, _address(job, context, name), wanted) for name in names}


def _address(job: Job, context: Context, name: str) -> str:
    return context.url(f"/jobs/{job.id}/files/{job.process.outputs[name].file}")


def _in_document(job: Job, name: str, href: str, wanted: Delivery) -> Any:
    """An output in a document: OGC's qualified value where it is wanted by value and not too large, or a link."""
    output, path = job.process.outputs[name], job.files()[name]
    title, media = output.title, output.media
    length = length_of(name, path)
    by_value = wanted.outputs is not None and wanted.outputs[name].transmission_mode == "value"
    if by_value and name == "item":
        return {"value": json.loads(item_bytes(path)), "mediaType": media}
    if by_value and length <= _MOST_VALUE_BYTES and media.startswith("text/"):
        return {"value": path.read_text(encoding="utf-8"), "mediaType": media}
    if by_value and length <= _MOST_VALUE_BYTES and media.endswith("json"):
        return {"value": json.loads(path.read_bytes()), "mediaType": media}
    if by_value and length <= _MOST_VALUE_BYTES:
        return {"value": base64.b64encode(path.read_bytes()).decode(), "encoding": "base64", "mediaType": media}
    return {"href": href, "type": media, "title": title, "length": length}


def length_of(name: str, path: Path) -> int:
    """Bytes of an output as clients get it."""
    return len(item_bytes(path)) if name == "item" else path.stat().st_size


def named_file(job: Job, name: str) -> Response:
    """A file of a finished job by the name that downloads have. Raises :class:`Problem`."""
    files = job.files()
    output = next((one for one, known in job.process.outputs.items() if known.file == name), None)
    if output is None:
        # Items of earlier versions link a layer by the name that its file had then.
        output = next((one for one, path in files.items() if path.name == name), None)
    path = None if output is None else files.get(output)
    if output is None or path is None or job.status != SUCCESSFUL:
        raise Problem(404, "the job has no such file")
    return _file(job, output, path)


def unless_known(request: Request, response: Response) -> Response:
    """304 where the client has what ``response`` would give, by its ETag."""
    tag = response.headers.get("etag")
    if tag is None or not is_known(request, tag):
        return response
    return Response(status_code=304, headers={"ETag": tag})


def is_known(request: Request, tag: str) -> bool:
    """Tell whether the client has what an ETag stands for."""
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    return bool({tag, "*"} & set(known))


def _file(job: Job, output: str, path: Path) -> Response:
    name, media = f"geosr-{job.id[:8]}-{path.name}", job.process.outputs[output].media
    if output == "item":
        content = item_bytes(path)
        tag = hashlib.sha256(content).hexdigest()[:32]
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "ETag": f'"{tag}"'}
        return Response(content, media_type=media, headers=headers)
    # Its ETag is of the file's size and time, which are asked for now.
    return FileResponse(path, media_type=media, filename=name, stat_result=path.stat())
