"""Seeded mutations of bytes and of JSON-like values, for ``scripts/fuzz.py``."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

#: Values of which readers of foreign JSON have stumbled.
_ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    10**30,
    2**63,
    0.5,
    "",
    " ",
    "\0",
    "nan",
    "-9999",
    "../../x",
    "ü\u202e",
    "9" * 400,
    [],
    {},
    [[]],
    [None],
    {"": {}},
    ["a", 1, None],
)


def mutate_bytes(content: bytes, chance: random.Random) -> tuple[bytes, str]:
    """Change some bytes; returns the new content and one word for the change."""
    data = bytearray(content)
    at = chance.randrange(max(1, len(data)))
    # Headers decide most: half of all changes are near the beginning.
    if chance.random() < 0.5:
        at = min(at, chance.randrange(512))
    size = chance.choice((1, 4, 64, 512, 4096))
    kind = chance.choice(("flip", "bytes", "zeros", "ones", "cut", "insert", "delete", "repeat", "swap"))
    part = slice(at, at + size)
    if kind == "flip":
        for _ in range(chance.choice((1, 1, 3, 16))):
            where = min(len(data) - 1, at + chance.randrange(64))
            data[where] ^= 1 << chance.randrange(8)
    elif kind == "bytes":
        data[part] = chance.randbytes(len(data[part]))
    elif kind in ("zeros", "ones"):
        data[part] = (b"\0" if kind == "zeros" else b"\xff") * len(data[part])
    elif kind == "cut":
        del data[at:]
    elif kind == "insert":
        data[at:at] = chance.randbytes(size)
    elif kind == "delete":
        del data[part]
    elif kind == "repeat":
        data[at:at] = data[part]
    else:
        other = chance.randrange(max(1, len(data)))
        first, second = bytes(data[part]), bytes(data[other : other + size])
        data[part] = second
        data[other : other + size] = first
    return bytes(data), kind


def mutate_value(value: Any, chance: random.Random, odd: tuple[Any, ...] = _ODD) -> tuple[Any, str]:
    """Change one to three places of a value made of dictionaries and lists; returns it and what was changed."""
    changed, told = copy.deepcopy(value), []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        holder, key = chance.choice(_places(changed))
        kind = chance.choice(("odd", "odd", "odd", "remove", "number", "text", "nest", "repeat", "swap"))
        told.append(f"{kind} {key}")
        old = holder[key]
        if kind == "remove":
            del holder[key]
        elif kind == "number" and isinstance(old, int | float) and not isinstance(old, bool):
            factor = chance.choice((-1, 0, 2, 10, 1e4, 1e-4, 1e300))
            holder[key] = old * factor
        elif kind == "text" and isinstance(old, str):
            holder[key] = chance.choice((old[: len(old) // 2], old * 3, old.upper(), f" {old}", old[::-1]))
        elif kind == "nest":
            holder[key] = [old]
        elif kind == "repeat" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(old))
        elif kind == "swap":
            other, place = chance.choice(_places(changed))
            # Not into itself: that would be no tree.
            holder[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(old)
        else:
            holder[key] = copy.deepcopy(chance.choice(odd))
        if not _places(changed):
            break
    return changed, ", ".join(told)


def mutate_json(text: str, chance: random.Random) -> tuple[bytes, str]:
    """Change a JSON document: its values three times in four, otherwise its bytes."""
    if chance.random() < 0.25:
        return mutate_bytes(text.encode(), chance)
    value, told = mutate_value(json.loads(text), chance)
    encodings: tuple[Callable[[str], bytes], ...] = (
        lambda one: one.encode("utf-8", "surrogatepass"),
        lambda one: one.encode("utf-8-sig", "surrogatepass"),
        lambda one: one.encode("utf-16", "surrogatepass"),
    )
    encode = chance.choices(encodings, (40, 1, 1))[0]
    return encode(json.dumps(value)), told


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a value: what holds it, and its key there."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in keys:
            found.append((one, key))
            waiting.append(one[key])
    return found
