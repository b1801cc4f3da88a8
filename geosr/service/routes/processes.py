"""OGC API – Processes 1.0: what can be done, the execution of it, and jobs (OGC 18-062r2)."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from geosr.service import schemas
from geosr.service.context import CallerOf, Context, ContextOf, address_of, client_of
from geosr.service.jobs.chunk_progress import finished_parts
from geosr.service.jobs.job_filter import JobSearch
from geosr.service.jobs.job_store import JobOrder
from geosr.service.jobs.orders import INPUTS, parse_inputs
from geosr.service.jobs.processes import GEOJSON, PROCESSES, Process
from geosr.service.jobs.record import RUNNING, STATUSES, SUCCESSFUL, Job
from geosr.service.problems import NO_SUCH_PROCESS, Problem
from geosr.service.request_types import Form, OpenPeriod
from geosr.service.routes.bundle import bundle_of, preview_of
from geosr.service.routes.delivery import (
    Delivery,
    document_of,
    length_of,
    named_file,
    results_of,
    unless_known,
)
from geosr.service.routes.order_checks import check_order
from geosr.service.routes.paging import PageOf
from geosr.version import VERSION

router = APIRouter(tags=["processes"])

CONFORMANCE = tuple(
    f"http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/{part}"
    for part in ("core", "ogc-process-description", "json", "oas30", "job-list", "callback", "dismiss")
)

_PREFER_ASYNC = re.compile(r"(^|[,;\s])respond-async($|[,;\s])", re.IGNORECASE)


class Execute(Delivery):
    """A request for execution, as OGC's ``execute.yaml`` has it."""

    inputs: dict[str, Any] = Field(default_factory=dict)


@router.get("/processes", response_model=schemas.ProcessList)
def list_processes(context: ContextOf) -> dict[str, Any]:
    """All processes."""
    return {
        "processes": [_summary(process, context) for process in PROCESSES.values() if process.offered],
        "links": [context.link("/processes", "self")],
    }


@router.get("/processes/{process_id}", response_model=schemas.ProcessDescription, response_model_exclude_none=True)
def describe_process(process_id: str, context: ContextOf) -> dict[str, Any]:
    """Inputs and outputs of a process."""
    process = _process_of(process_id)
    schema = INPUTS[process_id].model_json_schema()
    inputs = {
        name: {
            "title": name.replace("_", " ").capitalize(),
            "description": one.get("description", ""),
            "schema": _plain({key: value for key, value in one.items() if key not in ("description", "title")}),
            "minOccurs": int(name in schema.get("required", ())),
            "maxOccurs": 1,
        }
        for name, one in schema["properties"].items()
    }
    outputs = {
        name: {
            "title": output.title,
            "schema": {"type": "object", "contentMediaType": output.media}
            if output.media == GEOJSON or output.media.endswith("/json")
            else {"type": "string", "contentEncoding": "binary", "contentMediaType": output.media},
        }
        for name, output in process.outputs.items()
    }
    return {**_summary(process, context), "inputs": inputs, "outputs": outputs}


@router.post(
    "/processes/{process_id}/execution",
    responses={200: {"description": "Results"}, 201: {"description": "A job was made", "model": schemas.StatusInfo}},
)
async def execute(process_id: str, wanted: Execute, request: Request, context: ContextOf, caller: CallerOf) -> Response:
    """Execute a process: at once where nothing is preferred, as a job with ``Prefer: respond-async``."""
    wanted.check(_process_of(process_id))
    if wanted.subscriber is not None:
        wanted.subscriber.check(context.settings.callback_hosts)
    context.order_rates.take(client_of(caller, request))
    inputs = await run_in_threadpool(parse_inputs, wanted.inputs, context.settings, process_id)
    await run_in_threadpool(check_order, inputs, context, caller)
    delivery = wanted.model_dump_json(by_alias=True, exclude_defaults=True, exclude={"inputs"})
    order = JobOrder(inputs, delivery)
    job, is_new = await run_in_threadpool(context.jobs.submit, order, caller)
    if _PREFER_ASYNC.search(request.headers.get("prefer", "")):
        headers = {"Location": context.url(f"/jobs/{job.id}"), "Preference-Applied": "respond-async"}
        return JSONResponse(status_of(job, context), 201, headers)
    while not job.over:
        if await request.is_disconnected():
            # Nobody would hear of it, unless it was ordered before.
            if is_new:
                await run_in_threadpool(context.jobs.dismiss, job.id, caller)
            return Response(status_code=499)
        await asyncio.sleep(0.2)
        job = await run_in_threadpool(context.jobs.get, job.id, caller)
    return results_of(job, context, wanted)


