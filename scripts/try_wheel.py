"""Build the source distribution and the wheel as they are released, and try the wheel in an empty environment.

python scripts/try_wheel.py [FOLDER] [--borrow]    # packages are left in FOLDER, by default in dist/

The wheel is built from the source distribution, with the manual pages in it. The environment is new: geosr and its
extra [cpu] come from the wheel and from the package index; with ``--borrow`` the packages that geosr needs are those of
this Python's environment, and nothing is fetched. It is removed again. Needs setuptools 77 or newer.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
from pathlib import Path
from zipfile import ZipFile

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

#: What the source distribution is made of.
_SOURCES = ("geosr", "catalog", "tiling", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "NOTICE")

_BUILD = "import sys; from setuptools.build_meta import build_{0} as build; print(build(sys.argv[1]))"


def build(folder: Path) -> tuple[Path, Path]:
    """Write the source distribution and the wheel to a folder and return their paths."""
    from scripts.man_pages import write_pages

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="geosr-build-") as name:
        tree = Path(name) / "tree"
        tree.mkdir()
        for one in _SOURCES:
            source = REPOSITORY / one
            if source.is_dir():
                shutil.copytree(source, tree / one, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tree / one)
        write_pages(tree / "man")
        sdist = _build("sdist", tree, folder)
        with tarfile.open(sdist) as archive:
            archive.extractall(name, filter="data")
        wheel = _build("wheel", Path(name) / sdist.name.removesuffix(".tar.gz"), folder)
    return sdist, wheel


def _build(kind: str, tree: Path, folder: Path) -> Path:
    done = _run(sys.executable, "-c", _BUILD.format(kind), str(folder.resolve()), cwd=tree)
    return folder / done.splitlines()[-1]


def try_wheel(wheel: Path, *, borrow: bool) -> dict[str, str]:
    """Install a wheel into a new environment and use it; return what was seen, by what was tried."""
    with tempfile.TemporaryDirectory(prefix="geosr-try-") as name:
        home = Path(name) / "environment"
        elsewhere = Path(name) / "elsewhere"
        elsewhere.mkdir()
        if borrow:
            _borrowing_environment(home, wheel)
        else:
            venv.create(home, with_pip=True)
            constraints = REPOSITORY / "constraints.txt"
            _run(
                home / "bin/python",
                "-m",
                "pip",
                "install",
                "-q",
                "-c",
                constraints,
                f"geosr[cpu] @ {wheel.resolve().as_uri()}",
            )
        geosr = home / "bin" / "geosr"
        seen = {"version": _run(geosr, "--version", cwd=elsewhere).strip()}
        where = "import geosr, tiling, catalog; print(*(one.__file__ for one in (geosr, tiling, catalog)))"
        files = _run(home / "bin/python", "-c", where, cwd=elsewhere).split()
        strays = [file for file in files if not Path(file).is_relative_to(home.resolve())]
        if strays:
            raise SystemExit(f"{strays[0]} is not of the wheel")
        where = "from importlib.resources import files; print(files('geosr') / 'data' / 'sample.tif')"
        sample = _run(home / "bin/python", "-c", where, cwd=elsewhere).strip()
        part = "--bbox=0.010,-0.013,0.013,-0.010"
        seen["upscaled"] = _run(geosr, "upscale", sample, part, "-o", "part.tif", "-q", cwd=elsewhere).splitlines()[0]
        seen["manual"] = (home / "share" / "man" / "man1" / "geosr-upscale.1").read_text().splitlines()[2]
        completion = {"_GEOSR_COMPLETE": "complete_bash", "COMP_WORDS": "geosr ups", "COMP_CWORD": "1"}
        seen["completed"] = _run(geosr, cwd=elsewhere, **completion).strip()
    return seen


def _borrowing_environment(home: Path, wheel: Path) -> None:
    """Make an environment that has the wheel's files, and otherwise the packages of this Python."""
    venv.create(home, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    with ZipFile(wheel) as files:
        for entry in files.namelist():
            _, _, rest = entry.partition(".data/data/")
            files.extract(entry, home if rest else packages)
            if rest:
                target = home / rest
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(home / entry, target)
    # The path alone: what is installed there as editable does not count.
    (packages / "borrowed.pth").write_text(
        "\n".join(dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib")))) + "\n"
    )
    script = home / "bin" / "geosr"
    script.write_text(f"#!{home / 'bin' / 'python'}\nfrom geosr.cli.main import main\nmain()\n")
    script.chmod(0o755)


def _run(*command: object, cwd: Path | None = None, **environment: str) -> str:
    """Run a command that must succeed, without this environment's modules, and return its output."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Build, try, and print what was seen."""
    parser = argparse.ArgumentParser(description="Build the wheel and try it in an empty environment.")
    parser.add_argument("folder", nargs="?", type=Path, default=REPOSITORY / "dist")
    parser.add_argument("--borrow", action="store_true", help="fetch nothing: use the packages of this environment")
    options = parser.parse_args()
    sdist, wheel = build(options.folder)
    print(f"{sdist} {sdist.stat().st_size / 1e6:.1f} MB\n{wheel} {wheel.stat().st_size / 1e6:.1f} MB")
    for tried, seen in try_wheel(wheel, borrow=options.borrow).items():
        print(f"{tried}: {seen}")


if __name__ == "__main__":
    main()
