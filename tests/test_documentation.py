"""The documentation: links lead somewhere, pages are listed, the site builds without a warning."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml

from scripts.docs_hooks import commands
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"

#: Pages whose links work in the repository, where no site generator looks at them.
OUTSIDE = ("README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md")

LINK = re.compile(r"\]\(([^)\s]+)\)")


def without_code(text):
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(path):
    """Names of a page's headings as GitHub and MkDocs make them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower())).strip("-") for title in titles}


def broken_links(page):
    for target in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists():
            yield f"{target}: no such file"
        elif anchor and anchor not in anchors(path):
            yield f"{target}: no such heading"


@pytest.mark.parametrize("page", [*OUTSIDE, *sorted(str(p.relative_to(REPOSITORY)) for p in DOCS.rglob("*.md"))])
def test_links_lead_somewhere(page):
    assert list(broken_links(REPOSITORY / page)) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](#one-two) [b](#three) [c](missing.md) [d](https://example.org) `[e](no.md)`\n")
    assert list(broken_links(page)) == ["#three: no such heading", "missing.md: no such file"]


def listed(entry):
    if isinstance(entry, str):
        return [entry]
    values = entry.values() if isinstance(entry, dict) else entry
    return [page for value in values for page in listed(value)]


def test_every_page_is_listed_once():
    navigation = listed(yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(navigation) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_files_that_contributing_names_exist():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("| where |") : text.index("## House rules")]
    folder = ""
    named = []
    for name in re.findall(r"`([\w/]+(?:\.py|/))`", table):
        folder = name if name.endswith("/") else folder
        named.append(name if "/" in name else f"{folder}{name}")
    assert len(named) > 12
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


def test_the_command_reference_has_every_subcommand_with_its_options():
    text = commands()
    for name in ("upscale", "search", "info", "models adapt", "pairs build", "keys create", "serve"):
        assert f"## `geosr {name}`" in text
    assert "* `--max-cloud PERCENT`: Highest cloud cover." in text
    assert "..." not in text.split("## `geosr upscale`")[0].replace("[ARGS]...", "")


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra [docs] is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra [docs] is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "read_sensor" in (tmp_path / "site" / "reference" / "catalog" / "index.html").read_text(encoding="utf-8")
    assert "--mask-clouds" in (tmp_path / "site" / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
