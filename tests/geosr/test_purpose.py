"""Purpose of models: cards state it, other sensors are served with a note, and all of it reaches installed users."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geosr.cli.models import main_figures
from geosr.errors import ModelError
from geosr.model import zoo
from geosr.model.bands import map_bands
from geosr.model.card import read_card_file
from geosr.model.purpose import notes_for
from geosr.run.manifest import Manifest
from tests.conftest import REPOSITORY, call_geosr, read_raster, write_raster

CARD = zoo.read_card(zoo.DEFAULT_MODEL)
OLI = ("B1", "B2", "B3", "B4", "B5", "B6", "B7")
OLI_ROLES = ("coastal", "blue", "green", "red", "nir", "swir16", "swir22")


@pytest.fixture
def landsat(tmp_path, sample):
    """Bands of Landsat's order, names and DN, with the sample's reflectance, unnamed and without radiometry."""
    reflectance = sample[[0, 0, 1, 2, 3, 3, 2], :48, :40] * 1e-4
    dn = np.rint((reflectance + 0.2) / 0.0000275).astype(np.uint16)
    return write_raster(tmp_path / "in.tif", dn, names=(), transform=from_origin(359130, 5352340, 30, 30))


def test_the_default_model_says_what_it_is_for():
    assert (CARD.sensor, CARD.gsd_m) == ("sentinel-2", 10)
    assert CARD.digest == "20c9211c5d85b55a17482b15dbd5d20af4f8e66b71474599a401e34ca73e7af2"


def test_cards_from_before_sensors_load(tmp_path):
    content = json.loads((CARD.folder / "rgbn-x4.json").read_text())
    del content["sensor"], content["gsd_m"]
    (tmp_path / "old.json").write_text(json.dumps(content))
    old = read_card_file(tmp_path / "old.json")
    assert (old.sensor, old.gsd_m) == (None, None)
    assert old.digest == CARD.digest
    assert notes_for(old, "landsat-oli", 30) == []


def test_notes_are_for_what_a_model_was_not_made_for():
    assert notes_for(CARD, "sentinel-2", 10) == notes_for(CARD, None, None) == notes_for(CARD, None, 14) == []
    (sensor,) = notes_for(CARD, "planetscope-4", 10)
    assert "made for sentinel-2, not planetscope-4" in sensor
    (size,) = notes_for(CARD, None, 30)
    assert "made for pixels of 10 m, and these have 30 m" in size
    assert notes_for(CARD, "sentinel-2", 3)
    assert notes_for(zoo.read_card("bicubic"), "landsat-oli", 30) == []


def test_bands_of_other_sensors_are_mapped_by_what_they_are_for():
    mapping = map_bands(OLI, CARD, plain_image=False, roles=OLI_ROLES)
    assert mapping.keep == ("B2", "B3", "B4", "B5")
    assert mapping.note == "bands by their colours: B2 for B02, B3 for B03, B4 for B04, B5 for B08"
    four = np.arange(4, dtype=np.float32).reshape(4, 1, 1)
    assert mapping.enter(four).ravel().tolist() == [0, 1, 2, 3]
    swapped = map_bands(("nir", "red", "green", "blue"), CARD, plain_image=False, roles=("nir", "red", "green", "blue"))
    assert swapped.enter(four).ravel().tolist() == [3, 2, 1, 0]
    assert swapped.leave(swapped.enter(four)).ravel().tolist() == [0, 1, 2, 3]
    with pytest.raises(ModelError, match="no B02, B03, B04, B08"):
        map_bands(("red", "green", "blue"), CARD, plain_image=False, roles=("red", "green", "blue"))
    of_landsat = CARD.model_copy(update={"sensor": "landsat-oli", "bands": ("B4", "B3", "B2", "B5")})
    assert map_bands(OLI, of_landsat, plain_image=False, roles=OLI_ROLES).note is None


def test_a_landsat_scene_is_upscaled_and_says_how(tmp_path, capsys, landsat):
    out = tmp_path / "out.tif"
    assert call_geosr("upscale", landsat, "-o", out, "--sensor", "landsat-oli") == 0
    told = capsys.readouterr().err
    with rasterio.open(out) as raster:
        tags = raster.tags()
        assert (raster.count, raster.res) == (4, (7.5, 7.5))
    assert tags["GEOSR_SENSOR"] == "landsat-oli"
    assert "B5: reflectance = DN * 2.75e-05 - 0.2" in tags["GEOSR_RADIOMETRY"]
    assert "sensor profile landsat-oli" in tags["GEOSR_RADIOMETRY"]
    for note in (
        "bands named in the order of the sensor profile landsat-oli",
        "bands by their colours: B2 for B02, B3 for B03, B4 for B04, B5 for B08",
        "made for sentinel-2, not landsat-oli",
        "made for pixels of 10 m, and these have 30 m",
        "B1, B6, B7",
    ):
        assert note in tags["GEOSR_NOTES"]
        assert note in " ".join(told.split())
    # The radiometry is that of Sentinel-2's own DN: the same pixels come out as reflectance.
    own = write_raster(
        tmp_path / "own.tif", np.rint((read_raster(landsat)[1:5] * 2.75e-5 - 0.2) * 1e4).astype("uint16")
    )
    assert call_geosr("upscale", own, "-o", tmp_path / "s2.tif", "-q") == 0
    landsat_reflectance = read_raster(out) * 2.75e-5 - 0.2
    np.testing.assert_allclose(landsat_reflectance, read_raster(tmp_path / "s2.tif") * 1e-4, atol=2e-3)


def test_the_profiles_blur_is_that_of_models_without_their_own(tmp_path, landsat):
    """Square pixels are sharper than Sentinel-2's: less is to be undone."""
    spread = {}
    for name in ("backprojection", "bicubic"):
        out = tmp_path / f"{name}.tif"
        options = ("--sensor", "landsat-oli", "--model", name, "-q")
        assert call_geosr("upscale", landsat, "-o", out, *options) == 0
        spread[name] = read_raster(out).std()
    blurred = tmp_path / "blurred.yaml"
    profile = (REPOSITORY / "configs" / "sensors" / "landsat-oli.yaml").read_text()
    blurred.write_text(profile.replace("mtf_nyquist: 0.637", "mtf_nyquist: 0.25").replace("name: landsat", "name: my"))
    out = tmp_path / "more.tif"
    options = ("--sensor", blurred, "--model", "backprojection", "-q")
    assert call_geosr("upscale", landsat, "-o", out, *options) == 0
    assert spread["bicubic"] < spread["backprojection"] < read_raster(out).std()


