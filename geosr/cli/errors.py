"""Errors of a command, as one line on standard error and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import typer

#: Characters of a message: names of files and fields may have any length.
_LONGEST_LINE = 2000


@contextmanager
def errors(debug: bool) -> Iterator[None]:
    """Turn what is raised on purpose into one line on standard error and an exit code."""
    from catalog import CatalogError, RequestError, announcing, without_queries
    from geosr.errors import GeosrError, UsageError
    from tiling import TilingError

    try:
        # A server that is waited for is told of, unless the command reports in its own way.
        with announcing(_note), _without_noise(debug):
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
    except OSError as error:
        if debug:
            raise
        named = f" {error.filename}" if error.filename else ""
        raise typer.Exit(fail(f"cannot open{named}: {error.strerror or error}", 1)) from None
    except RecursionError:
        if debug:
            raise
        raise typer.Exit(fail("the input is nested too deeply", 1)) from None
    except Exception as error:
        if debug:
            raise
        what = without_queries(f"{type(error).__name__}: {error}")
        raise typer.Exit(fail(f"internal error, {what}; please report it with what --debug shows", 1)) from None


@contextmanager
def _without_noise(debug: bool) -> Iterator[None]:
    """Keep rasterio's tracebacks off the terminal, on GDAL's messages that quote bytes of a damaged file.

    They say nothing of the error itself, which is raised.
    """
    if debug:
        yield
        return
    usual = sys.excepthook, sys.unraisablehook

    def print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, UnicodeDecodeError):
            usual[0](kind, error, trace)

    def print_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, UnicodeDecodeError):
            usual[1](unraisable)

    sys.excepthook, sys.unraisablehook = print_exception, print_unraisable
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = usual


def _note(text: str) -> None:
    sys.stderr.write(f"geosr: {text}\n")


def fail(message: str, code: int) -> int:
    """Say it in one line; the code is given back."""
    line = "".join(one if one.isprintable() else "?" for one in " ".join(message.split()))
    if len(line) > _LONGEST_LINE:
        line = f"{line[: _LONGEST_LINE // 2]} … {line[-_LONGEST_LINE // 2 :]}"
    sys.stderr.write(f"geosr: {line}\n")
    return code


def usage(message: str) -> Exception:
    """A :class:`UsageError`, whose module waits until it is needed."""
    from geosr.errors import UsageError

    return UsageError(message)
