"""The tutorials, run as they are written: their commands and Python, and what these print."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
from contextlib import chdir, redirect_stdout

import pytest

from tests.conftest import REPOSITORY, run_here

TUTORIALS = REPOSITORY / "docs" / "tutorials"

BLOCK = re.compile(r"^```(python|sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")

#: Numbers differ by this share between engines and processors.
TOLERANCE = 0.15


def blocks(text):
    """Code of a page, each with the output that the page shows of it, or None."""
    found = BLOCK.findall(text)
    for i, (language, code) in enumerate(found):
        if language != "text":
            after = found[i + 1] if i + 1 < len(found) else ("", "")
            yield language, code, after[1] if after[0] == "text" else None


def run_block(language, code, names):
    """Run a block in the current folder and return what it prints."""
    if language == "python":
        with redirect_stdout(io.StringIO()) as printed:
            exec(code, names)
        return printed.getvalue()
    printed = ""
    for line in code.replace("\\\n", " ").splitlines():
        first, *arguments = shlex.split(line, comments=True)
        done = (
            run_here(*arguments)
            if first == "geosr"
            else subprocess.run([first, *arguments], capture_output=True, text=True, check=False)
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        printed += done.stdout
    return printed


def assert_alike(printed, shown):
    """Hold words to each other exactly, and numbers to within the tolerance."""
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", shown)
    for ours, theirs in zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True):
        assert float(ours) == pytest.approx(float(theirs), rel=TOLERANCE, abs=0.01), printed


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(path.name for path in TUTORIALS.glob("*.md")))
def test_a_tutorial_does_what_it_says(tmp_path, page):
    for module, extra in (("skimage", "change"), ("exactextract", "fields")):
        pytest.importorskip(module, reason=f"the extra [{extra}] is not installed")
    names = {"__name__": "tutorial"}
    found = list(blocks((TUTORIALS / page).read_text(encoding="utf-8")))
    assert sum(shown is not None for *_, shown in found) >= 3
    with chdir(tmp_path):
        for language, code, shown in found:
            printed = run_block(language, code, names)
            if shown is not None:
                assert_alike(printed, shown)


def test_output_that_a_page_does_not_show_is_found():
    assert_alike("more water: 16.53 ha\n", "more water: 16.4 ha\n")
    with pytest.raises(AssertionError):
        assert_alike("more water: 16.53 ha\n", "less water: 16.53 ha\n")
    with pytest.raises(AssertionError):
        assert_alike("more water: 16.53 ha\n", "more water: 12 ha\n")
