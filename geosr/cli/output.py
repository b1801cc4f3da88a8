"""Results of commands on standard output, as text or JSON."""

from __future__ import annotations

from typing import Any

import typer


def print_published(published: Any, *, as_json: bool, **more: str) -> None:
    """Print a published product: its files, and how well it agrees with its source."""
    if as_json:
        print_json(
            {
                "cog": str(published.cog),
                "item": str(published.item),
                "chunks": published.chunks,
                "computed": published.computed,
                "consistency_dn": dict(published.consistency_dn),
                **more,
            }
        )
        return
    *first, last = (published.cog, published.item, *more.values())
    typer.echo(f"wrote {', '.join(map(str, first))} and {last}")
    if published.consistency_dn:
        values = ", ".join(f"{name} {value:.3g}" for name, value in published.consistency_dn.items())
        typer.echo(f"seen through the sensor it differs from the source by (mean, DN): {values}")


def print_pairs(pairs: dict[str, Any], *, as_json: bool) -> None:
    """Print names and values, one a line."""
    if as_json:
        print_json(pairs)
        return
    width = max(len(key) for key in pairs)
    for key, value in pairs.items():
        for i, line in enumerate(value if isinstance(value, list) else [value]):
            typer.echo(f"{key if i == 0 else '':{width}}  {line}")


def print_json(content: Any) -> None:
    """Print indented JSON."""
    from catalog.strict_json import to_json

    typer.echo(to_json(content, indent=2, default=str))
