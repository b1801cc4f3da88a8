"""Photographs, scans and slices are upscaled to files of their own kind, and are still what they were."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import rasterio
import torch
from PIL import Image, ImageCms
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from rasterio.enums import ColorInterp
from safetensors.torch import save_file

from geosr.model.card import read_card_file
from geosr.model.rrdb import RRDBNet
from geosr.plain_images.files import read_image
from tests.conftest import read_raster, run_here


def photograph(rows=24, cols=36):
    """Red grows to the right and green downwards, (rows, cols, 3)."""
    red, green = np.meshgrid(np.linspace(20, 230, cols), np.linspace(20, 230, rows))
    return np.stack([red, green, np.full_like(red, 128)], axis=-1).astype(np.uint8)


def convert(*arguments):
    run = run_here("image", *arguments, "--model", "bicubic", "-q")
    assert run.returncode == 0, run.stderr
    return run


def refused(*arguments):
    run = run_here("image", *arguments, "--model", "bicubic", "-q")
    assert run.returncode in (1, 2), run.stdout
    (line,) = run.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: np.rot90(a, 2)),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a.swapaxes(0, 1), 2)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_photographs_come_out_upright(tmp_path, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "camera"
    Image.fromarray(photograph()).save(tmp_path / "in.jpg", quality=100, subsampling=0, exif=exif)
    convert(tmp_path / "in.jpg", "-o", tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as made:
        assert made.getexif().get(0x0112, 1) == 1
        pixels = np.asarray(made)
    expected = turned(photograph())
    assert pixels.shape == (expected.shape[0] * 4, expected.shape[1] * 4, 3)
    coarse = pixels.reshape(expected.shape[0], 4, expected.shape[1], 4, 3).mean(axis=(1, 3))
    assert np.abs(coarse - expected).max() < 8


def test_a_colour_profile_stays_and_changes_no_value(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("plain.png", "profiled.png"):
        more = {"icc_profile": profile} if name == "profiled.png" else {}
        Image.fromarray(photograph()).save(tmp_path / name, **more)
    for ending in ("png", "jpg", "tif"):
        convert(tmp_path / "profiled.png", "-o", tmp_path / f"out.{ending}")
        with Image.open(tmp_path / f"out.{ending}") as made:
            assert made.info["icc_profile"] == profile
    convert(tmp_path / "plain.png", "-o", tmp_path / "plain_out.png")
    assert (read_raster(tmp_path / "out.png") == read_raster(tmp_path / "plain_out.png")).all()


def test_transparency_is_upscaled_and_hides_no_colour(tmp_path):
    alpha = np.full((24, 36, 1), 255, np.uint8)
    alpha[:, :12] = 0
    Image.fromarray(np.concatenate([photograph(), alpha], axis=-1)).save(tmp_path / "in.png")
    convert(tmp_path / "in.png", "-o", tmp_path / "out.png")
    with rasterio.open(tmp_path / "out.png") as made:
        assert made.colorinterp[3] == ColorInterp.alpha
        pixels = made.read()
    assert (pixels[3, :, :40] == 0).all()
    assert (pixels[3, :, 60:] == 255).all()
    Image.fromarray(photograph()).save(tmp_path / "opaque.png")
    convert(tmp_path / "opaque.png", "-o", tmp_path / "opaque_out.png")
    assert (pixels[:3] == read_raster(tmp_path / "opaque_out.png")).all()
    assert "JPEG holds no transparency" in refused(tmp_path / "in.png", "-o", tmp_path / "out.jpg")
    assert not (tmp_path / "out.jpg").exists()


def test_palettes_are_the_colours_that_they_stand_for(tmp_path):
    image = Image.fromarray(photograph()).quantize(64)
    image.save(tmp_path / "in.png")
    image.convert("RGB").save(tmp_path / "rgb.png")
    for name in ("in", "rgb"):
        convert(tmp_path / f"{name}.png", "-o", tmp_path / f"{name}_out.png")
    assert (read_raster(tmp_path / "in_out.png") == read_raster(tmp_path / "rgb_out.png")).all()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_shown_from_black_to_white(tmp_path, bits):
    grey = np.arange(64).reshape(1, 8, 8) % 2**bits
    for name, driver, more in (
        ("in.png", "PNG", {}),
        ("in.tif", "GTiff", {}),
        ("white.tif", "GTiff", {"photometric": "MINISWHITE"}),
    ):
        shape = {"count": 1, "height": 8, "width": 8, "dtype": "uint8", "nbits": bits}
        with rasterio.open(tmp_path / name, "w", driver=driver, **shape, **more) as raster:
            raster.write(grey.astype(np.uint8))
        with Image.open(tmp_path / name) as seen:
            shown = np.asarray(seen.convert("L"))
        assert (read_image(tmp_path / name).pixels == shown).all()
        assert (shown.min(), shown.max()) == (0, 255)


def test_values_that_count_from_white_are_turned_round(tmp_path):
    shape = {"count": 1, "height": 8, "width": 8, "dtype": "uint16", "photometric": "MINISWHITE"}
    with rasterio.open(tmp_path / "in.tif", "w", driver="GTiff", **shape) as raster:
        raster.write(np.arange(64, dtype=np.uint16).reshape(1, 8, 8))
    assert read_image(tmp_path / "in.tif").pixels.ravel().tolist() == list(range(65535, 65535 - 64, -1))


@pytest.mark.parametrize("colours", [1, 3])
def test_a_colour_that_a_png_names_as_clear_is_transparent(tmp_path, colours):
    pixels = photograph() if colours == 3 else photograph()[..., 0]
    clear = (20, 20, 128) if colours == 3 else 20
    Image.fromarray(pixels).save(tmp_path / "in.png", transparency=clear)
    image = read_image(tmp_path / "in.png")
    hidden = (pixels == clear).all(axis=-1) if colours == 3 else pixels == clear
    assert hidden.any()
    assert (image.alpha == np.where(hidden, 0, 255)).all()


@pytest.mark.parametrize("name", ["in.tif", "in.gif", "in.webp", "in.png"])
def test_one_of_several_images_is_not_taken_for_all(tmp_path, name):
    first, second = Image.fromarray(photograph()), Image.fromarray(photograph()[::-1])
    first.save(tmp_path / name, save_all=True, append_images=[second])
    assert "holds several images" in refused(tmp_path / name, "-o", tmp_path / "out.png")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_series_of_16_bits_has_one_white(tmp_path):
    for i, white in enumerate((900, 4000)):
        pixels = np.full((1, 16, 16), white // 2, np.uint16)
        pixels[0, 4:9, 4:9] = white
        with rasterio.open(
            tmp_path / f"{i}.png", "w", driver="PNG", count=1, height=16, width=16, dtype="uint16"
        ) as raster:
            raster.write(pixels)
    run = run_here("image", tmp_path / "0.png", tmp_path / "1.png", "-o", tmp_path / "made", "--model", "bicubic")
    assert "white is 4095" in run.stderr
    for i, white in enumerate((900, 4000)):
        made = read_raster(tmp_path / "made" / f"{i}.png")
        assert made.dtype == np.uint16
        assert abs(int(made[0, 26, 26]) - white) <= 0.02 * white
        assert made[0, 0, 0] == white // 2
    assert "above --full-scale 3000" in refused(tmp_path / "1.png", "-o", tmp_path / "x.png", "--full-scale", 3000)


def test_the_network_sharpens_a_photograph(tmp_path):
    stripes = (np.sin(np.arange(40) * 1.6) * 60 + 128).astype(np.uint8)
    Image.fromarray(np.broadcast_to(stripes, (40, 40)).copy()).save(tmp_path / "in.png")
    convert(tmp_path / "in.png", "-o", tmp_path / "soft.png")
    run = run_here("image", tmp_path / "in.png", "-o", tmp_path / "sharp.png", "--model", "backprojection", "-q")
    assert run.returncode == 0, run.stderr
    inner = np.s_[0, 40:-40, 40:-40]
    assert read_raster(tmp_path / "sharp.png")[inner].std() > 1.05 * read_raster(tmp_path / "soft.png")[inner].std()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.png", "-o", "out.png"), "does not exist"),
        (("in.png", "-o", "out.gif"), "has to be an image"),
        (("in.png", "-o", "in.png"), "the source itself"),
        (("in.png", "-o", "none/out.png"), "the folder none does not exist"),
        (("float.tif", "-o", "out"), "8 or 16 bits"),
        (("in.png", "-o", "there.png"), "--overwrite replaces it"),
        (("empty", "-o", "out"), "has no images"),
        (("float.tif", "-o", "out.png"), "8 or 16 bits"),
        (("in.png", "in.png", "-o", "out"), "2 images would become"),
        (("broken.png", "-o", "out.png"), "broken.png"),
        (("in.png", "slice.dcm", "-o", "out"), "series of their own"),
        (("slice.dcm", "-o", "out.png"), "name it .dcm"),
        (("slice.dcm", "-o", "out.dcm", "--full-scale", "100"), "keep their values"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photograph()).save("in.png")
    (tmp_path / "there.png").write_bytes(b"mine")
    (tmp_path / "broken.png").write_bytes((tmp_path / "in.png").read_bytes()[:60])
    (tmp_path / "empty").mkdir()
    write_slice(tmp_path / "slice.dcm", np.zeros((8, 8), np.int16))
    with rasterio.open("float.tif", "w", driver="GTiff", count=1, height=8, width=8, dtype="float32") as raster:
        raster.write(np.zeros((1, 8, 8), np.float32))

    def there():
        return {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}

    before = there()
    assert message in refused(*arguments)
    assert there() == before


def write_slice(path, values, **more):
    """A slice of a computed tomography with 0.8 × 0.5 mm pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = pydicom.Dataset()
    content.file_meta = meta
    content.SOPClassUID, content.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    content.SeriesInstanceUID, content.StudyInstanceUID = "1.2.3", "1.2"
    content.Modality, content.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    content.Rows, content.Columns = values.shape
    content.PhotometricInterpretation, content.SamplesPerPixel = "MONOCHROME2", 1
    content.BitsAllocated, content.BitsStored, content.HighBit, content.PixelRepresentation = 16, 16, 15, 1
    content.RescaleSlope, content.RescaleIntercept = 1, -1024
    content.PixelSpacing, content.SliceThickness = [0.8, 0.5], 2.5
    content.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    content.ImagePositionPatient = [-100, -50, 30]
    content.PixelData = values.astype(np.int16).tobytes()
    for name, value in more.items():
        setattr(content, name, value)
    content.save_as(path, enforce_file_format=True)


