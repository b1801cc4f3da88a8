"""Evaluation: figures of known results, coverage of known intervals, and the command from rasters to report."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from geosr.errors import ModelError
from geosr.evaluate.comparison import compare
from geosr.evaluate.contenders import Contender, ContenderOutput, baselines, open_model, sensor_of
from geosr.evaluate.coverage import measure_coverage
from geosr.evaluate.held_out import ImageSet, observe, read_images
from geosr.evaluate.result import figures_of
from geosr.evaluate.samples import choose
from geosr.model.rrdb import RRDBNet
from tests.conftest import RGBN, SAMPLE, call_geosr, data_file, read_raster, run_here, write_raster

TRANSFERS = dict(zip(RGBN, (0.26, 0.28, 0.24, 0.26), strict=True))


@pytest.fixture
def chips(tmp_path, sample):
    """Three chips of the bundled sample, taken as high resolution."""
    folder = tmp_path / "chips"
    folder.mkdir()
    for i, left in enumerate((0, 96, 192)):
        write_raster(folder / f"chip_{i}.tif", sample[:, :96, left : left + 96])
    return folder


def chip_set(**more):
    return ImageSet("chips", "*.tif", 10000, **more)


def checkpoint(path, bands=3, **more):
    torch.manual_seed(0)
    network = RRDBNet(bands, bands, features=8, growth=4, blocks=2, tail="interpolate", **more)
    state = {key: value.half().contiguous() for key, value in network.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"params_ema": state}, path)
    return path


def ok(result):
    assert result.returncode == 0, result.stderr
    return result


def own(*arguments):
    return ("--full-scale", 10000, *arguments)


def test_a_perfect_contender_has_perfect_figures(chips):
    truths = iter(read_images(chip_set(), chips, RGBN))
    perfect = Contender("perfect", RGBN, lambda lr: ContenderOutput(next(truths)))
    sensor = sensor_of(RGBN, TRANSFERS)
    found = compare(chip_set(), chips, [*baselines(RGBN, sensor), perfect], perfect, TRANSFERS)
    figures = next(row.figures for row in found.rows if row.name == "perfect")
    assert figures.psnr_db == float("inf")
    assert figures.ssim == pytest.approx(1)
    assert figures.ergas == 0
    assert figures.spectral_angle_deg == pytest.approx(0, abs=1e-3)
    # What is left is the noise that was added: its mean absolute value is 0.8 of its standard deviation.
    assert figures.consistency == pytest.approx(0.0008, rel=0.05)
    assert figures.improvement > 0.95
    assert figures.hallucination < 0.03
    assert all(gain == pytest.approx(1) for gain in figures.gain.values())
    assert all(bias == pytest.approx(0, abs=1e-6) for bias in figures.bias.values())
    assert figures.registration_shift_px == 0
    assert figures.effective_resolution_hr_px == 1
    assert figures.effective_resolution_lr_px == 0.25
    assert figures.effective_resolution_m == 2.5
    assert figures_of(found)["perfect"]["psnr_db"] is None
    # Its error is nothing, so that the place it is best at is where bicubic is worst.
    assert [sample.error for sample in found.samples] == [0, 0, 0]
    assert found.samples[0].error_interpolated >= found.samples[2].error_interpolated > 0


def test_known_faults_show_in_their_figures(chips):
    """A gain of 1.1 and a bias of 0.02 on every band, and a shift of one HR pixel."""
    sensor = sensor_of(RGBN, TRANSFERS)
    truths = read_images(chip_set(), chips, RGBN)
    wrong, moved = iter(truths), iter(truths)
    contenders = [
        *baselines(RGBN, sensor),
        Contender("wrong", RGBN, lambda lr: ContenderOutput(1.1 * next(wrong) + 0.02)),
        Contender("moved", RGBN, lambda lr: ContenderOutput(next(moved).roll(1, dims=2))),
    ]
    found = compare(chip_set(), chips, contenders, contenders[-1], TRANSFERS)
    figures = {row.name: row.figures for row in found.rows}
    assert all(gain == pytest.approx(1.1, abs=1e-3) for gain in figures["wrong"].gain.values())
    assert all(bias == pytest.approx(0.02, abs=1e-3) for bias in figures["wrong"].bias.values())
    assert figures["moved"].registration_shift_px == pytest.approx(1, abs=0.1)
    assert figures["bicubic"].psnr_db > figures["nearest"].psnr_db
    assert figures["backprojection"].psnr_db > figures["bicubic"].psnr_db
    assert figures["backprojection"].consistency < figures["bicubic"].consistency
    over = {row.name: row.over_bicubic_db for row in found.rows}
    assert over["bicubic"] == 0
    assert over["backprojection"] == pytest.approx(figures["backprojection"].psnr_db - figures["bicubic"].psnr_db)


def test_a_contender_of_fewer_bands_is_judged_by_those_and_so_are_bicubic_and_the_model(chips):
    visible = ("B04", "B03", "B02")
    seen = []

    def run(lr):
        seen.append(lr)
        return ContenderOutput(lr.repeat_interleave(4, 1).repeat_interleave(4, 2))

    sensor = sensor_of(RGBN, TRANSFERS)
    contenders = [*baselines(RGBN, sensor), Contender("colours", visible, run)]
    found = compare(chip_set(), chips, contenders, contenders[0], TRANSFERS)
    rows = {(row.name, row.bands): row for row in found.rows}
    # It repeats pixels, as the model does, which sees all bands.
    assert rows["colours", visible].figures.psnr_db == pytest.approx(rows["nearest", visible].figures.psnr_db)
    assert rows["colours", visible].over_bicubic_db < 0
    assert rows["bicubic", visible].over_bicubic_db == 0
    assert ("colours", RGBN) not in rows
    assert set(rows["colours", visible].figures.gain) == set(visible)
    assert "colours (B04, B03, B02)" in figures_of(found)
    lr = observe(read_images(chip_set(), chips, RGBN), sensor)[0]
    assert (seen[0] == lr[[2, 1, 0]]).all()


def test_coverage_of_known_intervals():
    """Error is uniform up to twice the half-width: half is covered, everywhere."""
    rng = np.random.default_rng(0)
    truth = torch.tensor(rng.uniform(0.1, 0.9, (1, 300, 300)))
    width = torch.tensor(rng.uniform(0.01, 0.05, (1, 300, 300)))
    image = truth + 2 * width * torch.tensor(rng.uniform(-1, 1, (1, 300, 300)))
    of = measure_coverage([image], [width], [truth], ["B02"])["B02"]
    for share in (of.overall, of.brightest, of.darkest, of.edges):
        assert share == pytest.approx(0.5, abs=0.02)
    assert of.mean_half_width == pytest.approx(0.03, rel=0.01)
    error = (image - truth).abs().flatten()
    assert float((error <= of.constant_half_width).double().mean()) == pytest.approx(of.overall, abs=1e-3)
    assert 0.2 < of.rank_correlation < 0.8


def test_coverage_shows_where_intervals_fail():
    """Only the brightest tenth of one band lies outside; of the other, half-widths rank the errors perfectly."""
    truth = torch.arange(10000, dtype=torch.float64).reshape(1, 100, 100).repeat(2, 1, 1) / 10000
    error = torch.where(truth >= 0.9, 0.2, 0.05)
    error[1] = 0.01 + truth[1]
    widths = torch.full_like(truth, 0.1)
    widths[1] = 2 * error[1]
    found = measure_coverage([truth + error], [widths], [truth], ["B04", "B08"])
    assert found["B04"].overall == pytest.approx(0.9, abs=1e-3)
    assert found["B04"].brightest == pytest.approx(0, abs=1e-2)
    assert found["B04"].darkest == 1
    assert np.isnan(found["B04"].rank_correlation)
    assert found["B08"].rank_correlation == pytest.approx(1)
    assert found["B08"].overall == 1


def test_places_are_the_best_the_median_and_the_worst():
    truth = torch.zeros(1, 192, 288)
    plain, ours = truth.clone(), truth.clone()
    gains = {(0, 0): 0.05, (0, 1): 0.04, (0, 2): 0.03, (1, 0): 0.02, (1, 1): 0.01, (1, 2): -0.06}
    for (row, col), gain in gains.items():
        block = (0, slice(96 * row, 96 * row + 96), slice(96 * col, 96 * col + 96))
        plain[block] = 0.1
        ours[block] = 0.1 - gain
    lr = torch.zeros(1, 48, 72)
    best, typical, worst = choose([truth], [lr], [plain], [ours], [ours])
    assert (best.top_px, best.left_px) == (0, 0)
    assert (worst.top_px, worst.left_px) == (96, 192)
    assert (typical.what, typical.error_interpolated) == ("typical", pytest.approx(0.1))
    assert 0.02 <= 0.1 - typical.error <= 0.031
    assert best.observed.shape == best.half_width.shape == (1, 96, 96)


@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny.pth"])
def test_a_checkpoint_of_esrgans_form_tells_its_size(tmp_path, name):
    opened = open_model(str(checkpoint(tmp_path / name)))
    assert opened.card.network.model_dump() == {
        "features": 8,
        "growth": 4,
        "blocks": 2,
        "tail": "interpolate",
        "width_features": 0,
        "estimates_noise": False,
    }
    assert opened.card.bands == ("B04", "B03", "B02")
    assert opened.card.base == "none"
    assert opened.card.steps == 0
    with torch.inference_mode():
        assert opened.network(torch.rand(1, 3, 10, 12)).shape == (1, 3, 40, 48)


def test_published_weights_are_read():
    opened = open_model(str(data_file("weights/realesrgan_x4plus_rgb_fp16.safetensors")))
    assert (opened.card.network.features, opened.card.network.growth, opened.card.network.blocks) == (64, 32, 23)


def test_what_is_no_such_checkpoint_is_refused(tmp_path):
    unpickled = tmp_path / "code.pth"
    torch.save({"params": print}, unpickled)
    text = tmp_path / "text.safetensors"
    text.write_text("no weights")
    ours = tmp_path / "ours.safetensors"
    save_file(RRDBNet(4, 4, features=8, growth=4, blocks=1, tail="shuffle").state_dict(), ours)
    part = tmp_path / "part.safetensors"
    state = RRDBNet(3, 3, features=8, growth=4, blocks=1).state_dict()
    save_file({key: value for key, value in state.items() if "rdb2" not in key}, part)
    for path in (unpickled, text, ours, part, tmp_path / "absent.pth", checkpoint(tmp_path / "five.pth", bands=5)):
        with pytest.raises(ModelError, match=path.name):
            open_model(str(path))


@pytest.mark.slow
def test_the_command_writes_figures_and_a_page_that_holds_all_it_shows(tmp_path, chips):
    output = tmp_path / "out"
    tiny = checkpoint(tmp_path / "tiny.safetensors")
    command = ("evaluate", "backprojection", chips, *own("--against", tiny), "-q", "--json", "-o", output)
    printed = json.loads(ok(run_here(*command)).stdout)
    content = json.loads((output / "evaluation.json").read_text())
    assert printed == content
    assert content["model"] == "backprojection"
    assert list(content["sensor"]["sigma_hr_px"]) == ["B02", "B03", "B04"]
    one = content["sets"]["chips"]
    assert one["images"] == ["chip_0.tif", "chip_1.tif", "chip_2.tif"]
    names = ["nearest", "bilinear", "bicubic", "bicubic (a = -3/4)", "backprojection", "tiny"]
    assert list(one["figures"]) == names
    figures = one["figures"]["backprojection"]
    assert figures["over_bicubic_db"] > 0.3
    assert set(figures["gain"]) == set(figures["bands"]) == {"B02", "B03", "B04"}
    assert figures["improvement"] + figures["omission"] + figures["hallucination"] == pytest.approx(1, abs=1e-4)
    assert figures["effective_resolution_m"] == pytest.approx(10 * figures["effective_resolution_lr_px"], abs=1e-3)
    assert len(one["ring_correlation"]["tiny"]["correlation"]) == len(
        one["ring_correlation"]["tiny"]["cycles_per_lr_px"]
    )
    assert one["coverage"] == {}
    assert [sample["what"] for sample in one["samples"]] == ["best", "typical", "worst"]

    page = (output / "report.html").read_text()
    assert "http:" not in page
    assert "https:" not in page
    assert "<script" not in page
    assert "<link" not in page
    sources = re.findall(r'src(?:set)?="([^"]*)"', page)
    assert len(sources) == 3 * 2 + 3 * 4
    for source in sources:
        with Image.open(BytesIO(b64decode(source.removeprefix("data:image/png;base64,")))) as picture:
            picture.load()
            assert picture.width >= 96
    assert page.count("<img") == page.count("alt=")
    assert "tiny" in page

    again = run_here(*command)
    assert again.returncode == 1
    assert "--overwrite" in again.stderr
    first = (output / "evaluation.json").read_bytes()
    ok(run_here(*command, "--overwrite"))
    assert (output / "evaluation.json").read_bytes() == first


def test_the_command_prints_tables(chips):
    text = ok(
        run_here("evaluate", "backprojection", chips, *own("--name", "two [b]chips", "--glob", "*[01].tif"))
    ).stdout
    assert "two [b]chips" in text
    assert "over bicubic" in text
    assert "hallucination" in text
    row = next(line.split() for line in text.splitlines() if line.startswith(("backprojection", " backprojection")))
    assert float(row[2]) > 0.3


def test_a_model_with_calibrated_half_widths_is_measured_by_them(tmp_path, chips):
    torch.manual_seed(0)
    network = RRDBNet(4, 4, features=8, growth=4, blocks=1, tail="shuffle", width_features=4)
    # An untrained network's last layer is 0, and such weights are refused.
    torch.nn.init.normal_(network.conv_last.weight, std=1e-3)
    card = tmp_path / "wide.json"
    save_file(network.state_dict(), tmp_path / "wide.safetensors")

    card.write_text(
        json.dumps(
            {
                "name": "wide",
                "description": "untrained",
                "bands": RGBN,
                "reference_reflectance": [0.3, 0.3, 0.3, 0.5],
                "mtf_nyquist": list(TRANSFERS.values()),
                "network": {"features": 8, "growth": 4, "blocks": 1, "width_features": 4},
                "calibration": {"level": 0.9, "factors": [0.5, 0.5, 0.5, 1000]},
                "weights": "wide.safetensors",
                "weights_sha256": hashlib.sha256((tmp_path / "wide.safetensors").read_bytes()).hexdigest(),
                "halo_px": 8,
            }
        )
    )
    output = tmp_path / "out"
    ok(run_here("evaluate", card, chips, *own("-o", output, "-q")))
    content = json.loads((output / "evaluation.json").read_text())
    coverage = content["sets"]["chips"]["coverage"]["wide"]
    assert list(coverage) == list(RGBN)
    assert coverage["B08"]["overall"] == 1
    assert 0 < coverage["B02"]["overall"] < 1
    assert 0 < coverage["B02"]["edges"] <= 1
    page = (output / "report.html").read_text()
    assert page.count("half-width, white is") == 6


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("backprojection", "CHIPS"), 2, "--full-scale"),
        (("backprojection", "CHIPS", "--glob", "*.tif"), 2, "--full-scale"),
        (("backprojection", "CHIPS", "--full-scale", "0"), 2, "--full-scale"),
        (("backprojection", "CHIPS", *own("--glob", "*.png")), 2, "no imagery matches"),
        (("backprojection", "CHIPS/absent", *own()), 2, "is not a folder"),
        (("backprojection", "CHIPS", *own("--reduce", 2)), 2, "sides are 64"),
        (("unheard-of", "CHIPS", *own()), 1, "no model unheard-of"),
        (("CHIPS/absent.safetensors", "CHIPS", *own()), 1, "cannot read the checkpoint"),
        (("backprojection", "CHIPS", *own("--against", "CHIPS/absent.json")), 1, "cannot read the model card"),
    ],
)
def test_wrong_use_is_one_line(chips, capsys, arguments, code, said):
    replaced = (str(one).replace("CHIPS", str(chips)) for one in arguments)
    assert call_geosr("evaluate", *replaced, "-q") == code
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_missing_bands_and_pixels_are_named(chips, sample):
    write_raster(chips / "chip_1.tif", sample[:3, :96, :96], names=RGBN[:3])
    result = run_here("evaluate", "rgbn-x4", chips, *own("-q"))
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "chip_1.tif has no B08" in result.stderr
    holed = sample[:, :96, :96].copy()
    holed[:, 3, 3] = 0
    write_raster(chips / "chip_1.tif", holed, nodata=0)
    assert "pixels without data" in run_here("evaluate", "rgbn-x4", chips, *own("-q")).stderr


def test_the_bundled_sample_can_be_the_truth(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(SAMPLE, folder)
    truth = read_images(ImageSet("sample", "*.tif", 10000), folder, RGBN)[0]
    assert (truth.numpy() == (read_raster(SAMPLE) / np.float32(10000)).astype(np.float32)).all()
    assert read_images(ImageSet("sample", "*.tif", 10000, reduce=3), folder, RGBN)[0].shape == (4, 100, 100)
