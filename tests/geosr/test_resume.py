"""An unfinished run: what of it is trusted, what is another run, and what it never replaces."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import rasterio
from rasterio.windows import Window

import catalog
from catalog import PixelReader, ReadError, Scene, SceneRequest
from catalog.scene import Pixels
from geosr.errors import ExistsError, ResumeError, WorkerError
from geosr.progress import QuietReporter
from geosr.run.checkpoint import work_folder
from geosr.run.pipeline import super_resolve
from geosr.run.request import UpscaleRequest
from tests.conftest import read_raster, write_raster
from tests.geosr.test_wrong_input import truncated
from tests.upscaling import upscale_request
from tiling import OutputError


class Recorder(QuietReporter):
    """Notes which chunks were computed."""

    def __init__(self) -> None:
        self.computed: list[str] = []
        self.notes: list[str] = []

    def chunk(self, key: str, finished: int, total: int) -> None:
        self.computed.append(key)

    def note(self, text: str) -> None:
        self.notes.append(text)


def request(tmp_path: Path, sample, **options) -> UpscaleRequest:
    source = tmp_path / "in.tif"
    if not source.exists():
        write_raster(source, sample[:, :40, :40])
    fixed = {"model": "bicubic", "core_px": 20}
    return upscale_request(SceneRequest(str(source)), tmp_path / "out.tif", **{**fixed, **options})


def leave_unfinished(the_request: UpscaleRequest) -> list[str]:
    """Stop a run after its first chunks, as an interrupt does."""

    class Stop(Recorder):
        def chunk(self, key: str, finished: int, total: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        super_resolve(the_request, Stop())
    return [path.stem for path in work_folder(the_request.output).glob("r*.tif")]


def test_a_finished_run_is_not_repeated(tmp_path, sample):
    super_resolve(request(tmp_path, sample))
    before = (tmp_path / "out.tif").stat().st_mtime_ns
    recorder = Recorder()
    published = super_resolve(request(tmp_path, sample), recorder)
    assert published.computed == 0
    assert recorder.computed == []
    assert "up to date" in recorder.notes[-1]
    assert (tmp_path / "out.tif").stat().st_mtime_ns == before


def test_a_kill_between_the_cog_and_its_item_is_mended(tmp_path, sample):
    super_resolve(request(tmp_path, sample))
    item = (tmp_path / "out.json").read_bytes()
    (tmp_path / "out.json").unlink()
    work_folder(tmp_path / "out.tif").mkdir()
    super_resolve(request(tmp_path, sample))
    assert (tmp_path / "out.json").read_bytes() == item
    assert not work_folder(tmp_path / "out.tif").exists()


@pytest.mark.parametrize("damage", ["cut", "one bit"])
def test_a_damaged_output_is_made_anew(tmp_path, sample, damage):
    super_resolve(request(tmp_path, sample))
    output = tmp_path / "out.tif"
    whole = output.read_bytes()
    output.write_bytes(whole[: len(whole) * 2 // 3] if damage == "cut" else one_bit_flipped(whole))
    published = super_resolve(request(tmp_path, sample))
    assert published.computed == published.chunks
    assert output.read_bytes() == whole


@pytest.mark.parametrize("content", [None, "", "[]"])
def test_chunks_without_a_manifest_are_not_trusted(tmp_path, sample, content):
    """A kill during the removal of another run may leave this."""
    leave_unfinished(request(tmp_path, sample, model="nearest"))
    manifest = work_folder(tmp_path / "out.tif") / "manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_text(content)
    published = super_resolve(request(tmp_path, sample))
    assert published.computed == published.chunks == 4


def one_bit_flipped(content: bytes) -> bytes:
    at = len(content) * 2 // 3
    return content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :]


def one_page_zeroed(content: bytes) -> bytes:
    return content[:4096] + bytes(4096) + content[8192:]


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[: len(content) // 2], lambda content: b"", one_bit_flipped, one_page_zeroed],
)
def test_only_a_damaged_chunk_is_computed_again(tmp_path, sample, damage):
    super_resolve(request(tmp_path, sample))
    whole = (tmp_path / "out.tif").read_bytes()
    (tmp_path / "out.tif").unlink()
    (tmp_path / "out.json").unlink()
    kept = leave_unfinished(request(tmp_path, sample))
    victim = work_folder(tmp_path / "out.tif") / f"{kept[0]}.tif"
    victim.write_bytes(damage(victim.read_bytes()))
    recorder = Recorder()
    super_resolve(request(tmp_path, sample), recorder)
    assert kept[0] in recorder.computed
    assert set(kept[1:]).isdisjoint(recorder.computed)
    assert (tmp_path / "out.tif").read_bytes() == whole


def test_a_folder_with_other_files_is_not_taken_for_an_unfinished_run(tmp_path, sample):
    folder = work_folder(tmp_path / "out.tif")
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        super_resolve(request(tmp_path, sample))
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_lock_in_a_folder_that_was_removed_meanwhile_is_not_a_lock(tmp_path, sample, monkeypatch):
    """Between opening the lock and locking it, the run that had the folder ends and removes it."""
    folder = work_folder(tmp_path / "out.tif")
    taken = []
    flock = fcntl.flock

    def late(lock, operation):
        if not taken:
            shutil.rmtree(folder)
        flock(lock, operation)
        taken.append(os.fstat(lock.fileno()).st_ino)

    monkeypatch.setattr(fcntl, "flock", late)
    leave_unfinished(request(tmp_path, sample))
    assert len(taken) == 2
    assert (folder / "lock").stat().st_ino == taken[1]


def test_an_output_that_appears_meanwhile_is_not_replaced(tmp_path, sample, monkeypatch):
    """Another process finishes the same output while this one still reads its source."""
    honest = catalog.open_scene

    def slow(scene_request: SceneRequest) -> Scene:
        monkeypatch.undo()
        super_resolve(request(tmp_path, sample, model="nearest"))
        return honest(scene_request)

    monkeypatch.setattr(catalog, "open_scene", slow)
    with pytest.raises(ExistsError, match="--overwrite"):
        super_resolve(request(tmp_path, sample))
    assert not work_folder(tmp_path / "out.tif").exists()
    assert read_raster(tmp_path / "out.tif").shape == (4, 160, 160)


def test_a_refusal_does_not_cost_what_is_finished(tmp_path, sample):
    kept = leave_unfinished(request(tmp_path, sample))
    (tmp_path / "out.tif").write_text("precious")
    with pytest.raises(ExistsError, match=r"out\.tif"):
        super_resolve(request(tmp_path, sample))
    assert [path.stem for path in work_folder(tmp_path / "out.tif").glob("r*.tif")] == kept


@pytest.mark.slow
def test_errors_of_reading_keep_their_kind_in_workers(tmp_path, sample, capfd):
    source = truncated(tmp_path, sample)
    options = {"model": "bicubic", "core_px": 300, "workers": 1}
    with pytest.raises(ReadError, match="damaged or incomplete"):
        super_resolve(upscale_request(SceneRequest(str(source)), tmp_path / "out.tif", **options))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("names", ["B02,-,B03,B04,B08", "B02,B03,-,B04,B08"])
def test_another_choice_of_bands_is_another_run(tmp_path, sample, names):
    source = write_raster(tmp_path / "in.tif", sample[[0, 1, 1, 2, 3], :40, :40], names=())

    def of_bands(text: str) -> UpscaleRequest:
        return upscale_request(
            SceneRequest(str(source), bands=text.split(",")), tmp_path / "out.tif", model="bicubic", core_px=20
        )

    leave_unfinished(of_bands("B02,B03,B04,-,B08"))
    with pytest.raises(ResumeError, match="source"):
        super_resolve(of_bands(names))


@dataclass(frozen=True)
class DeadlyReader:
    """Reads as another does, but its process dies at one corner, as the system lets one die that takes all memory."""

    reader: PixelReader
    row: int

    def read(self, window: Window) -> Pixels:
        if window.row_off + window.height > self.row:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.reader.read(window)

    def select(self, keep: tuple[int, ...]) -> DeadlyReader:
        return replace(self, reader=self.reader.select(keep))


@pytest.mark.slow
def test_workers_that_die_leave_one_line_and_what_is_finished(tmp_path, sample, monkeypatch, capfd):
    honest = catalog.open_scene

    def deadly(scene_request: SceneRequest) -> Scene:
        scene = honest(scene_request)
        return replace(scene, reader=DeadlyReader(scene.reader, row=35))

    monkeypatch.setattr(catalog, "open_scene", deadly)
    with pytest.raises(WorkerError, match=r"worker processes died.*--workers"):
        super_resolve(request(tmp_path, sample, core_px=10, workers=1))
    assert capfd.readouterr().err == ""
    finished = {path.stem for path in work_folder(tmp_path / "out.tif").glob("r*.tif")}
    assert finished

    monkeypatch.undo()
    recorder = Recorder()
    super_resolve(request(tmp_path, sample, core_px=10), recorder)
    assert finished.isdisjoint(recorder.computed)
    assert len(finished) + len(recorder.computed) == 16


@pytest.mark.parametrize(
    ("change", "named"),
    [({"model": "bilinear"}, "model"), ({"core_px": 30}, "chunks"), ({"compression": "deflate"}, "product")],
)
def test_an_unfinished_run_with_other_settings_is_refused(tmp_path, sample, change, named):
    kept = leave_unfinished(request(tmp_path, sample))
    assert kept
    with pytest.raises(ResumeError, match=f"{named}.*--restart"):
        super_resolve(request(tmp_path, sample, **change))
    assert [path.stem for path in work_folder(tmp_path / "out.tif").glob("r*.tif")] == kept
    super_resolve(request(tmp_path, sample, restart=True, **change))
    assert not work_folder(tmp_path / "out.tif").exists()


def test_another_precision_is_another_run(tmp_path, sample):
    leave_unfinished(request(tmp_path, sample, model="rgbn-x4", precision="float32"))
    with pytest.raises(ResumeError, match=r"engine \([\w-]+-float32, now [\w-]+-bfloat16\).*--restart"):
        super_resolve(request(tmp_path, sample, model="rgbn-x4", precision="bfloat16"))


def test_another_engine_is_another_run(tmp_path, sample):
    leave_unfinished(request(tmp_path, sample, model="rgbn-x4", precision="float32", engine="openvino"))
    with pytest.raises(ResumeError, match=r"engine \(openvino-cpu-float32, now torch-cpu-float32\).*--restart"):
        super_resolve(request(tmp_path, sample, model="rgbn-x4", precision="float32", engine="torch", device="cpu"))


def test_the_chunks_of_an_unfinished_run_are_kept_where_none_are_asked_for(tmp_path, sample):
    """Another machine, with other memory, would choose others."""
    kept = leave_unfinished(request(tmp_path, sample))
    recorder = Recorder()
    super_resolve(request(tmp_path, sample, core_px=None), recorder)
    assert set(kept).isdisjoint(recorder.computed)
    assert len(kept) + len(recorder.computed) == 4


def test_a_changed_source_is_another_run(tmp_path, sample):
    leave_unfinished(request(tmp_path, sample))
    write_raster(tmp_path / "in.tif", sample[:, 100:140, :40])
    with pytest.raises(ResumeError, match="source"):
        super_resolve(request(tmp_path, sample))


def test_two_processes_do_not_share_an_output(tmp_path, sample):
    folder = work_folder(tmp_path / "out.tif")
    folder.mkdir()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ResumeError, match="another process"):
            super_resolve(request(tmp_path, sample))


def test_an_existing_output_is_replaced_only_when_asked(tmp_path, sample):
    super_resolve(request(tmp_path, sample))
    bicubic = (tmp_path / "out.tif").read_bytes()
    with pytest.raises(ExistsError, match="--overwrite"):
        super_resolve(request(tmp_path, sample, model="nearest"))
    assert (tmp_path / "out.tif").read_bytes() == bicubic
    super_resolve(request(tmp_path, sample, model="nearest", overwrite=True))
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.tags()["GEOSR_MODEL"] == "nearest"


def test_an_old_output_stays_until_the_new_one_is_whole(tmp_path, sample):
    super_resolve(request(tmp_path, sample))
    before = read_raster(tmp_path / "out.tif")
    leave_unfinished(request(tmp_path, sample, model="nearest", overwrite=True))
    assert (read_raster(tmp_path / "out.tif") == before).all()


def test_what_a_late_worker_of_another_run_wrote_is_made_anew(tmp_path, sample):
    """A copy stands in for the worker: it was computing when its run was given up and another began."""
    leave_unfinished(request(tmp_path, sample, model="bicubic"))
    folder = work_folder(tmp_path / "out.tif")
    # More than one may be finished when it stops.
    late, *_ = sorted(folder.glob("r*.tif"))
    content = late.read_bytes()
    mine = request(tmp_path, sample, model="bilinear", restart=True)
    leave_unfinished(mine)
    late.write_bytes(content)
    with pytest.raises(WorkerError, match="late workers"):
        super_resolve(request(tmp_path, sample, model="bilinear"))
    assert not late.exists()
    assert not (tmp_path / "out.tif").exists()
    recorder = Recorder()
    super_resolve(request(tmp_path, sample, model="bilinear"), recorder)
    assert recorder.computed == [late.stem]
    resumed = (tmp_path / "out.tif").read_bytes()
    super_resolve(request(tmp_path, sample, model="bicubic", overwrite=True))
    super_resolve(request(tmp_path, sample, model="bilinear", overwrite=True))
    assert (tmp_path / "out.tif").read_bytes() == resumed
