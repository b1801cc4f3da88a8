"""A small part of the long trials: seeded mutations, kills and storage faults, with their own verdicts."""

from __future__ import annotations

import json
import random

import pytest

from scripts.fuzz_kinds import KINDS
from scripts.mutations import mutate_bytes, mutate_json
from tests.conftest import REPOSITORY
from tests.warm import run_warm


def tried(module, *arguments):
    done = run_warm(module, *arguments, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_a_mutated_input_of_each_kind_is_refused_or_right(tmp_path):
    tried("scripts.fuzz", "--count", len(KINDS), "--seed", 11, "--output", tmp_path / "fuzz.json")
    content = json.loads((tmp_path / "fuzz.json").read_text())
    assert content["tried"] == len(KINDS) >= 11
    assert set(content["kinds"]) == set(KINDS)
    assert content["not_survived"] == []


@pytest.mark.slow
@pytest.mark.parametrize("trial", ["kills", "storage"])
def test_runs_that_are_killed_or_damaged_leave_the_same_bytes(trial):
    assert " 0 not survived" in tried("scripts.soak", trial, "--count", 2, "--seed", 3)


def test_mutations_follow_from_their_seed_and_change_something():
    content, text = bytes(range(256)) * 20, json.dumps({"a": [1, 2, {"b": "c"}], "d": None})
    for seed in range(50):
        first, second = (mutate_bytes(content, random.Random(seed)) for _ in range(2))
        assert first == second
        assert mutate_json(text, random.Random(seed)) == mutate_json(text, random.Random(seed))
    assert len({mutate_bytes(content, random.Random(seed))[0] for seed in range(50)} - {content}) > 45
