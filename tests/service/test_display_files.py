"""Preview and styles beside a job's product."""

from __future__ import annotations

import json

from geosr.service.jobs.display_files import PREVIEW, style_path
from geosr.service.jobs.job_main import add_display_files
from tests.conftest import write_raster


def test_a_product_without_room_for_its_preview_is_a_product(tmp_path, sample, capsys):
    product = write_raster(tmp_path / "product.tif", sample[:, :32, :32])
    before = product.read_bytes()
    (tmp_path / PREVIEW).mkdir()
    add_display_files(product)
    event = json.loads(capsys.readouterr().out)
    assert event["event"] == "note"
    assert "preview" in event["text"]
    assert product.read_bytes() == before
    (tmp_path / PREVIEW).rmdir()
    add_display_files(product)
    assert capsys.readouterr().out == ""
    assert (tmp_path / PREVIEW).is_file()
    assert style_path(product).is_file()
