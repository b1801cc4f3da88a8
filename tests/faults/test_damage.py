"""A chunk that is damaged after it was written costs that chunk, and nothing else."""

from __future__ import annotations

import random

import pytest

from geosr.run.checkpoint import work_folder
from geosr.run.pipeline import super_resolve
from tests.conftest import read_raster
from tests.faults.runs import Disturbed, finished_run
from tests.geosr.test_resume import Recorder
from tests.small_model import write_small_model
from tiling import DamagedChunkError


def damage_one(folder, seed):
    """Change one bit, zero a page or cut the end of one chunk's file, as the seed has it."""
    chance = random.Random(seed)
    victim = chance.choice(sorted(folder.glob("r*.tif")))
    content = bytearray(victim.read_bytes())
    at = chance.randrange(len(content))
    kind = seed % 3
    if kind == 0:
        content[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        content[at : at + 512] = bytes(len(content[at : at + 512]))
    else:
        del content[at:]
    changed = bytes(content) != victim.read_bytes()
    victim.write_bytes(bytes(content))
    return victim.stem if changed else None


@pytest.mark.parametrize("seed", range(6))
def test_damage_found_while_assembling_costs_the_damaged_chunk(tmp_path, sample, seed):
    wanted, undisturbed = finished_run(tmp_path, sample)
    damaged = []

    def once():
        if not damaged:
            damaged.append(damage_one(work_folder(wanted.output), seed))

    recorder = Disturbed(assembling=once)
    published = super_resolve(wanted, recorder)
    again = [key for key in damaged if key is not None]
    assert recorder.computed[4:] == again
    assert published.computed == 4 + len(again)
    assert any("1 of 4 chunks are damaged" in note for note in recorder.notes) == bool(again)
    assert wanted.output.read_bytes() == undisturbed
    assert not work_folder(wanted.output).exists()


def test_a_disk_that_damages_chunks_again_and_again_ends_the_run_and_keeps_the_others(tmp_path, sample):
    wanted, undisturbed = finished_run(tmp_path, sample)
    folder = work_folder(wanted.output)

    def flip():
        victim = folder / "r0000c0001.tif"
        content = victim.read_bytes()
        victim.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])

    with pytest.raises(DamagedChunkError, match=r"r0000c0001\.tif is damaged"):
        super_resolve(wanted, Disturbed(assembling=flip))
    assert not wanted.output.exists()
    assert sorted(path.stem for path in folder.glob("r*.tif")) == ["r0000c0000", "r0001c0000", "r0001c0001"]
    recorder = Recorder()
    super_resolve(wanted, recorder)
    assert recorder.computed == ["r0000c0001"]
    assert wanted.output.read_bytes() == undisturbed


@pytest.mark.slow
def test_a_damaged_chunk_of_a_layer_is_computed_anew(tmp_path, sample):
    options = {"model": str(write_small_model(tmp_path)), "precision": "float32", "uncertainty": True}
    wanted, undisturbed = finished_run(tmp_path, sample, **options)
    layers = sorted(tmp_path.glob("out_*.tif"))
    before = {path: path.read_bytes() for path in layers}
    assert len(layers) == 2
    for path in layers:
        path.unlink()
    done = []

    def once():
        if not done:
            (victim,) = work_folder(wanted.output).glob("r0001c0000.uncertainty.tif")
            content = victim.read_bytes()
            victim.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
            done.append(victim)

    recorder = Disturbed(assembling=once)
    super_resolve(wanted, recorder)
    assert recorder.computed[4:] == ["r0001c0000"]
    assert wanted.output.read_bytes() == undisturbed
    assert {path: path.read_bytes() for path in layers} == before
    assert read_raster(wanted.output).any()
