"""Result of a batch, scene by scene: for programs as JSON, for people as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

import catalog
import tiling
from geosr.evaluate.html import document, table

SUMMARY, PAGE = "summary.json", "summary.html"

State = Literal["made", "skipped", "refused"]


@dataclass(frozen=True)
class Outcome:
    """Outcome of one scene."""

    name: str
    source: str
    state: State
    """``skipped``: its product was there already, made of the same source in the same way."""
    reason: str = ""
    """Error of a scene that was refused."""
    product: str | None = None
    """Name of its file."""
    thumbnail: str | None = None


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Number of scenes in each state."""
    states: tuple[State, ...] = ("made", "skipped", "refused")
    return {state: sum(one.state == state for one in outcomes) for state in states}


def write_summary(folder: Path, outcomes: Sequence[Outcome], total: int) -> None:
    """Write the summary of a batch of ``total`` scenes, all of which were tried unless it was interrupted."""
    content = summary_of(outcomes, total)
    tiling.write(folder / SUMMARY, [(catalog.to_json(content, indent=2) + "\n").encode()])
    tiling.write(folder / PAGE, [_page(folder, outcomes, content).encode()])


def summary_of(outcomes: Sequence[Outcome], total: int) -> dict[str, Any]:
    """The summary as plain JSON."""
    return {
        "scenes": total,
        **counts(outcomes),
        "waiting": total - len(outcomes),
        "outcomes": [asdict(one) for one in outcomes],
    }


def _page(folder: Path, outcomes: Sequence[Outcome], content: dict[str, Any]) -> str:
    rows = [
        [
            f'<div class="text">{_named(one)}</div>',
            one.state,
            f'<img src="{escape(one.thumbnail)}" alt="" height="80" loading="lazy">' if one.thumbnail else "",
            f'<div class="text">{escape(one.source)}</div>',
            f'<div class="text">{escape(one.reason)}</div>',
        ]
        for one in outcomes
    ]
    waiting = f", {content['waiting']} not tried" if content["waiting"] else ""
    told = f"{content['made']} made, {content['skipped']} there already, {content['refused']} refused{waiting}"
    titles = ("scene", "state", "", "source", "reason")
    name = folder.resolve().name
    return document(name, f"<h1>{escape(name)}</h1>\n<p>{told}.</p>\n{table(titles, rows, 'scenes')}")


def _named(one: Outcome) -> str:
    """The scene's name, which leads to its product."""
    return f'<a href="{escape(one.product)}">{escape(one.name)}</a>' if one.product else escape(one.name)
