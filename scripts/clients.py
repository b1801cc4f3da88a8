"""Real clients against a running service: OWSLib, pystac-client, rio-tiler, GDAL and QGIS, each printing what it did.

    geosr serve --demo &
    python -m pip install owslib
    python scripts/clients.py http://127.0.0.1:8000 [--key KEY]

QGIS is run by the Python that has its modules, ``/usr/bin/python3`` or the one that ``QGIS_PYTHON`` names.

The service has to have the bundled sample. A client that is not installed is left out, and said to be; one that fails
is printed with its reason, and the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

#: A part of the sample, and a tile in its middle.
BOX = [0.005, -0.012, 0.012, -0.005]
TILE = (16, 32770, 32770)

#: A tile inside of that part, whose pixels are as large as the source's.
RESULT_TILE = (16, 32769, 32769)

#: Half of the equator in Web Mercator, metres.
HALF_M = 20037508.342789244


@dataclass(frozen=True)
class Session:
    """A service, and the key to it."""

    address: str
    key: str | None
    product: str = ""
    """Address of the product that was ordered first."""
    item: str = ""
    """Id of its Item."""

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.key is None else {"X-API-Key": self.key}


def order(session: Session) -> Session:
    """Order the product that the others look at."""
    content = {"inputs": {"scene": "demo", "bbox": BOX}}
    headers = {**session.headers, "Prefer": "respond-async"}
    answer = requests.post(f"{session.address}/processes/upscale/execution", json=content, headers=headers, timeout=600)
    answer.raise_for_status()
    job = answer.json()
    # The same order without a preference: answered once it is there.
    done = requests.post(
        f"{session.address}/processes/upscale/execution", json=content, headers=session.headers, timeout=600
    )
    done.raise_for_status()
    product = str(done.json()["product"]["href"])
    jobs = requests.get(f"{session.address}/jobs/{job['jobID']}", headers=session.headers, timeout=60).json()
    print(f"requests              ordered a box of the sample: job {job['jobID'][:8]} is {jobs['status']}")
    return Session(session.address, session.key, product, job["jobID"])


def owslib_processes(session: Session) -> str:
    """Describe and execute the process."""
    from owslib.ogcapi.processes import Processes

    api = Processes(session.address, headers=session.headers)
    offered = [one["id"] for one in api.processes()]
    described = api.process("upscale")
    result = api.execute("upscale", {"scene": "demo", "bbox": BOX})
    found = requests.get(api.response_headers.get("Location", session.product), headers=session.headers, timeout=60)
    inputs = f"{len(described['inputs'])} inputs of upscale"
    return f"processes {', '.join(offered)}; {inputs}, executed: {', '.join(result)}; HTTP {found.status_code}"


def owslib_records(session: Session) -> str:
    """Read collections and items as OGC API – Features."""
    from owslib.ogcapi.features import Features

    api = Features(session.address, headers=session.headers)
    items = api.collection_items("results", limit=5)
    return f"collections {api.feature_collections()}, {len(items['features'])} items of results; {api.links[0]['rel']}"


def owslib_wmts(session: Session) -> str:
    """Read capabilities, and a tile by them."""
    return _tile_by_wmts(session, "scenes/demo/wmts", "sr", TILE)


def owslib_wmts_of_result(session: Session) -> str:
    """Read a result's capabilities, and a tile by them."""
    return _tile_by_wmts(session, f"jobs/{session.item}/wmts", "product", RESULT_TILE)


def _tile_by_wmts(session: Session, path: str, layer: str, tile: tuple[int, int, int]) -> str:
    from owslib.wmts import WebMapTileService

    wmts = WebMapTileService(f"{session.address}/{path}", headers=session.headers)
    zoom, col, row = tile
    place = {"tilematrixset": "GoogleMapsCompatible", "tilematrix": str(zoom), "row": row, "column": col}
    address = wmts.buildTileResource(layer=layer, style="default", format="image/png", **place)
    picture = requests.get(address, headers=session.headers, timeout=300)
    return f"layers {', '.join(wmts.contents)}; tile of {size_of(picture)} from {urlsplit(address).path}"


def pystac_client(session: Session) -> str:
    """Search the results, and validate what is found."""
    from pystac_client import Client

    client = Client.open(session.address, headers=session.headers)
    found = list(client.search(collections=["results"], bbox=[0, -0.1, 0.1, 0]).items())
    item = next(one for one in found if one.id == session.item)
    thumbnail = requests.get(item.assets["thumbnail"].href, headers=session.headers, timeout=60)
    classes = len(client.get_conforms_to())
    return f"{classes} conformance classes, {len(found)} items; {item.id[:8]}: thumbnail {size_of(thumbnail)}"


