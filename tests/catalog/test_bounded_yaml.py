"""YAML whose aliases stand for more than anyone writes is refused, quickly, wherever YAML is read."""

from __future__ import annotations

import pytest
import yaml

from catalog import RequestError, bounded_yaml, read_sensor
from catalog.bounded_yaml import load_yaml
from geosr.errors import PairsError, TrainingError, UsageError
from geosr.pairs.config import read_config as read_pairs
from geosr.service.settings import read_settings
from geosr.training.config import read_config
from tests.conftest import REPOSITORY

LEVELS = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]

#: A hundred million values in a few lines.
BOMB = "\n".join(["a0: &a0 [x, x]", *LEVELS, "name: *a8"])


def test_aliases_are_followed():
    assert load_yaml("a: &b [1, {c: 2}]\nd: *b\ne: {<<: &f {g: 1}, h: 2}") == {
        "a": [1, {"c": 2}],
        "d": [1, {"c": 2}],
        "e": {"g": 1, "h": 2},
    }
    assert load_yaml("") is None


@pytest.mark.parametrize("text", [BOMB, "a: &a [*a]", "&a {b: *a}"])
def test_aliases_that_grow_without_end_are_refused(text):
    with pytest.raises(yaml.YAMLError, match="alias"):
        load_yaml(text)


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_nesting_ends_at_a_hundred_whichever_parser_there_is(monkeypatch, loader):
    monkeypatch.setattr(bounded_yaml, "_LOADER", loader)
    value = load_yaml("[" * 100 + "]" * 100)
    for _ in range(99):
        (value,) = value
    assert value == []
    for text in ("[" * 101 + "]" * 101, "{a: " * 101 + "}" * 101):
        with pytest.raises(RecursionError, match="more than 100"):
            load_yaml(text)


def test_every_reader_of_yaml_refuses_them_in_one_line(tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text(BOMB)
    readers = {read_config: TrainingError, read_pairs: PairsError, read_settings: UsageError}
    for reader, error in {**readers, (lambda file: read_sensor(str(file))): RequestError}.items():
        with pytest.raises(error, match="aliases") as caught:
            reader(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_configurations_of_the_repository_are_read_as_before(path):
    text = path.read_text(encoding="utf-8")
    assert load_yaml(text) == yaml.safe_load(text)
