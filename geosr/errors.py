"""Errors of the product, and the exit code of each.

GeosrError
├── UsageError        the command cannot mean anything              exit 2
├── ModelError        a model that does not exist or does not fit   exit 1
├── ResumeError       an unfinished run that is not this one        exit 1
├── ExistsError       an output that is there already               exit 1
└── DeviceError       hardware that is not there                    exit 1

What :mod:`catalog` and :mod:`tiling` raise (exit 1) is shown to the user in the same way.
"""


class GeosrError(Exception):
    """Base of everything this package raises on purpose."""

    exit_code = 1


class UsageError(GeosrError):
    """The arguments contradict each other or cannot be understood."""

    exit_code = 2


class ModelError(GeosrError):
    """The model is unknown, damaged, or not made for this input."""


class ResumeError(GeosrError):
    """The output has an unfinished run with other settings, or another process is at it."""


class ExistsError(GeosrError):
    """The output exists."""


class DeviceError(GeosrError):
    """The device asked for is not there."""
