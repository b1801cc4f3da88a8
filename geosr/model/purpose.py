"""Purpose of a model, and warnings for a user who gives it something else."""

from __future__ import annotations

from geosr.model.card import ModelCard
from geosr.model.kernels import MOST_HALO_DN

#: Pixels may be this much larger or smaller than those that a model was made for.
_NEAR = 1.5


def notes_for(card: ModelCard, sensor: str | None, gsd_m: float | None) -> list[str]:
    """Remarks on a scene of this sensor's profile and with pixels of this size; None for what is not known."""
    notes = []
    if card.sensor is not None and sensor is not None and sensor != card.sensor:
        blur = "" if card.mtf_nyquist is None else f", and takes this scene to be blurred as {card.sensor}'s are"
        notes.append(f"model {card.name} was made for {card.sensor}, not {sensor}: it was not tested on this{blur}")
    if card.gsd_m is not None and gsd_m is not None and not 1 / _NEAR <= gsd_m / card.gsd_m <= _NEAR:
        notes.append(f"model {card.name} was made for pixels of {card.gsd_m:g} m, and these have {gsd_m:g} m")
    difference = card.figures.get("halo_difference_dn", {}).get(str(card.halo_px), 0)
    if difference >= MOST_HALO_DN:
        notes.append(
            f"model {card.name} looks further than the {card.halo_px} pixels around a chunk: chunks may differ from "
            f"the scene in one piece, on the bundled sample by up to {difference:.1f} DN; larger ones have fewer seams"
        )
    return notes
