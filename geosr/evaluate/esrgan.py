"""Published networks in ESRGAN's form, as contenders: without our sensor, for three bands."""

from __future__ import annotations

import hashlib
from pathlib import Path

from geosr.errors import ModelError
from geosr.model import esrgan_checkpoint
from geosr.model.card import ModelCard
from geosr.model.rrdb import RRDBNet

#: Bands by their number: red, green and blue, as such networks are published, and infrared after them.
_BANDS = {3: ("B04", "B03", "B02"), 4: ("B04", "B03", "B02", "B08")}

#: LR pixels mirrored around an image, as Real-ESRGAN's own tiles have (``tile_pad`` of its inference script).
_HALO_PX = 10


def read_checkpoint(path: Path) -> tuple[ModelCard, RRDBNet]:
    """A checkpoint's network, its size told by its shapes, and a card that says how it is run.

    It is neither added to an interpolation nor followed by back-projection. No reflectance is named that would be 1 at
    its input: such networks are made for plain images from 0 to 1. Raises :class:`ModelError`.
    """
    read = esrgan_checkpoint.read_checkpoint(path)
    if read.entering != read.leaving or read.entering not in _BANDS:
        raise ModelError(
            f"{path} takes {read.entering} bands and gives {read.leaving}: "
            "of ESRGAN's form, ×4 networks for red, green and blue are known, or those and infrared"
        )
    network = read.network()
    card = ModelCard(
        name=path.stem,
        description="Checkpoint of ESRGAN's form, run without back-projection",
        bands=_BANDS[read.entering],
        base="none",
        steps=0,
        network=read.size,
        weights=path.name,
        weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        halo_px=_HALO_PX,
        multiply_adds_per_lr_px=network.multiply_adds_per_lr_pixel(),
        licence="unknown",
        folder=path.parent.resolve(),
    )
    return card, network