def test_runs_without_a_sensor_keep_their_identity(monkeypatch, tmp_path, sample):
    kept = {}
    of = Manifest.of.__func__

    def keep(cls, *arguments, **more):
        manifest = of(cls, *arguments, **more)
        kept.update(manifest.content)
        return manifest

    monkeypatch.setattr(Manifest, "of", classmethod(keep))
    source = write_raster(tmp_path / "in.tif", sample[:, :16, :16])
    assert call_geosr("upscale", source, "-o", tmp_path / "o.tif", "--model", "bicubic", "-q") == 0
    assert all("role" not in band for band in kept["bands"])
    more = ("--model", "bicubic", "--sensor", "sentinel-2", "-q")
    assert call_geosr("upscale", source, "-o", tmp_path / "p.tif", *more) == 0
    assert [band["role"] for band in kept["bands"]] == ["blue", "green", "red", "nir"]


def test_info_tells_of_the_sensor(capsys, landsat):
    assert call_geosr("info", landsat, "--sensor", "landsat-oli", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["sensor"] == "landsat-oli"
    assert "sensor profile landsat-oli" in content["bands"][0]
    assert call_geosr("info", landsat, "--sensor", "landsat") == 2
    assert "there are generic-rgb" in capsys.readouterr().err


def test_models_are_listed_with_what_they_are_for(capsys):
    assert call_geosr("models") == 0
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if "rgbn-x4 " in line)
    figures = CARD.figures["held_out"]["claremont 2.4 m"]["rgbn-x4"]
    resolution = f"{CARD.effective_resolution_lr_px:.2f} px"
    for part in ("sentinel-2, 10 m", "B02,B03,B04,B08", f"{figures['over_bicubic_db']:+.2f}", resolution, "1.8 M"):
        assert part in row
    assert call_geosr("models", "--json") == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert listed["rgbn-x4"]["gsd_m"] == 10
    assert listed["rgbn-x4"]["main_figures"]["over_bicubic_db"] == figures["over_bicubic_db"]
    assert listed["bicubic"]["main_figures"]["over_bicubic_db"] == 0
    assert all(0 < ratio < 0.6 for ratio in listed["s2-ten-x4"]["main_figures"]["coarse_rmse_over_bicubic"].values())
    assert main_figures(CARD.model_copy(update={"name": "new", "figures": {}}), CARD)["over_bicubic_db"] is None


def test_a_models_card_is_shown_by_its_name(capsys):
    assert call_geosr("models", "rgbn-x4") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "rgbn-x4"
    assert call_geosr("models", "bicubic", "--json") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "bicubic"
    assert call_geosr("models", "nonsense") == 1
    assert "no model nonsense: there are rgbn-x4" in capsys.readouterr().err


@pytest.mark.slow
def test_a_wheel_holds_all_files_of_its_packages(tmp_path):
    """Build a copy: building leaves files beside its sources."""
    pytest.importorskip("setuptools", minversion="77", reason="needs setuptools as pyproject.toml does")
    shutil.copytree(REPOSITORY, tmp_path / "src", ignore=_but_sources)
    build = "from setuptools.build_meta import build_wheel; import sys; build_wheel(sys.argv[1])"
    (tmp_path / "wheel").mkdir()
    command = [sys.executable, "-c", build, tmp_path / "wheel"]
    ran = subprocess.run(command, cwd=tmp_path / "src", capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    (wheel,) = (tmp_path / "wheel").iterdir()
    with ZipFile(wheel) as files:
        held = {name for name in files.namelist() if "dist-info" not in name}
        assert held == set(_files_of_packages())
        files.extractall(tmp_path / "installed")
    code = "import catalog; print(catalog.__file__, *catalog.sensor_names(), catalog.read_sensor('landsat-oli').scale)"
    command = [sys.executable, "-c", code]
    ran = subprocess.run(
        command, cwd=tmp_path / "installed", capture_output=True, text=True, check=True, env={"PATH": ""}
    )
    assert ran.stdout.startswith(str(tmp_path / "installed"))
    assert "landsat-oli" in ran.stdout
    assert ran.stdout.split()[-1] == "2.75e-05"


def _files_of_packages():
    """Names of all files but those for readers and what Python makes."""
    for package in ("geosr", "catalog", "tiling"):
        for path in (REPOSITORY / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md":
                yield path.relative_to(REPOSITORY).as_posix()


def _but_sources(folder, names):
    if str(folder) != str(REPOSITORY):
        return {name for name in names if name == "__pycache__"}
    return set(names) - {"geosr", "catalog", "tiling", "pyproject.toml", "README.md", "LICENSE", "NOTICE"}
