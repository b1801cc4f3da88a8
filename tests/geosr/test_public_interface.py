"""The interface that other code imports: names, version, and types by argument."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import typing
from importlib.metadata import version

import pytest
import xarray as xr
from packaging.requirements import Requirement

import geosr
from geosr.arrays.accessor import GeosrAccessor
from geosr.arrays.options import UpscaleOptions
from geosr.arrays.upscale import upscale
from tests.conftest import REPOSITORY
from tests.source_trees import nodes_of

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


#: Libraries by the names of their modules, where these differ, and those that come with a declared one.
MODULES = {
    "PIL": "pillow",
    "affine": "rasterio",
    "botocore": "s3fs",
    "morecantile": "titiler_core",
    "odc": "odc_geo",
    "pandas": "xarray",
    "rio_tiler": "titiler_core",
    "skimage": "scikit_image",
    "starlette": "fastapi",
    "titiler": "titiler_core",
    "upath": "universal_pathlib",
    "urllib3": "requests",
    "yaml": "pyyaml",
}


def test_the_version_is_that_of_the_distribution():
    assert geosr.__version__ == version("geosr")


def test_names_are_listed_before_they_are_loaded():
    code = "import sys, geosr; assert {'upscale', '__version__'} <= set(dir(geosr)); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'geosr' has no attribute 'downscale'"):
        _ = geosr.downscale


@pytest.mark.parametrize("function", [upscale, GeosrAccessor.upscale])
def test_types_say_dataset_or_array_by_the_argument(function):
    names = {"xr": xr, **vars(sys.modules[function.__module__])}
    found = {}
    for overload in typing.get_overloads(function):
        hints = typing.get_type_hints(overload, names)
        if hints.get("data") is not xr.Dataset:
            found[hints["uncertainty"]] = hints["return"]
    assert found == {
        typing.Literal[False]: xr.DataArray,
        typing.Literal[True]: xr.Dataset,
        bool: xr.DataArray | xr.Dataset,
    }


def test_types_say_that_datasets_come_of_datasets():
    hints = [typing.get_type_hints(overload) for overload in typing.get_overloads(upscale)]
    assert [found["return"] for found in hints if found["data"] is xr.Dataset] == [xr.Dataset]


def test_types_of_options_are_those_of_the_function():
    hints, options = typing.get_type_hints(upscale), typing.get_type_hints(UpscaleOptions)
    assert options == {name: hints[name] for name in options}
    assert set(hints) - set(options) == {"data", "model", "uncertainty", "return"}


def pins(name):
    lines = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    return {one.name.lower(): one for line in lines if line and line[0] != "#" and (one := Requirement(line))}


def requirements():
    parts = PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()
    return {one.name.lower(): one for part in parts for line in part if (one := Requirement(line)).name != "geosr"}


@pytest.mark.parametrize("name", sorted(requirements()))
def test_pinned_versions_are_allowed_ones(name):
    allowed = requirements()[name].specifier
    for pin in (one for file in ("constraints.txt", ".ci/lowest.txt") if (one := pins(file).get(name))):
        (exact,) = pin.specifier
        assert allowed.contains(exact.version), f"{pin} is not {allowed}"


def test_the_lowest_versions_are_pinned_as_declared():
    lowest = pins(".ci/lowest.txt")
    for name, requirement in requirements().items():
        bounds = [bound.version for bound in requirement.specifier if bound.operator == ">="]
        assert bounds, f"{name} has no lowest version"
        if name in lowest:
            assert str(lowest[name].specifier).removeprefix("==").startswith(bounds[0]), name


def test_every_library_that_is_imported_is_declared():
    declared = {name.replace("-", "_") for name in requirements()}
    missing = set()
    for package in ("geosr", "tiling", "catalog"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for node in nodes_of(path):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names:
                    if MODULES.get(name, name) not in declared | {"geosr", "tiling", "catalog"}:
                        missing.add(f"{path.relative_to(REPOSITORY)} imports {name}")
    assert not missing
