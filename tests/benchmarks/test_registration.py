"""Known shifts, gains and offsets put on the bundled sample are found again; patches of other ground are refused."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.test_smoke import run_script
from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_shifts_are_found_to_a_tenth_of_a_pixel_under_noise_and_clouds(tmp_path):
    run_script(REPOSITORY / "benchmarks" / "registration.py", "--smoke", "--results", tmp_path)
    result = json.loads((tmp_path / "registration.json").read_text())
    errors = result["errors"]
    assert errors["all"]["cases"] == 30
    assert errors["all"]["shift_px"]["p95"] <= 0.1
    assert errors["kept"]["cases"] >= 8
    assert errors["kept"]["gain"]["p95"] <= 0.1
    assert errors["kept"]["offset"]["p95"] <= 0.02
    assert result["unrelated_rejected"] == 1
    run_script(REPOSITORY / "benchmarks" / "report.py", "--results", tmp_path, "--page", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert page.count("\n## ") == 1
    assert f"| all | 30 | {errors['all']['shift_px']['median']:.3f} |" in page
