"""Errors of the tiling package.

TilingError
├── PlanError      a chunk plan that cannot be made
└── OutputError    a file that cannot be written
    ├── DiskFullError  no space left while writing
    ├── OccupiedError  another file has appeared under the output's name
    ├── DamagedChunkError  a chunk file whose bytes are not those that were written
    └── StorageError   storage that does not answer; what is there stays
"""

from __future__ import annotations

from typing import Any


class TilingError(Exception):
    """Base of everything this package raises on purpose."""


class PlanError(TilingError):
    """The grid or the chunk size does not make a plan."""


class OutputError(TilingError):
    """The output could not be written."""


class DiskFullError(OutputError):
    """The disk ran full."""


class DamagedChunkError(OutputError):
    """A finished chunk's file is not what was written; without it, the chunk is computed anew."""

    def __init__(self, path: Any) -> None:
        super().__init__(f"the chunk file {path} is damaged: the same command computes it anew")
        self.path = path
        """Location of the file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)


class OccupiedError(OutputError):
    """Another program's file is where a finished one goes."""

    def __init__(self, path: Any) -> None:
        super().__init__(
            f"{path} was made by another program meanwhile and is not replaced: move it elsewhere, and the same "
            "command finishes"
        )
        self.path = path
        """Location of the file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)


class StorageError(OutputError):
    """Storage could not be reached: the same command may go on later."""
