"""Identity of a run: everything that decides its pixels, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from catalog import Scene
from geosr.inference.upscaler import ModelSpec
from geosr.run.uncertainty_layers import EARLIER_NAMES
from geosr.version import VERSION
from tiling import ChunkPlan, Product

#: Raised when the same settings would give other pixels than before; tags and declarations around them do not count.
FORMAT = 3


class Manifest:
    """The identity of a run, as plain JSON; two runs with equal manifests give equal pixels."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    @classmethod
    def of(
        cls,
        scene: Scene,
        spec: ModelSpec,
        plan: ChunkPlan,
        product: Product,
        layers: Sequence[str] = (),
        *,
        keep: Sequence[int] | None = None,
        clip: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """The manifest of a run that is about to begin; ``layers`` are made beside the product.

        ``keep`` are the numbers of the bands that are written, ``clip`` is what the product is cut to; None for all.
        """
        crs = plan.extent.crs
        content = {
            "format": FORMAT,
            "version": VERSION,
            "source": dict(scene.identity),
            # Without what a band does not have: runs from before there was such a thing keep their identity.
            "bands": [
                {k: v for k, v in asdict(band).items() if v or k not in ("role", "also_nodata")} for band in spec.bands
            ],
            # Named so in every manifest since the first: another name would be another identity.
            "picture": scene.plain_image,
            "grid": {
                "crs": crs.to_wkt() if crs is not None else None,
                "transform": list(plan.extent.affine[:6]),
                "shape": list(plan.extent.shape.yx),
                "area": [plan.area.col_off, plan.area.row_off, plan.area.width, plan.area.height],
            },
            "model": {"name": spec.card.name, "digest": spec.digest},
            "engine": str(spec.engine),
            "chunks": {"core_px": plan.core_px, "halo_px": plan.halo_px, "scale": plan.scale},
            "product": {"dtype": product.dtype, "nodata": product.nodata, "compression": product.compression},
        }
        if layers:
            # Only then: runs without keep the identity that they had before there were layers.
            content["layers"] = list(layers)
        if keep is not None:
            content["keep"] = [spec.bands[i].name for i in keep]
        if clip is not None:
            content["clip"] = dict(clip)
        if spec.model.sharpness:
            # As above. It is in the model's digest as well; here it has a name to be told by.
            content["sharpness"] = spec.model.sharpness
        return cls(json.loads(json.dumps(content)))

    def with_dates(self, dates: Mapping[str, Any]) -> Manifest:
        """The manifest of the same run with further dates."""
        return Manifest({**self.content, "dates": json.loads(json.dumps(dates))})

    @property
    def of_reference(self) -> str:
        """Digest of the same run without its further dates."""
        return Manifest({key: value for key, value in self.content.items() if key != "dates"}).digest

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    @property
    def digests(self) -> tuple[str, ...]:
        """The digest, and those that the same run had in earlier versions, with other names of its layers."""
        layers = [EARLIER_NAMES.get(name, name) for name in self.content.get("layers", ())]
        if layers == self.content.get("layers", []):
            return (self.digest,)
        return self.digest, Manifest({**self.content, "layers": layers}).digest

    @property
    def core_px(self) -> int | None:
        """The side of its chunks, source pixels; None in a manifest that is not whole."""
        core = self.content.get("chunks", {}).get("core_px")
        return core if isinstance(core, int) and core > 0 else None

    def text(self) -> str:
        """Canonical JSON."""
        return json.dumps(self.content, sort_keys=True)

    def differences(self, other: Manifest) -> list[str]:
        """Which entries differ from those of another run, as ``engine (torch-cpu-float32, now torch-cpu-bfloat16)``.

        Of the source it is said that it may have changed by itself.
        """
        found = []
        for key in sorted(self.content.keys() | other.content.keys()):
            mine, theirs = self.content.get(key), other.content.get(key)
            if mine != theirs:
                short = isinstance(mine, str | int | float) and isinstance(theirs, str | int | float)
                told = "source (another, or changed since)" if key == "source" else key
                found.append(f"{key} ({theirs}, now {mine})" if short else told)
        return found
