"""Schema of a request for execution, as OGC's ``execute.yaml`` has it, with the inputs and outputs of one process."""

from __future__ import annotations

from typing import Any

from geosr.service.jobs.orders import CRS84, INPUTS, QUALIFIERS
from geosr.service.jobs.processes import Process
from geosr.service.request_types import REFERENCE
from geosr.service.routes.delivery import Delivery, Output


def execution_schema(process: Process) -> dict[str, Any]:
    """JSON schema of the body; under ``$defs`` the schemas that it refers to."""
    inputs = INPUTS[process.id].model_json_schema(ref_template=REFERENCE)
    delivery = Delivery.model_json_schema(ref_template=REFERENCE)
    output = Output.model_json_schema(ref_template=REFERENCE)
    definitions = inputs.pop("$defs", {}) | delivery.pop("$defs", {})
    inputs["properties"] = {name: _qualifiable(name, one) for name, one in inputs["properties"].items()}
    properties = delivery["properties"]
    properties["outputs"] = {
        "anyOf": [
            {"type": "object", "properties": dict.fromkeys(process.outputs, output), "additionalProperties": False},
            {"type": "null"},
        ]
    }
    return {
        "type": "object",
        "properties": {"inputs": inputs, **properties},
        "required": ["inputs"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _qualifiable(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Schema of an input: its value, or an object that says of what kind that is."""
    plain = {key: value for key, value in schema.items() if key not in ("title", "description", "default")}
    # What is said of all kinds holds of each that is not null.
    common = {key: told for key, told in plain.items() if key != "anyOf"}
    kinds = [{**one, **common} if one != {"type": "null"} else one for one in plain.get("anyOf", [{}])]
    value = [one for one in kinds if one != {"type": "null"}]
    if name == "bbox":
        with_crs = {
            "type": "object",
            "properties": {"bbox": value[0], "crs": {"const": CRS84}},
            "required": ["bbox"],
            "additionalProperties": False,
        }
        value = [*value, with_crs]
    qualified = {
        "type": "object",
        "properties": {**{member: {} for member in sorted(QUALIFIERS)}, "value": {"anyOf": value}},
        "required": ["value"],
        "additionalProperties": False,
    }
    others = [one for one in kinds if one == {"type": "null"}]
    told: dict[str, Any] = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    return {**told, "anyOf": [*value, qualified, *others]}
