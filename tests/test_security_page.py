"""Threats of ``docs/security.md`` and rows of ``docs/reliability.md`` name tests and commands that exist."""

from __future__ import annotations

import ast
import re

from scripts.reliability import PAGE, RESULTS, put
from tests.conftest import REPOSITORY

TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows(page):
    """Rows of all tables of a page, without those above the rulers."""
    lines = (REPOSITORY / "docs" / page).read_text(encoding="utf-8").splitlines()
    return [
        line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("| ") and not after.startswith("|---")
    ]


def functions(path):
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_each_threat_names_tests_that_exist():
    table = rows("security.md")
    assert len(table) > 25
    for row in table:
        named = TEST.findall(row)
        assert named, f"without a test: {row}"
        missing = [f"{path}::{name}" for path, name in named if name not in functions(path)]
        assert not missing, missing


def test_a_test_that_does_not_exist_is_found():
    assert "test_each_threat_names_tests_that_exist" in functions("tests/test_security_page.py")
    assert "test_nothing_of_this_name" not in functions("tests/test_security_page.py")


def test_each_row_of_reliability_names_a_command_or_a_test_that_exists():
    for row in rows("reliability.md"):
        tests, scripts = TEST.findall(row), re.findall(r"`python -m (scripts\.\w+)", row)
        assert tests or scripts, f"without a command: {row}"
        assert all(name in functions(path) for path, name in tests), row
        assert all((REPOSITORY / f"{name.replace('.', '/')}.py").exists() for name in scripts), row


def test_the_trials_of_reliability_are_those_of_the_kept_results():
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("python -m scripts.soak") > 4
    assert put(page, RESULTS) == page
