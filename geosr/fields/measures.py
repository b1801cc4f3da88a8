"""Measures of a field: spectral indices, and any expression of bands, with the half-width that the bands' give them."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosr.errors import UsageError

Bands = Mapping[str, NDArray[np.float32]]

#: Normalised differences by name. Reflectance below 0 counts as 0 in them, so that they stay between -1 and 1.
INDEX_BANDS = {
    "ndvi": ("B08", "B04"),
    "ndre": ("B08", "B05"),
    "ndwi": ("B03", "B08"),
    "nbr": ("B08", "B12"),
}

#: Least sum of two reflectances that is divided by.
_LEAST_SUM = 1e-3

_FUNCTIONS = {"sqrt": np.sqrt, "log": np.log, "exp": np.exp, "abs": np.abs, "min": np.minimum, "max": np.maximum}
_OPERATORS = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}

#: Characters of an expression, and numbers and operators nested in it.
_LONGEST, _DEEPEST = 500, 40

_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Measure:
    """An index by name, or an expression of bands."""

    name: str
    """Name in the table."""
    expression: str
    """``(B08 - B04) / (B08 + B04)``, in reflectance."""
    bands: tuple[str, ...]
    """Bands that it needs, in the order of their names."""
    index: str | None = None
    """A key of :data:`INDEX_BANDS`; None for an expression."""

    def of(self, reflectance: Bands) -> NDArray[np.float32]:
        """Compute it from bands of one shape; not finite where it is not defined."""
        with np.errstate(all="ignore"):
            if self.index is not None:
                first, second = (np.maximum(reflectance[band], 0) for band in INDEX_BANDS[self.index])
                value = (first - second) / np.maximum(first + second, _LEAST_SUM)
            else:
                value = _value(ast.parse(self.expression, mode="eval").body, reflectance)
        some = next(iter(reflectance.values()))
        made: NDArray[np.float32] = np.broadcast_to(value, some.shape).astype(np.float32)
        return made

    def half_width(self, reflectance: Bands, half_widths: Bands) -> NDArray[np.float32]:
        """Carry the bands' half-widths to the measure, as independent errors of its bands."""
        total = np.zeros(next(iter(reflectance.values())).shape, np.float32)
        for band in self.bands:
            ends = [
                self.of({**reflectance, band: reflectance[band] + sign * half_widths[band]}) for sign in (1.0, -1.0)
            ]
            total += ((ends[0] - ends[1]) / 2) ** 2
        width: NDArray[np.float32] = np.sqrt(total)
        return width


def measure_of(text: str) -> Measure:
    """Read an index's name, an expression of bands, or ``NAME=EXPRESSION``.

    Raises :class:`UsageError` for anything else.

    Examples
    --------
    >>> measure_of("NDVI").bands
    ('B04', 'B08')
    >>> measure_of("ratio = B08 / B04").name
    'ratio'

    """
    if text.strip().lower() in INDEX_BANDS:
        name = text.strip().lower()
        first, second = INDEX_BANDS[name]
        return Measure(name, f"({first} - {second}) / ({first} + {second})", tuple(sorted((first, second))), name)
    name, equals, expression = text.partition("=")
    if not equals:
        name = expression = text
    name, expression = name.strip(), expression.strip()
    if len(expression) > _LONGEST:
        raise UsageError(f"--index takes expressions of up to {_LONGEST} characters, not {len(expression)}")
    if equals and not _NAME.fullmatch(name):
        raise UsageError(f"--index {text!r}: {name!r} is no name, of letters, digits and _")
    try:
        tree = ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise UsageError(f"--index {text!r} is neither {', '.join(INDEX_BANDS)} nor an expression of bands") from None
    bands = tuple(sorted(_bands_of(tree, text)))
    if not bands:
        raise UsageError(f"--index {text!r} names no band: write it as ratio=B08/B04")
    return Measure(name, expression, bands)


def measures_of(texts: list[str]) -> tuple[Measure, ...]:
    """Read several. Raises :class:`UsageError`, also where two have one name."""
    found = [measure_of(text) for text in texts]
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two measures are named {twice[0]}: name one of them, as other={found[0].expression}")
    return tuple(found)


def _bands_of(node: ast.expr, text: str, depth: int = 0) -> set[str]:
    """Names of bands in an expression, whose parts are checked."""
    if depth > _DEEPEST:
        raise UsageError(f"--index {text!r} is nested too deeply")
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return set()
        case ast.Name(id=name):
            return {name}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _bands_of(operand, text, depth + 1)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return _bands_of(left, text, depth + 1) | _bands_of(right, text, depth + 1)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            if len(args) != (2 if name in ("min", "max") else 1):
                raise UsageError(f"--index {text!r}: {name} takes {2 if name in ('min', 'max') else 1} values")
            return set().union(*(_bands_of(one, text, depth + 1) for one in args))
    raise UsageError(
        f"--index {text!r}: {ast.unparse(node)} is not understood; expressions have bands, numbers, + - * / ** and "
        f"{', '.join(_FUNCTIONS)}"
    )


def _value(node: ast.expr, bands: Bands) -> NDArray[np.floating] | np.float64:
    """Value of an expression that was checked when it was read."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return np.float64(value)
        case ast.Name(id=name):
            return bands[name]
        case ast.UnaryOp(op=operator, operand=operand):
            inner = _value(operand, bands)
            return np.negative(inner) if isinstance(operator, ast.USub) else inner
        case ast.BinOp(left=left, op=operator, right=right):
            made: NDArray[np.floating] = _OPERATORS[type(operator)](_value(left, bands), _value(right, bands))
            return made
        case ast.Call(func=ast.Name(id=name), args=args):
            called: NDArray[np.floating] = _FUNCTIONS[name](*(_value(one, bands) for one in args))
            return called
    raise AssertionError(ast.dump(node))
