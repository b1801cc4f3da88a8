"""The direction of imports: geosr composes catalog and tiling, which know neither it, each other, nor the network."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.conftest import REPOSITORY
from tests.source_trees import nodes_of, tree_of

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


#: Modules at the root of geosr; everything else lives in a folder.
ROOT = {
    "__init__",
    "__main__",
    "before_after",
    "configuration",
    "errors",
    "hardware",
    "progress",
    "settings",
    "version",
}

#: Parts of geosr from the bottom up. A part imports those above it in this list, never one below.
ORDER = [
    "errors",
    "version",
    "hardware",
    "progress",
    "before_after",
    "configuration",
    "model",
    "codegen",
    "engine",
    "settings",
    "inference",
    "registration",
    "dates",
    "run",
    "arrays",
    "evaluate",
    "maps",
    "plain_images",
    "batch",
    "change",
    "fields",
    "cube",
    "training",
    "release",
    "pairs",
    "service",
    "cli",
    "__init__",
    "__main__",
]

#: Parts of geosr.service, in the same way.
SERVICE_ORDER = [
    "messages",
    "request_types",
    "geojson",
    "problems",
    "problem_responses",
    "head",
    "metrics",
    "schemas",
    "settings",
    "database",
    "cache",
    "geography",
    "fetch",
    "security",
    "uploads",
    "vector_uploads",
    "fields",
    "sampling",
    "live_scene",
    "scenes",
    "results",
    "tiles",
    "jobs",
    "context",
    "routes",
    "openapi",
    "app",
    "run",
    "__init__",
]


def imports(path):
    for node in nodes_of(path):
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


def imported_modules():
    """Modules of geosr, and those of them that each imports, also where an import waits inside a function."""
    files = {}
    for path in sorted((REPOSITORY / "geosr").rglob("*.py")):
        name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        files[name.removesuffix(".__init__")] = path
    found = {}
    for module, path in files.items():
        names = set()
        for node in nodes_of(path):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= (whole & set(files)) or {node.module}
        found[module] = (names & set(files)) - {module}
    return found


def part_of(module, package):
    rest = module.removeprefix(package).lstrip(".")
    return rest.split(".")[0] if rest else "__init__"


def test_only_named_modules_stay_at_the_root():
    assert {path.stem for path in (REPOSITORY / "geosr").glob("*.py")} == ROOT


@pytest.mark.parametrize(("package", "order"), [("geosr", ORDER), ("geosr.service", SERVICE_ORDER)])
def test_no_part_imports_one_above_it(package, order):
    wrong = []
    for module, others in imported_modules().items():
        if not module.startswith(package):
            continue
        part = part_of(module, package)
        for other in others:
            if other.startswith(package) and order.index(part_of(other, package)) > order.index(part):
                wrong.append(f"{module} imports {other}")
    assert not wrong


def test_parts_are_listed_once_and_exist():
    for package, order in (("geosr", ORDER), ("geosr.service", SERVICE_ORDER)):
        assert len(set(order)) == len(order)
        folder = REPOSITORY / package.replace(".", "/")
        modules = {path.stem for path in folder.glob("*.py")} | {
            path.parent.name for path in folder.glob("*/__init__.py")
        }
        assert modules == set(order)


def test_no_module_imports_itself_through_others():
    TopologicalSorter(imported_modules()).prepare()


def test_folders_say_where_to_start():
    for path in (REPOSITORY / "geosr").glob("*/**/__init__.py"):
        text = ast.get_docstring(tree_of(path)) or ""
        assert "May import" in " ".join(text.split()), f"{path} does not say what it may import"


def test_torch_is_not_loaded_until_it_is_needed():
    code = "import sys, geosr, geosr.cli.main, tiling, catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_service_starts_without_what_it_does_not_ask_of_titiler():
    code = "import sys, geosr.service.app; sys.exit(', '.join({'xarray', 'pandas', 'torch'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_parameters_of_requests_are_read_without_a_thread():
    """FastAPI hands plain functions to a thread each, which takes longer than most of them."""
    found = 0
    for path in (REPOSITORY / "geosr" / "service").rglob("*.py"):
        calls = [node for node in nodes_of(path) if isinstance(node, ast.Call)]
        used = {one.id for call in calls if getattr(call.func, "id", "") == "Depends" for one in call.args}
        found += len(used)
        assert not used & {node.name for node in nodes_of(path) if isinstance(node, ast.FunctionDef)}, path
    assert found > 5


def test_one_function_edits_the_table_of_modules():
    edits = re.compile(r"sys\.modules(\[.*\] *=|\.(update|setdefault|pop|clear)\()|del sys\.modules")
    editing = {
        path.relative_to(REPOSITORY).as_posix()
        for package in ("geosr", "tiling", "catalog")
        for path in (REPOSITORY / package).rglob("*.py")
        if edits.search(path.read_text(encoding="utf-8"))
    }
    assert editing == {"geosr/hardware.py"}


def test_product_code_never_looks_for_development_data():
    for package in ("geosr", "tiling", "catalog"):
        for path in (REPOSITORY / package).rglob("*.py"):
            assert "shared/data" not in path.read_text(encoding="utf-8"), path


def test_modules_stay_small():
    for package in ("geosr", "tiling", "catalog", "tests", "benchmarks", "scripts"):
        for path in (REPOSITORY / package).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path


def type_names(module):
    """Classes of a module, and names that it gives to types."""
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            yield node.target.id
        elif isinstance(node, ast.Assign) and ast.unparse(node.value).startswith(("Literal[", "Callable[")):
            yield node.targets[0].id


def test_a_type_name_stands_for_one_thing():
    found = {}
    for package in ("geosr", "tiling", "catalog"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            for name in type_names(tree_of(path)):
                found.setdefault(name, []).append(path.relative_to(REPOSITORY).as_posix())
    assert not {name: paths for name, paths in found.items() if len(paths) > 1}


#: Words that the field has others for.
OLD_WORDS = re.compile(
    r"[dD]oubts\b|\bhand_over|\bhand_out\b|\b_Loan\b|\.lend\(|LaneEngine|[rR]ehears|RoundTrip|round_trip|\bTRIP"
    r"|\bFaster\b|\bfaster=|\b_Wish\b|\b_Teller\b|\bsum_up\b|\bin_type\b|mistake of ours|GEOSR_SUPPORT|OUT_support"
    r"|\b[pP]lanes\b|\bphases\b|_phases\b|\.picture\b|--picture\b|\bpicture: bool|\.noting\("
    r"|LANE|DOUBT|\b_Order\b|: Take\b|\bAccount\b|: Room\b|\btrip\b|travelled|entrance|\bConstrained\b|class Made\b"
)


def test_old_words_are_gone():
    paths = [
        path
        for folder in ("geosr", "tiling", "catalog", "tests", "benchmarks", "scripts")
        for path in (REPOSITORY / folder).rglob("*.py")
    ]
    paths += (REPOSITORY / "docs").rglob("*.md")
    for path in paths:
        found = OLD_WORDS.search(path.read_text(encoding="utf-8"))
        assert path.name == "test_architecture.py" or found is None, f"{path}: {found}"
