"""Mapping of a scene's bands to a model's: by name, reordered, or, for plain images, stood in for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catalog.sensors import role_of
from geosr.errors import ModelError
from geosr.model.card import ModelCard

#: Most bands of a source: maps between these and a model's are matrices.
MOST_BANDS = 1000

#: Bands that a message names.
_LISTED = 16

_COLOURS = {"B02": "blue", "B03": "green", "B04": "red"}


@dataclass(frozen=True)
class BandMapping:
    """Linear maps from scene to model and back, both ``(to, from)``."""

    keep: tuple[str, ...]
    """Bands of the scene that are upscaled, in its order."""
    to_model: tuple[tuple[float, ...], ...]
    """Rows: the model's bands; columns: ``keep``."""
    from_model: tuple[tuple[float, ...], ...]
    """Rows: ``keep``; columns: the model's bands."""
    note: str | None = None
    """Warning for the user about it."""
    stands_in: bool = False
    """True when colours of a plain image stand in for the model's bands."""

    @cached_property
    def sources(self) -> tuple[int, ...] | None:
        """Which of the model's bands each of ``keep`` is; None when one is a mixture."""
        if any(row.count(1.0) != 1 or row.count(0.0) != len(row) - 1 for row in self.from_model):
            return None
        return tuple(row.index(1.0) for row in self.from_model)

    def enter(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scene bands ``(keep, rows, cols)`` as the model's."""
        return _mix(self.to_model, pixels)

    def leave(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """The model's bands as those of the scene."""
        return _mix(self.from_model, pixels)


def coarse_bands(card: ModelCard) -> tuple[str, ...]:
    """The bands of a card with a stack whose own pixels are coarser than the grid's; the last ones."""
    if card.stack is None or card.bands is None:
        return ()
    return card.bands[card.stack.guides :]


def map_bands(
    scene: Sequence[str],
    card: ModelCard,
    *,
    plain_image: bool,
    roles: Sequence[str] = (),
    asked: Sequence[str] | None = None,
) -> BandMapping:
    """Fit a scene's bands to a model's.

    Reflectance is matched by name; of a sensor with names of its own, by what its bands are for: ``roles``, one for
    each band of the scene or none, see :mod:`catalog.sensors`. Pictures are served as the network was trained to serve
    them: without an infrared band, the mean of the visible ones stands in; a grey image stands in for every band.

    ``asked`` are the bands that a user has asked for, None for all that the source has.

    Raises :class:`ModelError` when a band is missing, or there more than once.
    """
    scene = tuple(scene)
    if len(scene) > MOST_BANDS:
        raise ModelError(f"{len(scene)} bands are too many: no more than {MOST_BANDS} are upscaled together")
    if card.bands is None:
        # By position: bands of other instruments may share a name.
        identity = _identity(len(scene))
        return BandMapping(scene, identity, identity)
    twice = [name for name in card.bands if scene.count(name) > 1]
    if twice:
        raise ModelError(
            f"the source has {', '.join(twice)} more than once among {', '.join(scene)}: "
            "name each band once with --bands, and - those to leave out"
        )
    if set(card.bands) <= set(scene):
        keep = tuple(name for name in scene if name in card.bands)
        return _chosen(keep, card.bands)
    by_role = _by_role(scene, roles, card.bands, card.sensor)
    if by_role is not None:
        return by_role
    plain_image = plain_image and card.stack is None
    if plain_image and {"red", "green", "blue"} <= set(scene) and set(_COLOURS) <= set(card.bands):
        return _from_colours(tuple(name for name in scene if name in _COLOURS.values()), card.bands)
    if plain_image and len(scene) == 1:
        count = len(card.bands)
        return BandMapping(
            keep=scene,
            to_model=((1.0,),) * count,
            from_model=((1 / count,) * count,),
            note="grey image: it stands in for all the model's bands, and its camera is taken to have square pixels",
            stands_in=True,
        )
    missing = ", ".join(name for name in card.bands if name not in scene)
    if asked is not None:
        raise ModelError(
            f"model {card.name} needs {', '.join(card.bands)}, and --bands asks for {_listed(asked)} alone: ask for "
            f"{missing} as well if the source has it, leave --bands out, or take a model for any bands "
            "(--model backprojection)"
        )
    raise ModelError(
        f"model {card.name} needs {', '.join(card.bands)}, and the source has no {missing} among {_listed(scene)}: "
        "name unnamed bands with --bands, or take a model for any bands (--model backprojection)"
    )


def _listed(names: Sequence[str]) -> str:
    """Names in a message, of which not all are needed to see what they are."""
    shown = ", ".join(names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"


def _by_role(
    scene: tuple[str, ...], roles: Sequence[str], bands: tuple[str, ...], sensor: str | None
) -> BandMapping | None:
    """The scene's bands as the model's that are for the same; None when one of those has no counterpart."""
    has = {role: name for name, role in zip(scene, roles, strict=False) if role}
    wanted = [role_of(band, sensor) for band in bands]
    if not has or not all(role in has for role in wanted):
        return None
    own = tuple(has[role] for role in wanted if role is not None)
    keep = tuple(name for name in scene if name in own)
    mapping = _chosen(keep, own)
    pairs = ", ".join(f"{name} for {band}" for name, band in zip(own, bands, strict=True))
    return replace(mapping, note=f"bands by their colours: {pairs}")


def _chosen(keep: tuple[str, ...], order: tuple[str, ...]) -> BandMapping:
    forth = tuple(tuple(float(name == own) for own in keep) for name in order)
    back = tuple(tuple(float(name == own) for name in order) for own in keep)
    return BandMapping(keep, forth, back)


def _identity(count: int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(row == col) for col in range(count)) for row in range(count))


def _from_colours(keep: tuple[str, ...], bands: tuple[str, ...]) -> BandMapping:
    forth = tuple(tuple(float(_COLOURS[band] == own) if band in _COLOURS else 1 / 3 for own in keep) for band in bands)
    back = tuple(tuple(float(_COLOURS.get(band) == own) for band in bands) for own in keep)
    note = "plain image without infrared: its colours' mean stands in, and its camera is taken to have square pixels"
    return BandMapping(keep, forth, back, note=note, stands_in=True)


def _mix(matrix: tuple[tuple[float, ...], ...], pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    weights = np.asarray(matrix, dtype=np.float32)
    if weights.shape[0] == weights.shape[1] and (weights == np.eye(len(weights), dtype=np.float32)).all():
        return pixels
    mixed: NDArray[np.float32] = np.einsum("mk,krc->mrc", weights, pixels, optimize=True)
    return mixed
