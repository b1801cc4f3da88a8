"""One run: the values that travel together from a request to a published product."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from catalog import Scene
from geosr.inference.upscaled_window import SceneUncertainty
from geosr.inference.upscaler import ModelSpec
from geosr.model.card import ModelCard
from geosr.run.manifest import Manifest
from geosr.run.uncertainty_layers import Layer, layers_of
from tiling import ChunkPlan, Location, Product


@dataclass(frozen=True)
class Run:
    """A scene, the model that upscales it, and the files that it becomes. Derive another with ``replace``."""

    scene: Scene
    model: ModelSpec
    plan: ChunkPlan
    product: Product
    """Form of the COG, without its tags."""
    output: Location
    uncertainty: SceneUncertainty | None = None
    """None when it was not asked for."""
    overwrite: bool = False
    """Replace files of other runs."""

    @property
    def card(self) -> ModelCard:
        """Card of the model."""
        return self.model.card

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Rasters beside the product."""
        if self.uncertainty is None:
            return ()
        return layers_of(self.output, self.scene, self.product, self.uncertainty, self.card.bands or ())

    @cached_property
    def manifest(self) -> Manifest:
        """Identity of the run."""
        return Manifest.of(self.scene, self.model, self.plan, self.product, [layer.name for layer in self.layers])

    @property
    def rasters(self) -> tuple[Location, ...]:
        """Paths of the COG and its layers."""
        return (self.output, *(layer.path for layer in self.layers))
