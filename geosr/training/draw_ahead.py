"""Batches drawn in threads while the device computes the steps before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from geosr import hardware
from geosr.training.data import Batch, PatchSampler

#: Batches that wait for each thread, so that a slow one delays nothing.
_WAITING_PER_THREAD = 2


def draw_ahead(sampler: PatchSampler, first: int, last: int, device: str) -> Iterator[Batch]:
    """Yield the batches of steps ``first`` to ``last - 1`` in their order, on the device.

    A batch depends on the configuration's seed and its step alone, so threads change when it is drawn and nothing else.
    On a CPU no thread is used: the cores belong to the network.

    Parameters
    ----------
    sampler
        Draws the patches.
    first, last
        First step, and the step after the last.
    device
        ``cpu`` or ``cuda``.

    Yields
    ------
    Batch
        The patches of one step.
    """
    if device == "cpu":
        for step in range(first, last):
            yield sampler.batch(step)
        return
    threads = max(1, hardware.cores() - 1)
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(threads, "batches", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for step in range(first, last + _WAITING_PER_THREAD * threads):
                if step < last:
                    waiting.append(pool.submit(_pinned, sampler, step))
                if step >= first + _WAITING_PER_THREAD * threads and waiting:
                    yield Batch(*(one.to(device, non_blocking=True) for one in waiting.popleft().result()))
        finally:
            for one in waiting:
                one.cancel()


def _pinned(sampler: PatchSampler, step: int) -> Batch:
    """The batch in memory that is copied to the GPU while it computes."""
    return Batch(*(one.pin_memory() for one in sampler.batch(step)))
