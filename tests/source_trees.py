"""Syntax trees of the repository's own modules, which several tests look into."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse a module, once in a process. Nobody changes what comes back."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of a module, the outer ones first."""
    return tuple(ast.walk(tree_of(path)))
