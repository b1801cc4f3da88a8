"""Benchmarks run: each in its smallest case, and the page is made of what comes of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name", ["adaptation", "end_to_end", "engines", "scaling", "service", "sources", "startup", "usual"]
)
def test_a_benchmark_runs_and_has_its_section(tmp_path, name):
    run = subprocess.run(
        [sys.executable, BENCHMARKS / f"{name}.py", "--smoke", "--results", tmp_path], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    (kept,) = tmp_path.iterdir()
    assert kept.name == f"{name}.json"
    result = json.loads(kept.read_text())
    assert result["machine"]["cores"] >= 1
    page = tmp_path / "page.md"
    subprocess.run(
        [sys.executable, BENCHMARKS / "report.py", "--results", tmp_path, "--page", page],
        check=True,
        capture_output=True,
    )
    assert page.read_text().count("\n## ") == 1
    assert result["command"] in page.read_text()


def test_the_page_is_that_of_the_kept_results(tmp_path):
    page = tmp_path / "page.md"
    subprocess.run([sys.executable, BENCHMARKS / "report.py", "--page", page], check=True, capture_output=True)
    assert page.read_text() == (REPOSITORY / "docs" / "benchmarks.md").read_text()


def test_the_sizing_table_is_that_of_the_kept_results(tmp_path):
    page = tmp_path / "scaling.md"
    page.write_text((REPOSITORY / "docs" / "scaling.md").read_text())
    command = [sys.executable, REPOSITORY / "scripts" / "sizing.py", "--page", page]
    subprocess.run(command, check=True, capture_output=True)
    assert page.read_text() == (REPOSITORY / "docs" / "scaling.md").read_text()
