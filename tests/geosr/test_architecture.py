"""The direction of imports: geosr composes catalog and tiling, which know neither it, each other, nor the network."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

FORBIDDEN = {
    "tiling": {
        "geosr",
        "catalog",
        "torch",
        "fastapi",
        "starlette",
        "uvicorn",
        "pystac",
        "pystac_client",
        "requests",
        "httpx",
    },
    "catalog": {"geosr", "tiling", "torch", "fastapi", "starlette", "uvicorn"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_in_one_direction(package):
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert files
    for path in files:
        assert not FORBIDDEN[package] & set(imports(path)), path


def test_torch_is_not_loaded_until_it_is_needed():
    code = "import sys, geosr, geosr.cli, tiling, catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_service_starts_without_what_it_does_not_ask_of_titiler():
    code = "import sys, geosr.service.app; sys.exit(', '.join({'xarray', 'pandas', 'torch'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_product_code_never_looks_for_development_data():
    for package in ("geosr", "tiling", "catalog"):
        for path in (REPOSITORY / package).rglob("*.py"):
            assert "shared/data" not in path.read_text(encoding="utf-8"), path


def test_modules_stay_small():
    for package in ("geosr", "tiling", "catalog"):
        for path in (REPOSITORY / package).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
