"""Parts of the reports' HTML: the document, a table, and an image inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def document(title: str, body: str) -> str:
    """A whole page with the reports' style; ``body`` is HTML."""
    style = files("geosr").joinpath("data", "report.css").read_text(encoding="utf-8")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> str:
    """A table that scrolls on its own, by keyboard too; titles are text, cells HTML, the first of a row its heading."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    body = "\n".join(
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(name)}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def pixels_of(caption: str, pixels: NDArray[np.uint8], alt: str) -> str:
    """An image of ``(rows, cols, 1 or 3)`` bytes with its caption."""
    uri = data_uri(png_of(pixels))
    return (
        f'<figure><img class="pixels" src="{uri}" alt="{escape(alt)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    """``(rows, cols, 1 or 3)`` bytes as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(buffer, format="PNG")
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """A PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
