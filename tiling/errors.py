"""Errors of the tiling package.

TilingError
├── PlanError      a chunk plan that cannot be made
└── OutputError    a file that cannot be written
    ├── DiskFullError  no space left while writing
    └── StorageError   storage that does not answer; what is there stays
"""


class TilingError(Exception):
    """Base of everything this package raises on purpose."""


class PlanError(TilingError):
    """The grid or the chunk size does not make a plan."""


class OutputError(TilingError):
    """The output could not be written."""


class DiskFullError(OutputError):
    """The disk ran full."""


class StorageError(OutputError):
    """Storage could not be reached: the same command may go on later."""