def _names(*names: str) -> Form:
    """Form of names with commas between them."""
    one = "|".join(names)
    return Form(f"({one})(,({one}))*", f"give some of {', '.join(names)}")


Statuses = Annotated[str, _names(*STATUSES)]
ProcessIds = Annotated[
    str,
    Form(r"[A-Za-z][A-Za-z0-9_.-]*(,[A-Za-z][A-Za-z0-9_.-]*)*", "give names of processes, with commas between them"),
]


async def _job_search(
    status: Annotated[list[Statuses], Query(default_factory=list)],
    type: Annotated[list[str], Query(default_factory=list)],
    process_id: Annotated[list[ProcessIds], Query(alias="processID", default_factory=list)],
    datetime: Annotated[
        OpenPeriod | None, Query(description="When they were made: an instant, a date, or two with / between.")
    ] = None,
    min_duration: Annotated[int | None, Query(alias="minDuration", ge=0, description="Seconds.")] = None,
    max_duration: Annotated[int | None, Query(alias="maxDuration", ge=0, description="Seconds.")] = None,
) -> JobSearch:
    statuses, processes = (tuple(one for text in texts for one in text.split(",")) for texts in (status, process_id))
    # All jobs are processes'.
    none = ("none",) if type and "process" not in type else ()
    return JobSearch(statuses, datetime, min_duration, max_duration, none or processes)


@router.get("/jobs", response_model=schemas.JobList, response_model_exclude_none=True)
def list_jobs(
    context: ContextOf, caller: CallerOf, page: PageOf, wanted: Annotated[JobSearch, Depends(_job_search)]
) -> dict[str, Any]:
    """List a caller's jobs, the latest first."""
    limit, offset = page.limit, page.offset
    jobs, total = wanted.find(context.jobs, caller, limit, offset)
    links = [context.link(wanted.address(limit, offset), "self")]
    if offset + limit < total:
        links.append(context.link(wanted.address(limit, offset + limit), "next"))
    if offset > 0:
        links.append(context.link(wanted.address(limit, max(0, offset - limit)), "prev"))
    return {"jobs": [status_of(job, context) for job in jobs], "links": links, "numberMatched": total}


@router.get("/jobs/{job_id}", response_model=schemas.StatusInfo, response_model_exclude_none=True)
def get_job(job_id: str, context: ContextOf, caller: CallerOf) -> dict[str, Any]:
    """Status of a job."""
    return status_of(context.jobs.get(job_id, caller), context)


class JobTitle(BaseModel):
    """Name of a job."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(max_length=120, description="Empty to take it away.")


@router.patch("/jobs/{job_id}", response_model=schemas.StatusInfo, response_model_exclude_none=True)
def rename_job(job_id: str, wanted: JobTitle, context: ContextOf, caller: CallerOf) -> dict[str, Any]:
    """Give a job a name."""
    return status_of(context.jobs.rename(job_id, " ".join(wanted.title.split()), caller), context)


@router.delete("/jobs/{job_id}", response_model=schemas.StatusInfo, response_model_exclude_none=True)
def dismiss_job(job_id: str, context: ContextOf, caller: CallerOf) -> dict[str, Any]:
    """Stop a job, and remove what it has made."""
    return status_of(context.jobs.dismiss(job_id, caller), context)


@router.get("/jobs/{job_id}/results")
def get_results(job_id: str, context: ContextOf, caller: CallerOf) -> Response:
    """A job's results, as they were asked for when it was ordered."""
    job = context.jobs.get(job_id, caller)
    return results_of(job, context, Delivery.model_validate_json(job.delivery))


@router.get("/jobs/{job_id}/growth", response_model=schemas.FeatureCollection)
def get_growth(job_id: str, context: ContextOf, caller: CallerOf) -> dict[str, Any]:
    """Parts of a job, finished or not, as GeoJSON."""
    return finished_parts(context.jobs.get(job_id, caller))


