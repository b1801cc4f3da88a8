"""Numbers that an array's attributes and encoding hold, in the forms in which files and libraries leave them."""

from __future__ import annotations

from typing import Any

import numpy as np

from geosr.errors import UsageError


def number_in(value: Any, name: str, argument: str) -> float | None:
    """Take the number of an attribute: itself, text, or an array of one.

    Parameters
    ----------
    value
        Content of the attribute; None where there is none.
    name
        Name of the attribute in messages.
    argument
        Argument by which a user gives the number instead.

    Raises
    ------
    UsageError
        The attribute holds several numbers, or none.

    """
    if value is None:
        return None
    several = np.asarray(value)
    if several.size != 1:
        raise UsageError(f"{name} of the array holds {several.size} values, and one is needed: give {argument}")
    try:
        return float(several.item())
    except (TypeError, ValueError):
        raise UsageError(f"{name} of the array is {several.item()!r}, which is no number: give {argument}") from None
