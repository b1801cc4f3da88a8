"""Compare the products of this tree with those of an earlier commit: pixels, tags, Items and bytes.

    python scripts/compare_products.py BEFORE_REF [--data DATA]

Both make the same products: of the bundled sample with its uncertainty, of a ``.SAFE``, of a STAC Item, of a search,
and, from DATA, of ten bands. A case whose source is missing is skipped in a line. Ends with 1 when a product differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import rasterio

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.conftest import RGBN, SAMPLE  # noqa: E402
from tests.safe_product import write_safe  # noqa: E402
from tests.stac_items import serve, write_item  # noqa: E402

#: Ten bands on two grids, in DATA.
TEN = {"fine": "s2/germany_l1c_10m.tif", "coarse": "s2/germany_l1c_20m.tif"}

#: Sides of the scenes that are cut out, source pixels, and of chunks: several of them, at little cost.
SIDE_PX = 96
CORE_PX = 64

_MAKE = """
import json, sys
from geosr.cli.main import main
for arguments in json.load(sys.stdin):
    sys.argv = ["geosr", *arguments]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""

#: Of the tags, those that name the version that wrote the file.
_OF_THE_VERSION = ("GEOSR_VERSION",)


def main() -> int:
    """Make all products with both trees, compare them, and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", metavar="BEFORE_REF", help="commit to compare with")
    parser.add_argument("--data", type=Path, help="folder of the imagery of ten bands")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        cases, skipped = sources(folder, arguments.data, stack)
        earlier = stack.enter_context(worktree(arguments.before, folder / "tree"))
        for tree, label in ((earlier, "before"), (REPOSITORY, "after")):
            (folder / label).mkdir()
            make(tree, folder / label, cases)
        different = 0
        for case in cases:
            found = [one for path in products(folder / "before", case) for one in differences(path, folder / "after")]
            different += bool(found)
            print(f"{case}: {'; '.join(found) or 'equal'}")
    for line in skipped:
        print(f"skipped: {line}")
    return 1 if different else 0


def sources(folder: Path, data: Path | None, stack: ExitStack) -> tuple[dict[str, list[str]], list[str]]:
    """Write the sources; arguments of ``geosr upscale`` by case, and a line for each case that cannot be made."""
    with rasterio.open(SAMPLE) as raster:
        pixels = raster.read()[:, :SIDE_PX, :SIDE_PX]
    item = write_item(folder / "item", "item", pixels)
    footprint = json.loads(item.read_text())["bbox"]
    cases = {
        "sample": [str(SAMPLE), "--uncertainty"],
        "safe": [str(write_safe(folder / "safe", pixels, baseline="05.09"))],
        "item": [str(item), "--uncertainty"],
    }
    skipped = []
    try:
        api = stack.enter_context(serve(folder / "item", item))
        box = ",".join(map(str, footprint))
        cases["search"] = [f"--bbox={box}", "--datetime", "2023-08", "--api", api]
    except OSError as error:
        skipped.append(f"search: no STAC API can be started ({error}): pip install rustac")
    missing = [name for name in TEN.values() if data is None or not (data / name).exists()]
    if missing or data is None:
        skipped.append(f"ten bands: {', '.join(missing)} missing: give --data DATA")
    else:
        with rasterio.open(data / TEN["fine"]) as fine, rasterio.open(data / TEN["coarse"]) as coarse:
            low = dict(zip(coarse.descriptions, coarse.read()[:, : SIDE_PX // 2, : SIDE_PX // 2], strict=True))
            high = dict(zip(fine.descriptions, fine.read()[:, :SIDE_PX, :SIDE_PX], strict=True))
        ten = write_item(folder / "ten", "ten", np.stack([high[band] for band in RGBN]), coarse=low)
        cases["ten"] = [str(ten), "--model", "s2-ten-x4", "--bands", ",".join([*RGBN, *low]), "--uncertainty"]
    return cases, skipped


@contextmanager
def worktree(ref: str, place: Path) -> Iterator[Path]:
    """Check a commit out; the checkout is removed afterwards."""
    git = ["git", "-C", str(REPOSITORY), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(place), ref], check=True)
    try:
        yield place
    finally:
        subprocess.run([*git, "remove", "--force", str(place)], check=True)


def make(tree: Path, target: Path, cases: dict[str, list[str]]) -> None:
    """Upscale all cases with the code of a tree."""
    commands = [
        ["upscale", *words, "-o", str(target / f"{case}.tif"), "--core", str(CORE_PX), "-q"]
        for case, words in cases.items()
    ]
    subprocess.run(
        [sys.executable, "-c", _MAKE],
        check=True,
        cwd=target,
        env={**os.environ, "PYTHONPATH": str(tree)},
        input=json.dumps(commands).encode(),
        stdout=subprocess.DEVNULL,
    )


def products(folder: Path, case: str) -> list[Path]:
    """Files of a case: product, layers and Item."""
    return sorted(path for path in folder.iterdir() if path.name.startswith((f"{case}.", f"{case}_")))


def differences(before: Path, folder: Path) -> list[str]:
    """Sentences on what differs between a file and that of the same name in another folder."""
    after = folder / before.name
    if not after.exists():
        return [f"{before.name} is not there"]
    if before.read_bytes() == after.read_bytes():
        return []
    if before.suffix == ".json":
        return [f"{before.name} has other content"]
    with rasterio.open(before) as one, rasterio.open(after) as other:
        tags, others = ({k: v for k, v in r.tags().items() if k not in _OF_THE_VERSION} for r in (one, other))
        changed_tags = sorted(key for key in {*tags, *others} if tags.get(key) != others.get(key))
        pixels, changed = one.read(), other.read()
    found = [f"{before.name} has another tag {key}" for key in changed_tags]
    if pixels.shape != changed.shape or pixels.dtype != changed.dtype:
        return [*found, f"{before.name} has another shape or type"]
    count = int((~np.isclose(pixels, changed, rtol=0, atol=0, equal_nan=True)).sum())
    if count:
        most = float(np.nanmax(np.abs(pixels.astype(float) - changed.astype(float))))
        found.append(f"{before.name}: {count} of {pixels.size} values differ, by {most:g} at most")
    return found or [f"{before.name} has other bytes, with the same pixels and tags"]


if __name__ == "__main__":
    sys.exit(main())
