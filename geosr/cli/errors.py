"""What goes wrong in a command, as one line on standard error and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def errors(debug: bool) -> Iterator[None]:
    """Turn what is raised on purpose into one line on standard error and an exit code."""
    from catalog import CatalogError, RequestError
    from geosr.errors import GeosrError, UsageError
    from tiling import TilingError

    try:
        yield
    except KeyboardInterrupt:
        if debug:
            raise
        raise typer.Exit(fail("interrupted; the same command goes on where it was", 130)) from None
    except (GeosrError, CatalogError, TilingError) as error:
        if debug:
            raise
        wrong_use = isinstance(error, UsageError | RequestError)
        raise typer.Exit(fail(str(error), 2 if wrong_use else 1)) from None
    except MemoryError as error:
        if debug:
            raise
        raise typer.Exit(fail(f"not enough memory: {error}; try a smaller --core", 1)) from None
    except BrokenPipeError:
        # Whoever read our output has gone: nothing is wrong here.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except typer.Exit:
        raise
    except Exception as error:
        if debug:
            raise
        what = f"{type(error).__name__}: {error}"
        raise typer.Exit(fail(f"a mistake of ours, {what}; please report it with what --debug shows", 1)) from None


def fail(message: str, code: int) -> int:
    """Say it in one line; the code is given back."""
    line = " ".join(message.split())
    sys.stderr.write(f"geosr: {line}\n")
    return code


def usage(message: str) -> Exception:
    """A :class:`UsageError`, whose module waits until it is needed."""
    from geosr.errors import UsageError

    return UsageError(message)
