"""Place of a product's STAC Item: beside it, and never on a file that is not the Item of such a product."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import tiling
from catalog.publish import CHANGE, PRODUCT
from catalog.strict_json import json_text
from geosr.errors import ExistsError
from tiling import Location, Occupant
from tiling.storage import explained


@dataclass(frozen=True)
class ItemFile:
    """Place of a product's STAC Item, chosen once for a run."""

    path: Location
    expected: Occupant | None
    """Occupant of the place, the only one that may be replaced; None to replace any file."""
    in_the_way: Location | None = None
    """File that is in its usual place."""

    @classmethod
    def of(cls, output: Location, *, overwrite: bool) -> ItemFile:
        """Choose the place of the Item of ``output``.

        Raises :class:`geosr.errors.ExistsError` where files of others are in both places.
        """
        path, usual = item_path(output), output.with_suffix(".json")
        in_the_way = usual if path != usual and usual.exists() else None
        if in_the_way is not None and path.exists() and not describes(path, output):
            raise ExistsError(f"neither {usual} nor {path} is the STAC Item of {output}: write to another file")
        return cls(path, None if overwrite else tiling.occupant(path), in_the_way)


def item_path(output: Location) -> Location:
    """Choose where the STAC Item of ``OUT.tif`` goes.

    That is ``OUT.json``, or ``OUT.tif.json`` where an ``OUT.json`` is there that is not the Item of an earlier product
    of this name: the Item or area that is read, a model card, a file of another program.
    """
    usual, longer = output.with_suffix(".json"), output.with_name(f"{output.name}.json")
    if _is_file(usual):
        return usual if describes(usual, output) else longer
    # An Item stays where it is when the file that was in its way has gone.
    return longer if describes(longer, output) else usual


def describes(path: Location, output: Location) -> bool:
    """Tell whether a file is the Item of a product or map of the name of ``output``, or of one that is not there.

    Products that were renamed leave such Items.
    """
    with explained(path, "read"):
        try:
            content: Any = json.loads(json_text(path.read_bytes()))
            made_by = content["properties"]["processing:expression"]["format"]
            href: str = content["assets"]["data"]["href"]
            if made_by not in (PRODUCT, CHANGE) or not href.startswith("./"):
                return False
            return href == f"./{output.name}" or not (path.parent / href).exists()
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return False


def _is_file(path: Location) -> bool:
    with explained(path, "read"):
        try:
            return path.is_file()
        except OSError:
            # A name too long for any file; other faults show when the product is written.
            return False