def test_slices_keep_their_values_and_their_place(tmp_path):
    (tmp_path / "series").mkdir()
    for i, level in enumerate((-200, 900)):
        values = np.full((12, 16), level, np.int16)
        values[4:8, 4:8] = level + 300
        write_slice(tmp_path / "series" / f"{i}.dcm", values)
    run = run_here("image", tmp_path / "series", "-o", tmp_path / "made", "--model", "bicubic")
    assert run.returncode == 0, run.stderr
    assert "no medical device" in run.stderr
    slices = [pydicom.dcmread(tmp_path / "made" / f"{i}.dcm") for i in range(2)]
    for one, level in zip(slices, (-200, 900), strict=True):
        values = one.pixel_array
        assert values.shape == (48, 64)
        assert values.dtype == np.int16
        assert abs(int(values[2, 2]) - level) <= 1
        assert abs(int(values[24, 24]) - (level + 300)) <= 30
        assert (one.RescaleSlope, one.RescaleIntercept) == (1, -1024)
        assert list(one.PixelSpacing) == [0.2, 0.125]
        # The corner of the first pixel is where it was: half of what a pixel has shrunk by, towards it.
        assert list(one.ImagePositionPatient) == [-100 - 0.1875, -50 - 0.3, 30]
        assert one.SliceThickness == 2.5
        assert list(one.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
        assert "not for diagnosis" in one.SeriesDescription
        assert one.SOPInstanceUID == one.file_meta.MediaStorageSOPInstanceUID
    assert slices[0].SeriesInstanceUID == slices[1].SeriesInstanceUID != "1.2.3"
    assert slices[0].SOPInstanceUID != slices[1].SOPInstanceUID


def test_slices_have_no_layer_of_the_coarser_grid(tmp_path):
    write_slice(tmp_path / "in.dcm", np.zeros((8, 8), np.int16))
    content = pydicom.dcmread(tmp_path / "in.dcm")
    block = content.private_block(0x6001, "other", create=True)
    block.add_new(0x10, "LO", "stays")
    content.add_new(0x60000010, "US", 8)
    content.add_new(0x60000011, "US", 8)
    content.add_new(0x60003000, "OW", bytes(8))
    content.save_as(tmp_path / "in.dcm")
    convert(tmp_path / "in.dcm", "-o", tmp_path / "out.dcm")
    groups = {element.tag.group for element in pydicom.dcmread(tmp_path / "out.dcm")}
    assert 0x6000 not in groups
    assert 0x6001 in groups


def test_slices_whose_frames_have_places_of_their_own_are_refused(tmp_path):
    spacing = pydicom.Dataset()
    spacing.PixelSpacing = [0.5, 0.5]
    shared = pydicom.Dataset()
    shared.PixelMeasuresSequence = [spacing]
    write_slice(tmp_path / "in.dcm", np.zeros((8, 8), np.int16), SharedFunctionalGroupsSequence=[shared])
    assert "says pixel spacing and position by frame" in refused(tmp_path / "in.dcm", "-o", tmp_path / "out.dcm")
    assert not (tmp_path / "out.dcm").exists()


def test_a_published_network_of_photographs_is_a_model_for_them(tmp_path):
    network = RRDBNet(3, 3, features=8, growth=4, blocks=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for layer in (network.conv_first, network.conv_up1, network.conv_up2, network.conv_hr, network.conv_last):
            # It repeats its input's pixels.
            for colour in range(3):
                layer.weight[colour, colour, 1, 1] = 1
    save_file(network.state_dict(), tmp_path / "published.safetensors")
    card = tmp_path / "restore.json"
    adapting = ("--sensor", "generic-rgb", "--bands", "red,green,blue", "--white", 1, "--back-projection", 0)
    run = run_here("models", "adapt", tmp_path / "published.safetensors", *adapting, "-o", card)
    assert run.returncode == 0, run.stderr
    assert read_card_file(card).reference_reflectance == (1, 1, 1)
    grey = photograph()[..., 0]
    for name, pixels in (("colour", photograph()), ("grey", grey)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        run = run_here("image", tmp_path / f"{name}.png", "-o", tmp_path / f"{name}_x4.png", "--model", card)
        assert run.returncode == 0, run.stderr
        expected = np.moveaxis(pixels.reshape(24, 36, -1), -1, 0).repeat(4, axis=1).repeat(4, axis=2)
        assert np.abs(read_raster(tmp_path / f"{name}_x4.png").astype(int) - expected).max() <= 1
