"""YAML of users: read as plain values, and refused where nesting or aliases go beyond what anyone writes."""

from __future__ import annotations

from typing import Any

import yaml

#: Values of a document with its aliases written out. The largest configuration of this repository has some hundreds.
_MOST_VALUES = 100_000

#: Lists and mappings inside one another. Parsers take time by the square of their number, seconds for some thousands.
_DEEPEST = 100

#: libyaml where PyYAML was built with it: ten times as fast.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(text: str) -> Any:
    """Read a YAML document.

    Parameters
    ----------
    text
        The document.

    Returns
    -------
    Any
        Its value, of plain types; None for an empty document.

    Raises
    ------
    yaml.YAMLError
        The text is not YAML, refers to itself, or has more than 100,000 values with its aliases written out.
    RecursionError
        It has more than 100 lists and mappings inside one another.

    Examples
    --------
    >>> load_yaml("a: &b [1, 2]")
    {'a': [1, 2]}

    """
    _check_depth(text)
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _values_in(node, {}) > _MOST_VALUES:
            raise yaml.YAMLError(f"its aliases stand for more than {_MOST_VALUES} values")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise RecursionError(f"more than {_DEEPEST} lists and mappings are inside one another")


def _values_in(node: Any, known: dict[int, int | None]) -> int:
    """Count the values below a node, those of aliases each time that they are referred to."""
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise yaml.YAMLError("an alias in it refers to what holds it")
        return count
    known[id(node)] = None
    parts = node.value if isinstance(node, yaml.CollectionNode) else ()
    below = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
    count = 1 + sum(_values_in(one, known) for one in below)
    known[id(node)] = count
    return count
