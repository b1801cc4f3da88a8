"""Inputs of an order, checked before anything is done."""

from __future__ import annotations

import math
from typing import Any

from pydantic import ValidationError

from geosr.errors import ModelError, UsageError
from geosr.model.zoo import names
from geosr.run.uncertainty_layers import check_calibrated
from geosr.service.jobs.change_inputs import ChangeInputs
from geosr.service.jobs.inputs import UpscaleInputs, area_km2
from geosr.service.jobs.processes import CHANGE, UPSCALE
from geosr.service.messages import for_clients
from geosr.service.problems import Problem, explain
from geosr.service.request_types import CONFLICT
from geosr.service.settings import ServiceSettings

JobInputs = UpscaleInputs | ChangeInputs

#: Inputs of each process.
INPUTS: dict[str, type[UpscaleInputs] | type[ChangeInputs]] = {UPSCALE: UpscaleInputs, CHANGE: ChangeInputs}

#: Examples of inputs, for who sends something else.
_EXAMPLES = {UPSCALE: '{"scene": "demo"}', CHANGE: '{"before": "ID", "after": "ID"}'}

#: Members beside the value of an input in OGC's ``qualifiedInputValue``, and the CRS of its boxes.
QUALIFIERS = {"value", "mediaType", "encoding", "schema", "format"}
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


def parse_inputs(content: Any, settings: ServiceSettings, process: str = UPSCALE) -> JobInputs:
    """Check inputs as far as that goes without looking at pixels. Raises :class:`Problem`, or what geosr raises."""
    if not isinstance(content, dict):
        raise Problem(400, f"inputs: has to be an object, as {_EXAMPLES[process]}")
    defaults = {"model": settings.model} if process == UPSCALE else {}
    try:
        plain = {name: _unqualified(name, value) for name, value in content.items()}
        inputs = INPUTS[process].model_validate({**defaults, **plain})
    except ValidationError as error:
        status = 409 if error.errors()[0]["type"] == CONFLICT else 400
        raise Problem(status, f"inputs: {explain(error.errors())}") from error
    # A card's path would be one of a file of this machine.
    if inputs.model not in (None, settings.model, *names()):
        raise Problem(400, f"inputs: model is one of {', '.join(names())}")
    try:
        card = inputs.model_ref.card
        if isinstance(inputs, ChangeInputs) or inputs.uncertainty:
            check_calibrated(card)
    except (ModelError, UsageError) as error:
        raise Problem(409, f"inputs: {for_clients(str(error))}") from error
    area = inputs.area
    if area is not None:
        km2 = area_km2(area)
        if not math.isfinite(km2) or km2 > settings.max_area_km2:
            raise Problem(
                403,
                f"the area's bounding box has {km2:.0f} km²: more than {settings.max_area_km2:g} km² at once",
            )
    return inputs


def _unqualified(name: str, value: Any) -> Any:
    """The value of an input that OGC's schema qualifies: by its media type, or a box by its CRS. Raises Problem."""
    if isinstance(value, dict) and "value" in value and value.keys() <= QUALIFIERS:
        value = value["value"]
        if value is None:
            raise Problem(400, f"inputs: {name} has no value: leave it out")
    if name == "bbox" and isinstance(value, dict) and "bbox" in value and value.keys() <= {"bbox", "crs"}:
        if value.get("crs", CRS84) != CRS84:
            raise Problem(400, f"inputs: bbox is in degrees, {CRS84}")
        value = value["bbox"]
    return value
