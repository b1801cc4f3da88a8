"""One run: the values that travel together from a request to a published product."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from catalog import Scene
from geosr.inference.upscaled_window import SceneUncertainty
from geosr.inference.upscaler import ModelSpec
from geosr.model.card import ModelCard
from geosr.run.clip import Clip
from geosr.run.dates import RunDates
from geosr.run.manifest import Manifest
from geosr.run.uncertainty_layers import OutputLayer, layers_of
from geosr.run.weights_layer import weights_layer
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
    keep: tuple[int, ...] | None = None
    """Numbers of the scene's bands that are written, in this order; None for all."""

    clip: Clip | None = None
    """Polygon outside of which the product is nodata; None for its whole grid."""

    dates: RunDates | None = None
    """Further dates, of which the scene is the reference; None for one date."""
    keep_dates: bool = False
    """Keep a product that is the same but for its further dates."""
    date_weights: bool = False
    """Write the weights of further dates beside the product."""

    @property
    def card(self) -> ModelCard:
        """Card of the model."""
        return self.model.card

    @cached_property
    def written(self) -> Scene:
        """Scene with the written bands only, which describes the product; it is not read."""
        return self.scene if self.keep is None else self.scene.take(self.keep)

    @property
    def described(self) -> Scene:
        """Scene that the product's Item describes, with the sources that it was made of."""
        if self.dates is None:
            return self.written
        return replace(self.written, sources=self.dates.sources(self.scene))

    @property
    def fuses(self) -> bool:
        """True where further dates take part."""
        return self.dates is not None and bool(self.dates.used)

    @cached_property
    def layers(self) -> tuple[OutputLayer, ...]:
        """Rasters beside the product."""
        found: tuple[OutputLayer, ...] = ()
        if self.uncertainty is not None:
            several, bands = self.dates is not None, self.card.bands or ()
            found = layers_of(self.output, self.written, self.product, self.uncertainty, bands, several_dates=several)
        if self.date_weights and self.dates is not None and self.dates.others:
            found += (weights_layer(self.output, self.product, [one.label for one in self.dates.others]),)
        return found

    @cached_property
    def manifest(self) -> Manifest:
        """Identity of the run."""
        names = [layer.name for layer in self.layers]
        cut = None if self.clip is None else self.clip.content
        manifest = Manifest.of(self.scene, self.model, self.plan, self.product, names, keep=self.keep, clip=cut)
        if self.dates is None:
            return manifest
        narrowing = None if self.uncertainty is None else self.uncertainty.calibration.dates
        # Only then: runs without keep the identity that they had before half-widths knew of dates.
        widths = {} if narrowing is None else {"half_widths": [narrowing.most, narrowing.half_at]}
        return manifest.with_dates({**self.dates.content, **widths})

    @property
    def rasters(self) -> tuple[Location, ...]:
        """Paths of the COG and its layers."""
        return (self.output, *(layer.path for layer in self.layers))
