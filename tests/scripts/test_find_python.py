"""Which Python the scripts choose. The interpreters are stubs that answer the one question they are asked."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest

SHIM_THAT_FAILS = "echo 'pyenv: python: command not found' >&2; exit 127"


def fits(version: str) -> str:
    """A Python of that version: asked `-I -c CODE 3.11`, it names itself if that is what it is."""
    return f'[ "$4" = {version} ] && echo "$0"'


def uv(version: str, home: str) -> str:
    return f'[ "$1 $2 $3" = "python find {version}" ] && echo "{home}/python{version}"'


@pytest.fixture
def machine(make_checkout: Callable, tmp_path: pathlib.Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run find_python on a machine whose folders hold these stubs (path below {top} -> body) and nothing else."""

    def find(stubs: Mapping[str, str], **environ: str) -> subprocess.CompletedProcess[str]:
        checkout = make_checkout("checkout")
        for name, body in stubs.items():
            stub = tmp_path / name
            stub.parent.mkdir(parents=True, exist_ok=True)
            stub.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
            stub.chmod(0o755)
        path = os.pathsep.join([f"{tmp_path}/bin", f"{tmp_path}/usr", checkout.without_python()])
        given = {name: value.format(top=tmp_path) for name, value in environ.items()}
        command = ["bash", "-c", 'set -euo pipefail; . "$0/scripts/environment.sh"; find_python', str(checkout.root)]
        settings = {"PATH": path, "HOME": f"{tmp_path}/home"} | given
        return subprocess.run(command, env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return find


CHOICES = {
    "3.11 before 3.10": ({"bin/python3.10": fits("3.10"), "bin/python3.11": fits("3.11")}, {}, "bin/python3.11"),
    "3.11 behind another name": ({"bin/python3.10": fits("3.10"), "bin/python": fits("3.11")}, {}, "bin/python"),
    "3.10 where it is all": ({"bin/python3.10": fits("3.10"), "bin/python3": fits("3.12")}, {}, "bin/python3.10"),
    "3.10 as python3": ({"bin/python3": fits("3.10")}, {}, "bin/python3"),
    "a shim that fails, another behind it": (
        {"bin/python3.11": SHIM_THAT_FAILS, "usr/python3.11": fits("3.11")}, {}, "usr/python3.11",
    ),
    "one that says yes and nothing": (
        {"bin/python3.11": "true", "bin/python3.10": fits("3.10")}, {}, "bin/python3.10",
    ),
    "pyenv's, in its usual place": (
        {"bin/python3.11": SHIM_THAT_FAILS, "home/.pyenv/versions/3.11.7/bin/python": fits("3.11")},
        {}, "home/.pyenv/versions/3.11.7/bin/python",
    ),
    "pyenv's, elsewhere, before 3.10 on PATH": (
        {"bin/python3.10": fits("3.10"), "my envs/versions/3.11.9/bin/python": fits("3.11")},
        {"PYENV_ROOT": "{top}/my envs"}, "my envs/versions/3.11.9/bin/python",
    ),
    "pyenv's 3.10 beside versions that do not fit": (
        {"home/.pyenv/versions/3.9.18/bin/python": fits("3.9"), "home/.pyenv/versions/3.10.13/bin/python": fits("3.10"),
         "home/.pyenv/versions/3.12.1/bin/python": fits("3.12")},
        {}, "home/.pyenv/versions/3.10.13/bin/python",
    ),
    "uv's": ({"bin/uv": uv("3.11", "$HOME/uv"), "home/uv/python3.11": fits("3.11")}, {}, "home/uv/python3.11"),
    "uv's 3.10, uv not on PATH": (
        {"home/.local/bin/uv": uv("3.10", "$HOME/uv"), "home/uv/python3.10": fits("3.10")}, {}, "home/uv/python3.10",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("stubs", "environ", "chosen"), CHOICES.values(), ids=CHOICES)
def test_choice(
    machine: Callable, tmp_path: pathlib.Path, stubs: dict[str, str], environ: dict[str, str], chosen: str
) -> None:
    found = machine(stubs, **environ)
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{tmp_path / chosen}\n", "")


@pytest.mark.parametrize("stubs", [{}, {"bin/python3": fits("3.12"), "bin/python3.11": SHIM_THAT_FAILS}])
def test_none_that_fits(machine: Callable, stubs: dict[str, str]) -> None:
    found = machine(stubs)
    assert (found.returncode, found.stdout) == (1, "")


@pytest.mark.parametrize("script", ["train-local.sh", "test.sh", "lint.sh"])
def test_no_python_is_one_sentence(make_checkout: Callable, script: str) -> None:
    checkout = make_checkout("checkout")
    for body, name in ((SHIM_THAT_FAILS, "python3.11"), (fits("3.12"), "python3"), (fits("2.7"), "python")):
        stub = checkout.root.parent / "stubs" / name
        stub.parent.mkdir(exist_ok=True)
        stub.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        stub.chmod(0o755)
    done = checkout.run(script=script, PATH=f"{checkout.root.parent}/stubs:{checkout.without_python()}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(".\n")
    for part in ("3.11", "3.10", "pyenv install", "uv python install"):
        assert part in done.stderr
    assert not checkout.venv.exists()


def test_a_real_python_answers(machine: Callable, tmp_path: pathlib.Path) -> None:
    """The question that stubs are asked above is one that Python understands; what it answers is no link."""
    real = os.path.realpath(sys.executable)
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr" / "python3").symlink_to(real)
    (tmp_path / "venv.py").write_text("raise ImportError('the folder one stands in must not matter')")
    found = machine({"bin/python3.11": SHIM_THAT_FAILS, "bin/python3.10": SHIM_THAT_FAILS})
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{real}\n", "")
