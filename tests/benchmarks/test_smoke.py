"""Benchmarks run: each in its smallest case, and the page is made of what comes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.warm import run_warm

BENCHMARKS = REPOSITORY / "benchmarks"

pytestmark = pytest.mark.slow


def run_script(path: Path, *arguments: object) -> None:
    run = run_warm(path, *arguments)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "name", ["adaptation", "end_to_end", "engines", "scaling", "service", "sources", "startup", "usual"]
)
def test_a_benchmark_runs_and_has_its_section(tmp_path, name):
    run_script(BENCHMARKS / f"{name}.py", "--smoke", "--results", tmp_path)
    (kept,) = tmp_path.iterdir()
    assert kept.name == f"{name}.json"
    result = json.loads(kept.read_text())
    assert result["machine"]["cores"] >= 1
    page = tmp_path / "page.md"
    run_script(BENCHMARKS / "report.py", "--results", tmp_path, "--page", page)
    assert page.read_text().count("\n## ") == 1
    assert result["command"] in page.read_text()


def test_the_page_is_that_of_the_kept_results(tmp_path):
    page = tmp_path / "page.md"
    run_script(BENCHMARKS / "report.py", "--page", page)
    assert page.read_text() == (REPOSITORY / "docs" / "benchmarks.md").read_text()


def test_the_sizing_table_is_that_of_the_kept_results(tmp_path):
    page = tmp_path / "scaling.md"
    page.write_text((REPOSITORY / "docs" / "scaling.md").read_text())
    run_script(REPOSITORY / "scripts" / "sizing.py", "--page", page)
    assert page.read_text() == (REPOSITORY / "docs" / "scaling.md").read_text()