def rio_tiler(session: Session) -> str:
    """Read a tile and statistics of the product over HTTP."""
    from rio_tiler.io import Reader

    with gdal_with(session), Reader(session.product) as source:
        tile = source.tile(32770, 32770, 16, indexes=(3, 2, 1))
        counted = source.statistics(max_size=256)
    return f"tile {tile.data.shape}, mean of red {counted['b3'].mean:.1f} DN"


def rio_tiler_xyz(session: Session) -> str:
    """Follow the TileJSON of a live layer."""
    about = requests.get(
        f"{session.address}/scenes/demo/tilejson.json?layer=original", headers=session.headers, timeout=60
    ).json()
    zoom, col, row = TILE
    address = about["tiles"][0].replace("{z}", str(zoom)).replace("{x}", str(col)).replace("{y}", str(row))
    picture = requests.get(address, headers=session.headers, timeout=60)
    return f"TileJSON {about['tilejson']}, zoom {about['minzoom']} to {about['maxzoom']}: tile of {size_of(picture)}"


def gdal_cog(session: Session) -> str:
    """Open the product where it is, and read one window."""
    import rasterio

    with gdal_with(session), rasterio.open(session.product) as raster:
        window = raster.read(3, window=rasterio.windows.Window(20, 30, 64, 64))
        size = f"{raster.width} × {raster.height} px of {raster.res[0]} m"
        return f"{size}, bands {', '.join(map(str, raster.descriptions))}, window mean {window.mean():.1f} DN"


def gdal_wmts(session: Session) -> str:
    """Open the WMTS as GDAL's and QGIS's driver does."""
    import rasterio

    with gdal_with(session), rasterio.open(f"WMTS:{session.address}/scenes/demo/wmts,layer=original") as raster:
        # The sample, at a hundredth of the finest level.
        left, top = (int(value) for value in ~raster.transform * (200.0, -200.0))
        window = rasterio.windows.Window(left, top, 51_200, 51_200)
        part = raster.read(1, window=window, out_shape=(512, 512))
        return f"{raster.count} bands, CRS {raster.crs}, a window with {len(set(part.ravel().tolist()))} grey levels"


def gdal_xyz(session: Session) -> str:
    """Open the XYZ tiles as QGIS's layer of that name does."""
    import rasterio

    description = (
        "<GDAL_WMS><Service name='TMS'><ServerUrl>"
        f"{session.address}/scenes/demo/tiles/${{z}}/${{x}}/${{y}}?layer=original"
        "</ServerUrl></Service><DataWindow><UpperLeftX>-20037508.34</UpperLeftX><UpperLeftY>20037508.34</UpperLeftY>"
        "<LowerRightX>20037508.34</LowerRightX><LowerRightY>-20037508.34</LowerRightY><TileLevel>16</TileLevel>"
        "<TileCountX>1</TileCountX><TileCountY>1</TileCountY><YOrigin>top</YOrigin></DataWindow>"
        "<Projection>EPSG:3857</Projection><BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY>"
        "<BandsCount>4</BandsCount><ZeroBlockHttpCodes>404</ZeroBlockHttpCodes></GDAL_WMS>"
    )
    with gdal_with(session), rasterio.open(description) as raster:
        _, col, row = TILE
        part = raster.read(window=rasterio.windows.Window(col * 256, row * 256, 256, 256))
        return f"tile {part.shape}, mean colour {part[:3].mean():.1f}, opaque {100 * (part[3] == 255).mean():.0f} %"


def qgis(session: Session) -> str:
    """Open XYZ tiles, WMTS of a scene and of a result, and the COG; what is drawn has the colours of the tiles."""
    import numpy as np
    from PIL import Image

    tiles = f"{session.address}/scenes/demo/tiles/{{z}}/{{x}}/{{y}}?layer=original"
    of_scene, of_result = (f"{session.address}/{one}/wmts" for one in ("scenes/demo", f"jobs/{session.item}"))
    by_result = requests.get(of_result, headers=session.headers, timeout=60).text
    template = by_result.partition('template="')[2].partition('"')[0].replace("&amp;", "&")
    zoom, col, row = RESULT_TILE
    matrix = {"{TileMatrix}": zoom, "{TileCol}": col, "{TileRow}": row, "{z}": zoom, "{x}": col, "{y}": row}
    layers = {
        "XYZ": ("wms", f"type=xyz&zmin=0&zmax=22&url={quote(_with_key(tiles, session), safe='')}", tiles),
        "WMTS": ("wms", _wmts_source(of_scene, "original", session), tiles),
        "WMTS of the result": ("wms", _wmts_source(of_result, "product", session), template),
        "COG": ("gdal", f"/vsicurl/{_with_key(session.product, session)}", None),
    }
    with tempfile.TemporaryDirectory() as folder:
        places = {name: str(Path(folder) / f"{i}.png") for i, name in enumerate(layers)}
        wanted = [
            {
                "name": name,
                "provider": provider,
                "source": source,
                "extent": extent_of(RESULT_TILE),
                "png": places[name],
            }
            for name, (provider, source, _) in layers.items()
        ]
        described = []
        for (name, (_, _, address)), found in zip(layers.items(), _drawn_by_qgis(wanted, folder), strict=True):
            if "error" in found:
                raise RuntimeError(f"{name}: {found['error']}")
            with Image.open(places[name]) as drawn:
                pixels = np.asarray(drawn.convert("RGB")).astype(float)
            if address is None:
                described.append(f"{name} {found['size'][0]} × {found['size'][1]} px, {found['crs']}")
                continue
            for text, number in matrix.items():
                address = address.replace(text, str(number))
            answer = requests.get(address, headers=session.headers, timeout=300)
            answer.raise_for_status()
            with Image.open(io.BytesIO(answer.content)) as tile:
                difference = np.abs(np.asarray(tile.convert("RGB")).astype(float) - pixels).mean()
            if pixels.std() < 3 or difference > 3:
                raise RuntimeError(f"{name}: QGIS draws other colours, by {difference:.1f} of 255")
            described.append(f"{name} drawn as its tile, to {difference:.1f} of 255")
    return "; ".join(described)