@router.get("/jobs/{job_id}/files/{name}")
def get_file(job_id: str, name: str, request: Request, context: ContextOf, caller: CallerOf) -> Response:
    """A result's file, whole or in ranges."""
    return unless_known(request, _file_of(context.jobs.get(job_id, caller), name))


@router.get("/jobs/{job_id}/links")
def get_links(job_id: str, context: ContextOf, caller: CallerOf) -> dict[str, dict[str, Any]]:
    """Links to a result's files that lead there without a key, for some hours."""
    job = context.jobs.get(job_id, caller)
    files = job.files()

    def link(file: str, media: str, title: str, **more: Any) -> dict[str, Any]:
        path, expires = context.signed_links.path(job_id, file)
        return {"href": context.url(path), "type": media, "title": title, **more, "expires": _time(expires)}

    all_of_it = "All of it, with styles and a preview"
    links = {"bundle": link(job.process.bundle, "application/zip", all_of_it)} if files else {}
    for name, output in job.process.outputs.items():
        if name in files:
            length = length_of(name, files[name])
            links[name] = link(output.file, output.media, output.title, length=length)
    return links


@router.get("/shared/{job_id}/{expires}/{signature}/{name}", response_class=Response)
def get_shared_file(
    job_id: str, expires: int, signature: str, name: str, request: Request, context: ContextOf
) -> Response:
    """A result's file by a signed link."""
    context.rates.take(address_of(request))
    context.signed_links.check(job_id, name, expires, signature)
    job = context.jobs.shared(job_id)
    if job is None:
        raise Problem(404, "there is no such job any more")
    return unless_known(request, _file_of(job, name))


def _file_of(job: Job, name: str) -> Response:
    """A file of a finished job, or what is made of its files. Raises :class:`Problem`."""
    made = {job.process.bundle: bundle_of, job.process.preview: preview_of}.get(name)
    return named_file(job, name) if made is None else made(job)


def status_of(job: Job, context: Context) -> dict[str, Any]:
    """A job as OGC's ``statusInfo.yaml`` has it, and a little more."""
    links = [context.link(f"/jobs/{job.id}", "self")]
    if job.status == SUCCESSFUL:
        links.append(context.link(f"/jobs/{job.id}/results", "http://www.opengis.net/def/rel/ogc/1.0/results"))
    status: dict[str, Any] = {
        "processID": job.process_id,
        "type": "process",
        "jobID": job.id,
        "status": job.status,
        "message": job.message,
        "progress": job.progress,
        "created": _time(job.created),
        "started": _time(job.started),
        "finished": _time(job.finished),
        "updated": _time(job.updated),
        "title": job.title,
        "links": links,
        "inputs": dict(job.inputs),
        "chunks": {"finished": job.finished_chunks, "all": job.chunks},
    }
    if job.status == RUNNING and job.seconds_left is not None:
        status["secondsLeft"] = round(job.seconds_left, 1)
    # OGC's schema knows no null.
    return {name: value for name, value in status.items() if value is not None}


def announcement_of(job: Job, context: Context) -> dict[str, Any]:
    """The document that a subscriber gets of a job: its results once there are any, its status before that."""
    return document_of(job, context, Delivery()) if job.status == SUCCESSFUL else status_of(job, context)


def _summary(process: Process, context: Context) -> dict[str, Any]:
    return {
        "id": process.id,
        "title": process.title,
        "description": process.description,
        "version": VERSION,
        "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
        "outputTransmission": ["reference", "value"],
        "links": [
            context.link(f"/processes/{process.id}", "self"),
            context.link(f"/processes/{process.id}/execution", "http://www.opengis.net/def/rel/ogc/1.0/execute"),
        ],
    }


def _process_of(process_id: str) -> Process:
    """A process that is offered. Raises :class:`Problem`."""
    process = PROCESSES.get(process_id)
    if process is None:
        raise Problem(404, f"there is no process {process_id[:80]}", kind=NO_SUCH_PROCESS)
    if not process.offered:
        raise Problem(404, f"this service is installed without what {process_id} needs", kind=NO_SUCH_PROCESS)
    return process


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema for what a client sends: that an input may be left out is said by its occurrence."""
    kinds = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(kinds) == 1:
        schema = {**{key: value for key, value in schema.items() if key not in ("anyOf", "default")}, **kinds[0]}
    if "prefixItems" in schema:
        # OpenAPI 3.0, whose schemas OGC's are, has no tuples.
        schema = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
    return schema


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
