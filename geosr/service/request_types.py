"""Types of what requests hold: texts of a certain form, whose pattern the OpenAPI document has, and numbers of JSON.

Imports no web framework: a job's process needs none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from catalog import sensor_names

#: Where the OpenAPI document has the schema of a type.
REFERENCE = "#/components/schemas/{model}"

#: Type of pydantic's errors for values that contradict each other, where no schema can say so.
CONFLICT = "conflict"

#: A finite number.
_NUMBER = r"[+-]?([0-9]{1,15}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,2})?"

#: Days that there are, from the year 1000 on.
_YEAR = r"[1-9][0-9]{3}"
_LEAP_DAY = r"([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29"
_DAY = (
    rf"({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    rf"|02-(0[1-9]|1[0-9]|2[0-8]))|{_LEAP_DAY})"
)
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_DATE = rf"{_DAY}|{_YEAR}(-(0[1-9]|1[0-2]))?"
#: Of RFC 3339, and as people write it.
_INSTANT = rf"{_DAY}T{_CLOCK}:[0-5][0-9](\.[0-9]{{1,6}})?(Z|[+-]{_CLOCK})"
_LOOSE_INSTANT = rf"{_DAY}[Tt]{_CLOCK}(:[0-5][0-9](\.[0-9]{{1,6}})?)?([Zz]|[+-]{_CLOCK})?"


@dataclass(frozen=True)
class Form:
    """Form of a text, for pydantic: pydantic's own check of a pattern would show it to who sent something else."""

    pattern: str
    wanted: str
    """Advice for who sent something else."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check what pydantic takes for a text."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The pattern, for clients."""
        return {**handler(schema), "pattern": f"^({self.pattern})$"}

    def check(self, text: str) -> str:
        """The text. Raises ``ValueError`` for one of another form."""
        if re.fullmatch(self.pattern, text, re.ASCII) is None:
            raise ValueError(self.wanted)
        return text


def given(name: str) -> dict[str, Any]:
    """Schema of objects that have a member which is not null."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


def all_given(*names: str) -> dict[str, Any]:
    """Schema of objects that have several members which are not null."""
    return {"required": list(names), "properties": {name: {"not": {"type": "null"}} for name in names}}


@dataclass(frozen=True)
class OneOf:
    """One of some names, which are known when the program runs."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check what pydantic takes for a text."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The names, for clients."""
        return {**handler(schema), "enum": list(self.names)}

    def check(self, text: str) -> str:
        """The name. Raises ``ValueError`` for any other."""
        if text not in self.names:
            raise ValueError(f"is one of {', '.join(self.names)}")
        return text


#: Instrument of a scene. The path of a profile would be one of a file of this machine.
SensorName = Annotated[str, OneOf(tuple(sensor_names()))]


def _numbers(count: int) -> str:
    return f"{_NUMBER}(,{_NUMBER}){{{count - 1}}}"


def _periods(instant: str) -> str:
    moment = f"({instant}|{_DATE})"
    return rf"{moment}|{moment}/({moment}|\.\.)?|(\.\.)?/{moment}"


_PERIOD_WANTED = "give an instant, a day, a month or a year, as 2024-06-13, or two with / between them"

#: An instant, a day, a month or a year; or two with ``/`` between them, of which one may be open, for catalogues.
Period = Annotated[str, Field(max_length=100), Form(_periods(_INSTANT), _PERIOD_WANTED)]

#: The same in more ways, or one that is open on both sides.
OpenPeriod = Annotated[str, Field(max_length=100), Form(rf"{_periods(_LOOSE_INSTANT)}|\.\./\.\.", _PERIOD_WANTED)]

#: Corners of a box, in degrees.
BoxText = Annotated[str, Field(max_length=200), Form(_numbers(4), "give west,south,east,north in degrees")]

#: The same, with or without heights.
BoxOrCubeText = Annotated[
    str,
    Field(max_length=200),
    Form(f"{_numbers(4)}|{_numbers(6)}", "give west,south,east,north in degrees"),
]

#: Both ends of a line, in degrees.
LineText = Annotated[
    str,
    Field(max_length=200),
    Form(_numbers(4), "give four numbers, longitude,latitude,longitude,latitude"),
]

#: Limits of what is shown.
LimitsText = Annotated[
    str,
    Field(max_length=200),
    Form(f"{_numbers(2)}|{_numbers(6)}", "give two numbers, low,high, or six for three bands"),
]

#: A name, or up to three bands.
BandsText = Annotated[
    str,
    Field(max_length=200),
    Form(r"[A-Za-z0-9_-]+(,[A-Za-z0-9_-]+){0,2}", "give the name of a combination, or up to three bands"),
]

Address = Annotated[str, Field(max_length=2000), Form(r"https?://\S+", "give an address that begins with https://")]


def _no_text(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise ValueError("has to be a whole number")  # noqa: TRY004 - pydantic tells ValueError alone
    return value


#: Numbers and truth values in JSON: pydantic's own would be taken from texts as well, as parameters are.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]

#: Of whole numbers, which JSON may write as 4.0; stands after their limits.
NO_TEXT = BeforeValidator(_no_text)
Truth = Annotated[bool, Field(strict=True)]

#: Corners of a box in degrees. Schemas of tuples are understood by few, so that latitudes are checked with the area.
Box = Annotated[list[Annotated[Number, Field(ge=-180, le=180)]], Field(min_length=4, max_length=4)]


def box_in_order(west: float, south: float, east: float, north: float) -> tuple[float, float, float, float]:
    """A box whose south is below its north; where both corners are swapped, west and east are as well."""
    if south <= north:
        return west, south, east, north
    return (east, north, west, south) if west > east else (west, north, east, south)