def _with_key(address: str, session: Session) -> str:
    """The address with the key, for programs that send no headers."""
    return address if session.key is None else f"{address}{'&' if '?' in address else '?'}api_key={session.key}"


def _wmts_source(address: str, layer: str, session: Session) -> str:
    """A layer of a WMTS as QGIS names it."""
    url = quote(_with_key(address, session), safe="")
    return f"crs=EPSG:3857&format=image/png&layers={layer}&styles=default&tileMatrixSet=GoogleMapsCompatible&url={url}"


def extent_of(tile: tuple[int, int, int]) -> list[float]:
    """West, south, east and north of a tile, metres."""
    zoom, col, row = tile
    side = 2 * HALF_M / 2**zoom
    west, north = col * side - HALF_M, HALF_M - row * side
    return [west, north - side, west + side, north]


def _drawn_by_qgis(layers: list[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
    python = os.environ.get("QGIS_PYTHON", "/usr/bin/python3")
    others = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in others}
    environment |= {"QT_QPA_PLATFORM": "offscreen", "no_proxy": "127.0.0.1,localhost", "XDG_RUNTIME_DIR": folder}
    if subprocess.run([python, "-c", "import qgis.core"], env=environment, capture_output=True, check=False).returncode:
        raise ModuleNotFoundError("No module named 'qgis'", name="QGIS")
    wanted = Path(folder) / "layers.json"
    wanted.write_text(json.dumps(layers))
    script = Path(__file__).with_name("clients_in_qgis.py")
    done = subprocess.run([python, script, wanted], env=environment, capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def gdal_with(session: Session) -> Iterator[None]:
    """GDAL's settings for the service, its key among them."""
    import rasterio

    headers = "\r\n".join(f"{name}: {value}" for name, value in session.headers.items())
    options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_HEADERS": headers or None}
    host = urlsplit(session.address).hostname or ""
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = host
    try:
        with rasterio.Env(**{name: value for name, value in options.items() if value}):
            yield
    finally:
        os.environ.pop("no_proxy")
        if before is not None:
            os.environ["no_proxy"] = before


def size_of(answer: requests.Response) -> str:
    """Size of a picture. Raises where it is none."""
    from PIL import Image

    answer.raise_for_status()
    with Image.open(io.BytesIO(answer.content)) as picture:
        return f"{picture.width} × {picture.height} px"


CLIENTS: tuple[Callable[[Session], str], ...] = (
    owslib_processes,
    owslib_records,
    owslib_wmts,
    owslib_wmts_of_result,
    pystac_client,
    rio_tiler,
    rio_tiler_xyz,
    gdal_cog,
    gdal_wmts,
    gdal_xyz,
    qgis,
)


def main(arguments: list[str] | None = None) -> int:
    """Let each client do its part; 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="of the service, as http://127.0.0.1:8000")
    parser.add_argument("--key", help="API key, where the service asks for one")
    given: Any = parser.parse_args(arguments)
    session, failed = order(Session(given.address.rstrip("/"), given.key)), 0
    for client in CLIENTS:
        name = client.__name__.replace("_", " ")
        try:
            print(f"{name:<21} {client(session)}", flush=True)
        except ModuleNotFoundError as error:
            print(f"{name:<21} left out: {error.name} is not installed", flush=True)
        # Whatever goes wrong with one is said, and the others go on.
        except Exception as error:
            failed += 1
            print(f"{name:<21} FAILED: {type(error).__name__}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
