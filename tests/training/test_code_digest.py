"""A digest that changes with what a function does, and with nothing else."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from types import FunctionType

import pytest

from trainer.training.code_digest import code_digest

SOURCE = """
import collections

RARE = 3
NAMES = {"a", "b", "c"}


def helper(word, letters=(1, 2)):
    return word.lower()


def other(word):
    return analyze(word)


def analyze(data, least=1):
    counts = collections.Counter(helper(word) for batch in data for word in batch["word"] if word in NAMES)
    def often(count):
        return count >= RARE
    return {"words": [word for word, count in counts.items() if often(count)], "other": other}
"""


def digest(source: str) -> str:
    module = types.ModuleType("model")
    exec(compile(source, "model.py", "exec"), module.__dict__)
    function = module.__dict__["analyze"]
    assert isinstance(function, FunctionType)
    return code_digest(function)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param('batch["word"]', 'batch["name"]', id="a text"),
        pytest.param("count >= RARE", "count > RARE", id="an inner function"),
        pytest.param("RARE = 3", "RARE = 4", id="a constant of the module"),
        pytest.param('{"a", "b", "c"}', '{"a", "b", "d"}', id="a set of the module"),
        pytest.param("word.lower()", "word.upper()", id="a function of the module"),
        pytest.param("letters=(1, 2)", "letters=(1, 3)", id="the default of such a function"),
        pytest.param("least=1", "least=2", id="a default"),
        pytest.param("return analyze(word)", "return [analyze(word)]", id="a function that calls back"),
    ],
)
def test_what_makes_another_function(old: str, new: str) -> None:
    assert SOURCE.count(old) == 1
    assert digest(SOURCE.replace(old, new)) != digest(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("RARE = 3", "# rare\nRARE = 3  # times\nUNUSED = 1", id="comments and what is not used"),
        pytest.param('{"a", "b", "c"}', '{"c", "b", "a"}', id="the order of a set"),
        pytest.param("    counts =", "\n    counts =", id="lines"),
    ],
)
def test_what_leaves_the_function_as_it_is(old: str, new: str) -> None:
    assert SOURCE.count(old) == 1
    assert digest(SOURCE.replace(old, new)) == digest(SOURCE)


def test_functions_that_a_function_holds_count(tmp_path: Path) -> None:
    def made(number: int) -> FunctionType:
        def analyze(data: object) -> int:
            return number

        assert isinstance(analyze, FunctionType)
        return analyze

    assert code_digest(made(1)) == code_digest(made(1)) != code_digest(made(2))


def test_another_process_finds_the_same(tmp_path: Path) -> None:
    """Sets have another order there."""
    (tmp_path / "model.py").write_text(SOURCE)
    code = "import model; from trainer.training.code_digest import code_digest; print(code_digest(model.analyze))"
    root = str(Path(__file__).parents[2])
    for seed in "12":
        env = {"PYTHONPATH": f"{tmp_path}:{root}", "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.strip() == digest(SOURCE)
