"""Which engine, precision and size of chunks are chosen, and what is said where they are not there."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from geosr import hardware
from geosr.engine import EngineSpec, Parallel, check_engine, choose_engine
from geosr.engine.chunking import CORES_PX, bytes_of_chunk, choose_core, choose_parallel
from geosr.errors import DeviceError, UsageError
from geosr.model import zoo
from geosr.model.card import NetworkSize
from tests.conftest import run_here

FLOAT32 = EngineSpec("openvino-cpu", "float32")


@pytest.fixture
def machine(monkeypatch):
    """A machine with other hardware than this one: only what is asked of it is simulated."""

    def have(*, flags=(), openvino=True, llvm=True, cuda=False):
        monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
        monkeypatch.setattr(hardware, "has_openvino", lambda: openvino)
        found = hardware.find_spec
        monkeypatch.setattr(hardware, "find_spec", lambda name: found(name) if name != "llvmlite" or llvm else None)
        monkeypatch.setattr("geosr.engine._openvino_has_bfloat16", lambda: "amx_bf16" in flags)
        monkeypatch.setattr("geosr.engine._has_cuda", lambda needed: cuda)

    return have


@pytest.mark.parametrize(
    ("parts", "wanted", "chosen"),
    [
        ({}, {}, "openvino-cpu-float32"),
        ({"flags": ["avx2"]}, {}, "winograd-cpu-float32"),
        ({"flags": ["avx2"], "llvm": False}, {}, "openvino-cpu-float32"),
        ({"flags": ["avx2"], "openvino": False}, {}, "torch-cpu-float32"),
        ({"flags": ["avx2"]}, {"engine": "openvino"}, "openvino-cpu-float32"),
        ({"flags": ["avx2", "amx_bf16"]}, {}, "openvino-cpu-bfloat16"),
        ({"flags": ["avx2", "amx_bf16"]}, {"precision": "float32"}, "winograd-cpu-float32"),
        ({"flags": ["avx2", "amx_bf16"]}, {"engine": "winograd"}, "winograd-cpu-float32"),
        ({"flags": ["avx2"]}, {"network": False}, "openvino-cpu-float32"),
        ({"flags": ["avx2"], "cuda": True}, {}, "torch-cuda-float16"),
        ({"flags": ["avx2"], "cuda": True}, {"device": "cpu"}, "winograd-cpu-float32"),
        ({"openvino": False}, {}, "torch-cpu-float32"),
        ({"flags": ["amx_bf16"]}, {}, "openvino-cpu-bfloat16"),
        ({"flags": ["amx_bf16"], "openvino": False}, {}, "torch-cpu-float32"),
        ({"flags": ["amx_bf16"]}, {"precision": "float32"}, "openvino-cpu-float32"),
        ({"flags": ["avx512f"]}, {"precision": "bfloat16"}, "torch-cpu-bfloat16"),
        ({"flags": ["amx_bf16"]}, {"network": False}, "openvino-cpu-float32"),
        ({"flags": ["amx_bf16"]}, {"engine": "torch"}, "torch-cpu-float32"),
        ({"cuda": True}, {}, "torch-cuda-float16"),
        ({"cuda": True}, {"precision": "bfloat16"}, "torch-cuda-bfloat16"),
        ({"cuda": True}, {"device": "cpu"}, "openvino-cpu-float32"),
        ({"cuda": True}, {"engine": "openvino"}, "openvino-cpu-float32"),
        ({"cuda": True}, {"device": "cuda", "precision": "float32"}, "torch-cuda-float32"),
    ],
)
def test_auto_takes_what_the_machine_has(machine, parts, wanted, chosen):
    machine(**parts)
    assert str(choose_engine(**wanted)) == chosen


@pytest.mark.parametrize(
    ("parts", "wanted", "message"),
    [
        ({"openvino": False}, {"engine": "openvino"}, r"pip install 'geosr\[openvino\]'"),
        ({}, {"engine": "openvino", "precision": "bfloat16"}, "no bfloat16 on this processor"),
        ({}, {"engine": "winograd"}, r"AVX2: pip install 'geosr\[cpu\]'"),
        ({"flags": ["avx2"], "llvm": False}, {"engine": "winograd"}, "needs llvmlite"),
        ({}, {"device": "cuda"}, "no CUDA device"),
    ],
)
def test_what_is_not_there_is_said(machine, parts, wanted, message):
    machine(**parts)
    with pytest.raises(DeviceError, match=message):
        choose_engine(**wanted)


@pytest.mark.parametrize("spec", ["openvino-cpu bfloat16", "torch-cuda float32", "winograd-cpu float32"])
def test_a_worker_without_the_engine_of_a_run_says_so(machine, spec):
    """It would compute other pixels than the others, and nobody would know."""
    machine()
    with pytest.raises(DeviceError, match="this run computes with"):
        check_engine(EngineSpec(*spec.split()))


def test_the_command_says_what_it_picked(tmp_path):
    result = run_here("info", "--system", "--json")
    told = json.loads(result.stdout)
    assert told["engine"].startswith(str(choose_engine()))
    assert "auto" in told["engine"]


def test_chunks_are_as_large_as_memory_allows(monkeypatch):
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    bfloat16 = replace(FLOAT32, precision="bfloat16")
    assert choose_core(card, bfloat16, 4) == choose_core(card, FLOAT32, 4) == 768
    # Graphs of two precisions share less of their memory than one.
    assert bytes_of_chunk(card, bfloat16, 4, 768) > 0.8 * bytes_of_chunk(card, FLOAT32, 4, 768)
    sides = []
    for gigabytes in (64, 4, 2, 1, 0.1):
        monkeypatch.setattr(hardware, "memory_bytes", lambda total=gigabytes: int(total * 1e9))
        sides.append(choose_core(card, FLOAT32, 4))
        assert bytes_of_chunk(card, FLOAT32, 4, sides[-1]) < gigabytes * 0.5e9 or sides[-1] == CORES_PX[-1]
    assert sides == sorted(sides, reverse=True)
    assert sides[-1] == 256


@pytest.mark.parametrize(
    ("sides", "core"),
    [
        ((200, 100), 256),
        ((257, 40), 512),
        ((1100, 900), 1280),
        ((2000, 900), 1024),
        ((1372, 1372), 768),
        ((1024, 1024), 1024),
        ((2745,) * 2, 1024),
        ((5490,) * 2, 1280),
    ],
)
def test_chunks_are_no_larger_than_their_number_asks_for(monkeypatch, sides, core):
    monkeypatch.setattr(hardware, "memory_bytes", lambda: int(64e9))
    card, winograd = zoo.read_card(zoo.DEFAULT_MODEL), EngineSpec("winograd-cpu", "float32")
    assert choose_core(card, winograd, 4, sides) == core
    monkeypatch.setattr(hardware, "memory_bytes", lambda: int(1e9))
    assert choose_core(card, winograd, 4, sides) == 256


def test_processes_share_the_memory(monkeypatch):
    monkeypatch.setattr(hardware, "memory_bytes", lambda: int(16e9))
    card, winograd = zoo.read_card(zoo.DEFAULT_MODEL), EngineSpec("winograd-cpu", "float32")
    sides = [choose_core(card, winograd, 4, processes=processes) for processes in (1, 2, 4, 8)]
    assert sides == [1280, 1280, 1024, 512]
    for side, processes in zip(sides, (1, 2, 4, 8), strict=True):
        assert processes * bytes_of_chunk(card, winograd, 4, side) < 0.5 * 16e9


def test_a_tail_at_high_resolution_takes_more_memory_and_no_more_than_its_margin(monkeypatch):
    monkeypatch.setattr(hardware, "memory_bytes", lambda: int(64e9))
    card = zoo.read_card(zoo.DEFAULT_MODEL)
    published = NetworkSize(features=64, growth=32, blocks=23, tail="interpolate")
    large = card.model_copy(update={"network": published, "halo_px": 48})
    assert choose_core(large, FLOAT32, 4) == 512 < choose_core(card, FLOAT32, 4)
    farther = large.model_copy(update={"halo_px": 64})
    more = bytes_of_chunk(farther, FLOAT32, 4, 512) - bytes_of_chunk(large, FLOAT32, 4, 512)
    # Of what the margin adds, only the image and what is read count: not the tail.
    assert more < 0.1 * bytes_of_chunk(large, FLOAT32, 4, 512)


@pytest.mark.parametrize(
    ("engine", "cores", "chunks", "expected"),
    [
        ("openvino-cpu", 1, 9, (1, 1)),
        ("openvino-cpu", 2, 9, (1, 2)),
        ("openvino-cpu", 16, 9, (2, 8)),
        ("openvino-cpu", 64, 3, (3, 21)),
        ("openvino-cpu", 64, 99, (8, 8)),
        ("torch-cuda", 16, 9, (2, 8)),
        ("torch-cuda", 16, 1, (1, 16)),
    ],
)
def test_cores_are_shared(monkeypatch, engine, cores, chunks, expected):
    monkeypatch.setattr(hardware, "cores", lambda: cores)
    assert choose_parallel(EngineSpec(engine, "float32"), chunks) == Parallel(*expected)


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert hardware.cores() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert hardware.cores() >= 1


def test_winograds_convolutions_are_in_float32(machine):
    machine(flags=["avx2"])
    with pytest.raises(UsageError, match="winograd-cpu has no precision bfloat16: it has float32"):
        choose_engine("winograd", precision="bfloat16")


@pytest.mark.parametrize("engine", ["openvino", "winograd"])
def test_only_pytorch_compiles(machine, engine):
    machine(flags=["avx2"])
    with pytest.raises(UsageError, match="--compile"):
        choose_engine(engine, compiled=True)
    assert not choose_engine("torch", "cpu", network=False, compiled=True).compiled


def test_nothing_is_reported_to_the_makers_of_libraries():
    code = "import sys, geosr.engine.openvino_engine; sys.exit('openvino_telemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
