"""Workers open no more than their run may."""

from __future__ import annotations

import numpy as np
import pytest

from catalog import RefusedError, Restriction, SceneRequest, restrict
from geosr.progress import QuietReporter
from geosr.run.pipeline import super_resolve
from tests.conftest import write_raster
from tests.upscaling import upscale_request


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "allowed").mkdir()
    restrict(Restriction((tmp_path / "allowed",)))
    yield tmp_path
    restrict(None)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_workers_open_no_more_than_the_run_may(folder, workers):
    """The source turns into a link to another file once the run has looked at it."""
    source = write_raster(folder / "allowed" / "in.tif", np.full((4, 40, 40), 1000, np.uint16))
    hidden = write_raster(folder / "hidden.tif", np.full((4, 40, 40), 2000, np.uint16))

    class Swap(QuietReporter):
        def begin(self, description: str, total: int, finished: int, lr_pixels: int) -> None:
            (folder / "link").symlink_to(hidden)
            (folder / "link").replace(source)

    request = upscale_request(
        SceneRequest(str(source)), folder / "out.tif", model="bicubic", core_px=20, workers=workers
    )
    with pytest.raises(RefusedError, match="may not be read"):
        super_resolve(request, Swap())
    assert not (folder / "out.tif").exists()
