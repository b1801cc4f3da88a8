"""Size of chunks and number of chunks computed at a time, from the model's need and the machine's memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from geosr import hardware
from geosr.engine import EngineSpec, Parallel
from geosr.errors import UsageError
from geosr.model.card import ModelCard, NetworkSize
from geosr.model.layer_margins import kept_margin

#: Sides of a chunk's core, LR pixels, that are chosen from. All are multiples of two of the output's blocks, so that
#: chunks encode the first overview as well; the larger, the less of the work is done twice in margins.
CORES_PX = (1280, 1024, 768, 512, 256)

#: Memory of a process that chunks may take by default, bytes. Larger ones gain a few percent.
_BUDGET = 3_030_000_000

#: And the share of the machine's memory at most.
_SHARE = 0.5

#: Cores beyond which several chunks are computed at a time: layers are too small to keep more of them busy.
_CORES_PER_CHUNK = 8

#: Chunks that are computed at a time with a GPU.
_CHUNKS_PER_GPU = 2

#: Bytes per HR value besides the network's: the residual, the image, and what is made of it on the way to a file.
_BYTES_PER_HR_VALUE = 16

#: The same where the image is made some rows at a time, in the residual's place.
_BYTES_PER_HR_VALUE_IN_ROWS = 6

#: What Winograd's channels take, of what their pixels do, and channels besides the maps'.
_PADDED, _SPARE_CHANNELS = 1.13, 17

#: Bytes per band and LR pixel that half-widths and measured fraction take at their fullest.
_BYTES_OF_UNCERTAINTY = 600

#: Copies of the image that a stack has at its fullest.
_COPIES_IN_STACK = 6


def choose_core(
    card: ModelCard,
    engine: EngineSpec,
    bands: int,
    sides_px: Sequence[int] = (),
    processes: int = 1,
    *,
    uncertainty: bool = False,
) -> int:
    """The side of a chunk's core, LR pixels, that the machine has the memory for, in so many processes.

    Of those that cut an area's ``sides_px`` into as few chunks, it is the smallest, which takes the least memory.
    """
    # Processes have a thread each, and a chunk at a time; alone, one computes several.
    at_a_time = processes if processes > 1 else _concurrent_chunks(engine)
    budget = min(_BUDGET, _SHARE * _memory_of(engine) / at_a_time)
    largest = next(
        (core for core in CORES_PX if bytes_of_chunk(card, engine, bands, core, uncertainty=uncertainty) <= budget),
        CORES_PX[-1],
    )
    if not sides_px:
        return largest
    fewest = [math.ceil(side / largest) for side in sides_px]
    return min(core for core in CORES_PX if [math.ceil(side / core) for side in sides_px] == fewest)


def check_core(card: ModelCard, core_px: int) -> None:
    """Refuse chunks that would cut through pixels of a model's coarse bands. Raises :class:`UsageError`."""
    if core_px % card.span:
        raise UsageError(f"chunks of {core_px} pixels: {card.name} needs a multiple of {card.span}")


def bytes_of_chunk(
    card: ModelCard, engine: EngineSpec, bands: int, core_px: int, *, uncertainty: bool = False
) -> float:
    """Memory that a chunk takes at most, besides the model's weights; measured by ``benchmarks/engines.py``."""
    read = (core_px + 2 * card.halo_px) ** 2
    image = bands * card.scale**2
    total = float(_BYTES_PER_HR_VALUE * image * read)
    if card.network is not None:
        size = card.network
        width = 4 if engine.precision == "float32" else 2
        # A tail at high resolution has the margin that is left after the body; a layer has what it reads and makes.
        made = (core_px + 2 * kept_margin(card.halo_px)) ** 2
        tail = 2 * size.features * card.scale**2 * width * made if size.tail == "interpolate" else 0
        if engine.name == "winograd-cpu":
            # Its channels stay, and in them the residual becomes the image: some rows at a time, but for half-widths,
            # or where OpenVINO has the tail.
            in_rows = size.tail == "shuffle" and not uncertainty
            spared = _BYTES_PER_HR_VALUE - _BYTES_PER_HR_VALUE_IN_ROWS if in_rows else 4
            total += _bytes_of_channels(size) * read - spared * image * read + tail
        else:
            total += max((_bytes_of_body(size, engine, width) + _bytes_of_split(card, engine)) * read, tail)
        if engine.name == "openvino-cpu" and width < 4:
            # Its graphs hand on float32: the first layer's maps and the body's, given and taken, and their sum.
            total += 5 * size.features * 4 * read
    if uncertainty:
        total += _BYTES_OF_UNCERTAINTY * bands * read
    if card.stack is not None:
        # The coarse bands' detail, their image and its blocks, and the guides' image; the body is small beside them.
        total += _COPIES_IN_STACK * 4 * image * read
    return total


def _bytes_of_body(size: NetworkSize, engine: EngineSpec, width: int) -> float:
    """Memory of a network's body, per pixel that is read; ``width`` is that of its numbers."""
    # A dense block's last layer reads a copy of all before it, and what blocks begin with is kept: by PyTorch in
    # float32, whatever it computes in.
    kept = 4 * size.features * (width if engine.name == "openvino-cpu" else 4)
    return 2 * (size.features + 4 * size.growth) * width + kept


def _bytes_of_split(card: ModelCard, engine: EngineSpec) -> float:
    """Memory of the remainders of features, where a card keeps them in bfloat16."""
    if card.bfloat16 is None or engine.precision != "bfloat16":
        return 0
    most = max(text.count("1") for text in card.bfloat16.split)
    # In bfloat16, and in the copy that a layer reads. PyTorch makes a second one, of features as well, and float32.
    again = 0 if engine.name == "openvino-cpu" else 2 * (len(card.bfloat16.split[0]) + most)
    return 4 * most + again + 4 * (card.network.features if card.network else 0)


def _bytes_of_channels(size: NetworkSize) -> float:
    """Memory of Winograd's body: no layer's input is copied; there are a dense block's maps and those of two more."""
    return _PADDED * 4 * (3 * size.features + 4 * size.growth + _SPARE_CHANNELS)


def choose_parallel(engine: EngineSpec, chunks: int) -> Parallel:
    """Divide the cores among so many chunks."""
    cores = hardware.cores()
    at_once = max(1, min(chunks, _concurrent_chunks(engine)))
    return Parallel(at_once, max(1, cores // at_once))


def _concurrent_chunks(engine: EngineSpec) -> int:
    """Chunks at a time, where there are as many."""
    # While a GPU computes one, another is sent to it or becomes DN.
    return _CHUNKS_PER_GPU if engine.name == "torch-cuda" else max(1, hardware.cores() // _CORES_PER_CHUNK)


def _memory_of(engine: EngineSpec) -> int:
    if engine.name != "torch-cuda":
        return hardware.memory_bytes()
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)
