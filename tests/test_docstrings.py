"""Docstrings: plain first lines, documented public functions, examples that run."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from collections import Counter

import pytest

from tests.conftest import REPOSITORY
from tests.source_trees import nodes_of, tree_of

PACKAGES = ("geosr", "tiling", "catalog")

#: Folders of all Python files.
FOLDERS = (*PACKAGES, "scripts", "benchmarks", "tests")

#: First words of riddles. A first line is an imperative or a noun phrase.
OPENING = re.compile(r"(What|Whether|Of|Where|How|The same)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def riddles(folder):
    """Docstrings, also those of fields, that open with one of the words."""
    found = []
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        for node in nodes_of(path):
            text = node.value if isinstance(node, ast.Expr) else None
            text = text.value if isinstance(text, ast.Constant) and isinstance(text.value, str) else ""
            if OPENING.match(text):
                found.append(f"{path.relative_to(REPOSITORY)}:{node.lineno}: {text.splitlines()[0]}")
    return found


def public_definitions(package):
    """Functions and classes of a package's ``__all__`` with their nodes; constants and types are left out."""
    tree = tree_of(REPOSITORY / package / "__init__.py")
    home = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    names = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    for module, own, name in ((*home[name], name) for name in names if name in home):
        path = REPOSITORY / (module.replace(".", "/") + ".py")
        for node in tree_of(path).body:
            overloaded = isinstance(node, Function) and any("overload" in ast.unparse(d) for d in node.decorator_list)
            if isinstance(node, ast.ClassDef | Function) and node.name == own and not overloaded:
                yield name, node


def has_section(text, *titles):
    return any(re.search(rf"^{title}\n-+$", text, re.MULTILINE) for title in titles)


def own_nodes(function):
    """Nodes of a function without those of functions inside it."""
    waiting = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Function | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def missing_of_function(function):
    text = ast.get_docstring(function) or ""
    given = function.args
    takes = {argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)} - {"self", "cls"}
    if (takes or given.vararg or given.kwarg) and not has_section(text, "Parameters"):
        yield "Parameters"
    returns = ast.unparse(function.returns) if function.returns else "None"
    if returns not in ("None", "Never", "NoReturn") and not has_section(text, "Returns", "Yields"):
        yield "Returns"
    if any(isinstance(node, ast.Raise) and node.exc for node in own_nodes(function)) and not has_section(
        text, "Raises"
    ):
        yield "Raises"


def missing_of_class(definition):
    text = ast.get_docstring(definition) or ""
    fields = [i for i, node in enumerate(definition.body) if isinstance(node, ast.AnnAssign)]
    if has_section(text, "Parameters", "Attributes"):
        return
    for i in fields:
        following = definition.body[i + 1] if i + 1 < len(definition.body) else None
        described = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if not described:
            yield f"a docstring of {ast.unparse(definition.body[i].target)}"


def undocumented(package):
    """Missing parts of docstrings by public name; methods as ``Class.method``."""
    found = {}
    for name, node in public_definitions(package):
        if not ast.get_docstring(node):
            found[name] = ["a docstring"]
        elif isinstance(node, ast.ClassDef):
            found[name] = list(missing_of_class(node))
            for method in node.body:
                is_property = isinstance(method, Function) and any(
                    "property" in ast.unparse(decorator) for decorator in method.decorator_list
                )
                if isinstance(method, Function) and not method.name.startswith("_") and not is_property:
                    found[f"{name}.{method.name}"] = list(missing_of_function(method))
        else:
            found[name] = list(missing_of_function(node))
    return {name: missing for name, missing in found.items() if missing}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_docstring_opens_with_a_riddle(folder):
    assert not riddles(folder)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_say_what_they_take_return_and_raise(package):
    lines = [f"{package}.{name} lacks {', '.join(missing)}" for name, missing in sorted(undocumented(package).items())]
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_listed_in_order_and_exist(package):
    module = importlib.import_module(package)
    names = module.__all__
    assert len(set(names)) == len(names)
    assert set(names) <= set(dir(module))
    assert all(getattr(module, name, None) is not None for name in names)


def public_modules():
    found = Counter()
    for package in PACKAGES:
        for node in ast.walk(tree_of(REPOSITORY / package / "__init__.py")):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
                found[node.module] += 1
    return sorted(found)


@pytest.mark.parametrize("name", public_modules())
def test_examples_of_public_modules_run(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


@pytest.mark.parametrize(
    ("text", "opens_so"),
    [
        ("What a chunk is.", True),
        ("The same of rows.", True),
        ("Whatever fits.", False),
        ("The samples of a patch.", False),
        ("Offset of a band.", False),
        ("Return the chunk.", False),
    ],
)
def test_openings_are_told_apart(text, opens_so):
    assert bool(OPENING.match(text)) is opens_so


def test_a_function_without_sections_is_found():
    function = ast.parse("def f(a) -> int:\n    '''Count.'''\n    raise ValueError(a)\n").body[0]
    assert list(missing_of_function(function)) == ["Parameters", "Returns", "Raises"]
    sections = "".join(
        f"    {title}\n    {'-' * len(title)}\n    a\n\n" for title in ("Parameters", "Returns", "Raises")
    )
    documented = ast.parse(f"def f(a) -> int:\n    '''Count.\n\n{sections}    '''\n    raise ValueError(a)\n").body[0]
    assert list(missing_of_function(documented)) == []
