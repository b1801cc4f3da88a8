"""Starts an engine for a card: each only loads the libraries that it needs."""

from __future__ import annotations

from collections.abc import Sequence

from geosr.engine import Engine, EngineSpec, Parallel
from geosr.model.card import ModelCard


def start_engine(
    card: ModelCard,
    mtf_nyquist: Sequence[float | None],
    spec: EngineSpec,
    parallel: Parallel,
    *,
    plain_image: bool = False,
) -> Engine:
    """An engine that this machine has, for a card whose ``mtf_nyquist`` is what is assumed of its bands.

    ``plain_image`` says that they stand in for those of a plain image. Raises :class:`geosr.errors.ModelError`.
    """
    if card.stack is not None:
        from geosr.engine.stack_engine import StackEngine
        from geosr.model.stack import build_stack

        return StackEngine(card, build_stack(card), spec, parallel)
    if spec.name == "winograd-cpu":
        from geosr.engine.winograd.engine import WinogradEngine

        return WinogradEngine(card, mtf_nyquist, spec, parallel, plain_image=plain_image)
    if spec.name == "openvino-cpu":
        from geosr.engine.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(card, mtf_nyquist, spec, parallel, plain_image=plain_image)
    from geosr.engine.torch_engine import TorchEngine
    from geosr.model.build import build

    return TorchEngine(card, build(card, mtf_nyquist, plain_image=plain_image), spec, parallel)
