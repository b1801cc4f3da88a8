"""Errors of the product, and the exit code of each.

GeosrError
├── UsageError        the command cannot mean anything              exit 2
├── ModelError        a model that does not exist or does not fit   exit 1
├── ResumeError       an unfinished run that is not this one        exit 1
├── ExistsError       an output that is there already               exit 1
├── TrainingError     a training run that cannot begin or go on    exit 1
├── PairsError        a pair set that cannot be configured or built  exit 1
├── DeviceError       hardware that is not there, or too small      exit 1
└── WorkerError       worker processes that died                    exit 1

What :mod:`catalog` and :mod:`tiling` raise is shown in the same way: exit 2 for :class:`catalog.RequestError`, and 1
for all else.
"""


class GeosrError(Exception):
    """Base of everything this package raises on purpose."""


class UsageError(GeosrError):
    """The arguments contradict each other or cannot be understood."""


class ModelError(GeosrError):
    """The model is unknown, damaged, or not made for this input."""


class ResumeError(GeosrError):
    """The output has an unfinished run with other settings, or another process is at it."""


class ExistsError(GeosrError):
    """The output exists."""


class TrainingError(GeosrError):
    """The training configuration is wrong, its imagery is missing, or the run came to nothing."""


class PairsError(GeosrError):
    """The configuration of a pair set is wrong, its imagery does not fit, or nothing came of it."""


class DeviceError(GeosrError):
    """The device asked for is not there, or its memory is too small for a chunk."""


class WorkerError(GeosrError):
    """Worker processes died at a chunk, most likely for want of memory; finished chunks are kept."""
