"""``geosr verify`` finds what is not as it was written."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from geosr.cli.errors import errors
from geosr.run.pipeline import super_resolve
from tests.conftest import call_geosr, write_raster
from tests.geosr.test_resume import one_bit_flipped, request


@pytest.fixture
def product(tmp_path, sample):
    wanted = request(tmp_path, sample)
    super_resolve(wanted)
    return wanted.output


def test_a_product_as_it_was_written_is_whole(product, capsys):
    assert call_geosr("verify", product) == 0
    assert capsys.readouterr().out == f"{product}: whole\n"


def test_damage_is_named_by_its_place_in_one_line_and_by_the_exit_code(product, capsys):
    other = product.with_name("copy.tif")
    other.write_bytes(product.read_bytes())
    product.write_bytes(one_bit_flipped(product.read_bytes()))
    assert call_geosr("verify", product, other) == 1
    said = capsys.readouterr()
    assert said.out == f"{other}: whole\n"
    assert said.err == (f"geosr: {product} is not what was written: pixels from row 0 and column 0 of the full image\n")
    assert call_geosr("verify", product, "--json") == 1
    assert json.loads(capsys.readouterr().out) == [
        {"path": str(product), "whole": False, "damage": ["pixels from row 0 and column 0 of the full image"]}
    ]


def test_layers_of_the_product_are_checked_and_files_of_others_are_not(product, capsys):
    """A copy stands in for a layer: it has the tags of the same run."""
    layer = product.with_name("out_uncertainty.tif")
    layer.write_bytes(one_bit_flipped(product.read_bytes()))
    product.with_name("out_measured.tif").write_text("theirs")
    assert call_geosr("verify", product) == 1
    said = capsys.readouterr()
    assert said.out == f"{product}: whole\n"
    assert said.err.startswith(f"geosr: {layer} is not what was written")
    assert "measured" not in said.err


def test_a_raster_of_another_program_is_told_from_a_damaged_product(tmp_path, sample, capsys):
    path = write_raster(tmp_path / "theirs.tif", sample[:, :8, :8])
    assert call_geosr("verify", path) == 1
    assert capsys.readouterr().err == (
        f"geosr: {path} is not a product of geosr: it stores no checksums to hold it against\n"
    )


@pytest.mark.parametrize("content", [b"", b"II*\0nothing", b"theirs"])
def test_what_is_no_product_ends_in_one_line(tmp_path, capsys, content):
    path = tmp_path / "out.tif"
    path.write_bytes(content)
    assert call_geosr("verify", path) == 1
    assert capsys.readouterr().err.count("\n") == 1
    path.unlink()
    assert call_geosr("verify", path) == 1
    assert capsys.readouterr().err == f"geosr: cannot read {path}: No such file or directory\n"


@pytest.mark.parametrize(("debug", "error", "printed"), [(False, "bytes", 0), (True, "bytes", 2), (False, "other", 2)])
def test_rasterios_tracebacks_on_bytes_that_gdal_quotes_are_not_shown(monkeypatch, debug, error, printed):
    """GDAL quotes a damaged file by its bytes, and rasterio, which expects text, prints what it then ignores."""
    seen = []
    monkeypatch.setattr(sys, "excepthook", lambda *_: seen.append("exception"))
    monkeypatch.setattr(sys, "unraisablehook", lambda _: seen.append("unraisable"))
    raised = UnicodeDecodeError("utf-8", b"\xfc", 0, 1, "invalid start byte") if error == "bytes" else ValueError("x")
    with errors(debug):
        sys.excepthook(type(raised), raised, None)
        sys.unraisablehook(SimpleNamespace(exc_type=type(raised), exc_value=raised, object="rasterio._env.log_error"))
    assert len(seen) == printed
    sys.unraisablehook(None)
    assert seen[printed:] == ["unraisable"]
