"""Network plans of ``scripts/soak.py``: a server that fails as it was told, and runs that read from it.

Waits and limits of time are shorter than a user's, so that a plan takes seconds.
"""

from __future__ import annotations

import json
import random
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import rasterio

from catalog import gdal, web
from scripts.children import run, said_in_one_line
from scripts.outcomes import Outcome
from tests.conftest import SAMPLE
from tests.faults.flaky_server import KINDS, STRANGE, Flaky, flaky_server
from tests.stac_items import write_item

_HOW = ("--model", "bicubic", "--core", "32", "-q")

#: Requests of each source, by path: what is asked for its version and what for its pixels is one path.
_PIXELS = tuple(f"/one_{band}.tif" for band in ("B02", "B03", "B04", "B08"))
_PATHS = {
    "Item": ("/one.json", *_PIXELS),
    "raster": ("/one_B02.tif",),
    "search": ("/api", "/search", *_PIXELS),
}

#: Every so many plans reads by HTTPS, of a server whose certificate nobody has signed.
_UNTRUSTED = 8


def network(folder: Path, count: int, seed: int) -> Iterator[Outcome]:
    """Items, searches and rasters from a server with up to six faults in a row for each of their files."""
    chance = random.Random(f"network {seed}")
    _shorten_waits()
    contents = _contents(folder)
    with ExitStack() as stack:
        open_server = stack.enter_context(flaky_server(stalled_s=3))
        untrusted = stack.enter_context(flaky_server(tls=_self_signed(folder)))
        for server in (open_server, untrusted):
            server.contents.update({path: _addressed(content, server) for path, content in contents.items()})
        right = {source: _upscaled(open_server, folder / f"right {source}.tif", source)[1] for source in _PATHS}
        for number in range(count):
            source, output = chance.choice(tuple(_PATHS)), folder / f"{number}.tif"
            if number % _UNTRUSTED == _UNTRUSTED - 1:
                fault, _ = _upscaled(untrusted, output, source)
                plan: dict[str, list[str]] = {"TLS": ["certificate that nobody has signed"]}
                kind = "untrusted, then finished"
                if not fault:
                    yield Outcome(kind, f"{source}, {plan}: was read")
                    continue
            else:
                open_server.plans = _plan(_PATHS[source], chance)
                plan = {path: list(faults) for path, faults in open_server.plans.items()}
                fault, made = _upscaled(open_server, output, source)
                open_server.plans = {}
                kind = "given up, then finished" if fault else "answered"
            if fault == "one line":
                fault, made = _upscaled(open_server, output, source)
            if not fault and made != right[source]:
                fault = "other pixels"
            yield Outcome(kind, fault and f"{source}, {plan}: {fault}")


def _plan(paths: Sequence[str], chance: random.Random) -> dict[str, list[str]]:
    """Faults of the next requests for some of the paths, most of them of the kinds that pass."""
    kinds = (*KINDS, *KINDS, *STRANGE, "", "", "")
    chosen = chance.sample(paths, chance.randrange(1, len(paths) + 1))
    return {path: [chance.choice(kinds) for _ in range(chance.randrange(1, 7))] for path in chosen}


def _upscaled(server: Flaky, output: Path, source: str) -> tuple[str, bytes]:
    """Run the command; returns "one line" if it gave up as it is to, another fault or none, and pixels."""
    names = {"Item": "one.json", "raster": "one_B02.tif"}
    asked = ["--bbox", "12.282,48.7165,12.288,48.7195", "--datetime", "2023", "--api", server.url("api")]
    ended = run(
        ["upscale", *([server.url(names[source])] if source in names else asked), "-o", str(output), *_HOW],
        output.parent,
    )
    if ended.code == 0:
        with rasterio.open(output) as product:
            return "", bytes(product.read().tobytes())
    if not said_in_one_line(ended) or output.exists():
        return f"exit code {ended.code}, {'a product, ' if output.exists() else ''}{ended.text[-300:]!r}", b""
    return "one line", b""


def _contents(folder: Path) -> dict[str, bytes]:
    """Content of the server by path, in which its address is ``ADDRESS``."""
    with rasterio.open(SAMPLE) as raster:
        dn = raster.read()[:, :64, :64]
    path = write_item(folder / "item", "one", dn)
    contents = {f"/{file.name}": file.read_bytes() for file in path.parent.iterdir()}
    item = json.loads(path.read_text())
    for asset in item["assets"].values():
        asset["href"] = f"ADDRESS/{Path(asset['href']).name}"
    conforms = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]
    link = {"rel": "search", "href": "ADDRESS/search", "type": "application/geo+json", "method": "GET"}
    api = {"type": "Catalog", "id": "a", "description": "a", "stac_version": "1.0.0", "conformsTo": conforms}
    found = {"type": "FeatureCollection", "features": [item], "links": []}
    for name, content in {"one.json": item, "api": {**api, "links": [link]}, "search": found}.items():
        contents[f"/{name}"] = json.dumps(content).encode()
    return contents


def _addressed(content: bytes, server: Flaky) -> bytes:
    return content.replace(b"ADDRESS", server.address.encode()) if content.startswith(b"{") else content


def _self_signed(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command = ["openssl", "req", *options, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _shorten_waits() -> None:
    web.FIRST_WAIT_S, web.LONGEST_WAIT_S, web.STALLED_S = 0.05, 1.0, 1
    gdal._HTTP |= {"GDAL_HTTP_RETRY_DELAY": 0.1, "GDAL_HTTP_LOW_SPEED_TIME": 1}
