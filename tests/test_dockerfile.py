"""The image's recipe, as far as it can be known without Docker; tests/docker_replay.py carries its steps out."""

from __future__ import annotations

import pathlib
import re

import pytest

from tests.dockerfile import Instruction, is_sent, read_dockerfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECIPE = read_dockerfile(ROOT / "Dockerfile")
WORDS = {"FROM", "ARG", "RUN", "WORKDIR", "ENV", "COPY", "USER", "ENTRYPOINT"}  # ADD is not among them


def all_of(word: str) -> list[Instruction]:
    return [each for each in RECIPE if each.word == word]


def last_stage() -> list[Instruction]:
    start = max(number for number, each in enumerate(RECIPE) if each.word == "FROM")
    return RECIPE[start:]


def variables() -> dict[str, str]:
    """What the running container has in its environment, PATH's own beginning left out."""
    found: dict[str, str] = {"PATH": "PATH"}
    for each in last_stage():
        if each.word in ("ENV", "ARG"):
            found |= each.assignments(found)
    return found


def test_a_recipe_is_read_as_docker_reads_it(tmp_path: pathlib.Path) -> None:
    lines = ["# a comment", "FROM a AS b", "", "ENV A=1 \\", "    # within", '    B="$A"', "RUN one \\", "  && two"]
    (tmp_path / "Dockerfile").write_text("\n".join([*lines, 'ENTRYPOINT ["a", "b"]\n']))
    found = read_dockerfile(tmp_path / "Dockerfile")
    assert [(each.word, each.value, each.line) for each in found] == [
        ("FROM", "a AS b", 2),
        ("ENV", 'A=1 B="$A"', 4),
        ("RUN", "one && two", 7),
        ("ENTRYPOINT", '["a", "b"]', 9),
    ]
    assert found[3].exec_form == ["a", "b"]
    assert Instruction("ENV", "A=1 P=/bin:$PATH", 1).assignments({"PATH": "/x"}) == {"A": "1", "P": "/bin:/x"}


def test_only_known_words() -> None:
    assert {each.word for each in RECIPE} == WORDS


def test_it_runs_the_task_and_nothing_else() -> None:
    assert [each.exec_form for each in all_of("ENTRYPOINT")] == [["python", "-m", "trainer.task"]]
    assert RECIPE[-1].word == "ENTRYPOINT"


def test_it_does_not_run_as_root() -> None:
    assert [each.value for each in all_of("USER")] == ["$RUN_AS"]
    assert variables()["RUN_AS"] == "1000"
    assert any("useradd --uid=1000 --create-home" in each.value for each in last_stage() if each.word == "RUN")


def test_its_user_has_a_home_and_starts_there() -> None:
    assert variables()["HOME"] == "/home/trainer"
    assert [each.value for each in last_stage() if each.word == "WORKDIR"] == ["/home/trainer"]


def test_what_it_says_is_seen_at_once_and_its_python_is_the_one_that_was_filled() -> None:
    assert variables()["PYTHONUNBUFFERED"] == "1"
    assert variables()["PATH"] == "/opt/venv/bin:PATH"
    assert [each.value for each in last_stage() if each.word == "COPY"] == ["--from=build /opt/venv /opt/venv"]


def test_both_stages_begin_with_one_exact_python() -> None:
    images = {each.value.split()[0] for each in all_of("FROM")}
    assert len(images) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", images.pop())


def test_versions_are_the_tested_ones() -> None:
    [environment] = [each for each in all_of("ENV") if "PIP_CONSTRAINT" in each.value]
    assert "PIP_CONSTRAINT=/src/constraints.txt" in environment.value
    assert "PIP_NO_CACHE_DIR=1" in environment.value
    installs = [each for each in all_of("RUN") if "pip install" in each.value]
    assert all(environment.line < each.line for each in installs)
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert re.search(r"^tensorflow==2\.15\.1$", constraints, re.MULTILINE)


def test_the_extras_are_there() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    [install] = [each for each in all_of("RUN") if "samples" in each.value]
    assert '".[samples${EXTRAS:+,$EXTRAS}]"' in install.value
    assert '"samples": [' in setup
    assert '"gpu": [' in setup


def test_the_sources_of_each_copy_exist_and_are_sent() -> None:
    for each in all_of("COPY"):
        sources = each.value.split()[:-1]
        if not sources[0].startswith("--from=") and sources != ["."]:
            assert all((ROOT / name).is_file() and is_sent(name, ROOT / ".dockerignore") for name in sources), each


@pytest.mark.parametrize("word", ["ADD", "http", "curl", "wget", "sudo", "chmod 777", "latest", "password", "token"])
def test_what_must_not_be_in_it(word: str) -> None:
    assert not [each for each in RECIPE if word.lower() in f"{each.word} {each.value}".lower().split()]
    assert word == "ADD" or not [each for each in RECIPE if word in each.value.lower()]


@pytest.mark.parametrize(
    "path",
    [
        *("setup.py", "MANIFEST.in", "README.md", "LICENSE", "constraints.txt", "pyproject.toml"),
        *("trainer/__init__.py", "trainer/job/config.py", "trainer/training/report.html.j2"),
    ],
)
def test_what_an_installation_needs_is_sent(path: str) -> None:
    assert (ROOT / path).is_file()
    assert is_sent(path, ROOT / ".dockerignore")


def test_every_file_of_the_package_is_sent() -> None:
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "trainer").rglob("*") if path.is_file()]
    sources = [name for name in files if "__pycache__" not in name]
    assert len(sources) > 100
    assert [name for name in sources if not is_sent(name, ROOT / ".dockerignore")] == []


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", ".venv/bin/python", ".venv/lib/x.py", "runs/first/manifest.json", ".env", "key.json"),
        *("credentials.json", "id_rsa", "data.csv", "my_model.py", "tests/runner.py", "benchmarks/sample.py"),
        *("trainer/key.json", "trainer/.env", "trainer/samples/key.pem", "trainer/.secret/x.py", "trainer/.hidden.py"),
        *("trainer/__pycache__/task.cpython-311.pyc", "trainer/__pycache__/x.py", "build/lib/trainer/task.py"),
        *("config.yaml", "hptuning_config.yaml", "Dockerfile", "keras_trainer.egg-info/PKG-INFO"),
    ],
)
def test_what_is_nobodys_business_stays_here(path: str) -> None:
    assert not is_sent(path, ROOT / ".dockerignore")


def test_what_setup_packs_is_what_is_sent() -> None:
    """A new kind of file in package_data must be let into the image too."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    [listed] = re.findall(r"package_data=\{(.*?)\}", setup, re.DOTALL)
    patterns = set(re.findall(r'"(\*\.\w+)"', listed))
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert patterns
    assert {f"!trainer/**/{pattern}" for pattern in patterns} <= set(ignore)
