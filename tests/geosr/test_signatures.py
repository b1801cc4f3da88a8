"""Limits of signatures: the number of parameters, and the modules that read a model's card."""

from __future__ import annotations

import ast

from tests.conftest import REPOSITORY
from tests.source_trees import nodes_of

#: Most parameters of a function.
MOST = 8

#: Functions that take more: options of commands and of Python's entry point, each named by its user.
ENTRY_POINTS = {"geosr/arrays/upscale.py: upscale"}

#: Modules that choose a model by its name. All others are given a ModelRef or a card.
CHOOSING = {
    "geosr/model/zoo.py",  # ModelRef's own
    "geosr/model/stack.py",  # a card's guide
    "geosr/evaluate/contenders.py",  # evaluate's MODEL and --against
    "geosr/evaluate/real/subject.py",
    "geosr/training/stack_loop.py",  # a configuration's guide
    "geosr/release/stack_model.py",
    "geosr/release/stack_calibration.py",
    "geosr/cli/models.py",  # models show NAME
}

#: Where a ModelRef is made of what a user chose: entries to a run, and the service's own inputs and settings.
REFERRING = (
    "geosr/arrays/",
    "geosr/batch/",
    "geosr/change/",
    "geosr/cli/",
    "geosr/plain_images/",
    "geosr/run/demo.py",
    "geosr/run/describe.py",
    "geosr/service/jobs/change_inputs.py",
    "geosr/service/jobs/inputs.py",
    "geosr/service/settings.py",
)


def product_modules():
    for package in ("geosr", "tiling", "catalog"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            yield path.relative_to(REPOSITORY).as_posix(), nodes_of(path)


def functions_of(nodes):
    return [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def parameters_of(function):
    one = function.args
    names = [arg.arg for arg in (*one.posonlyargs, *one.args, *one.kwonlyargs) if arg.arg not in ("self", "cls")]
    return names + [arg.arg for arg in (one.vararg, one.kwarg) if arg is not None]


def is_command(path, function):
    """Options of a command are annotated with what Typer shows of them."""
    annotations = [arg.annotation for arg in (*function.args.args, *function.args.kwonlyargs)]
    texts = [ast.unparse(one) for one in annotations if one is not None]
    return path.startswith("geosr/cli/") and any(text.startswith(("opt.", "Annotated[")) for text in texts)


def callers_of(name):
    return {
        path
        for path, nodes in product_modules()
        for node in nodes
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == name
    }


def test_functions_have_few_parameters():
    wide = {
        f"{path}: {function.name}"
        for path, nodes in product_modules()
        for function in functions_of(nodes)
        if len(parameters_of(function)) > MOST and not is_command(path, function)
    }
    assert wide == ENTRY_POINTS


def test_the_main_flow_fits_on_a_screen():
    path = REPOSITORY / "geosr/run/pipeline.py"
    flow = next(one for one in functions_of(nodes_of(path)) if one.name == "super_resolve")
    assert flow.end_lineno - flow.lineno + 1 <= 60


def test_a_card_is_read_where_a_model_is_chosen():
    assert callers_of("read_card") == CHOOSING
    assert not [path for path in callers_of("ModelRef") if not path.startswith(REFERRING)]
