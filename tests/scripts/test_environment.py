"""What becomes of the environment: made once, kept, made anew when it has to be. Real venvs, real pip, no network."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest


def wait_for(path: pathlib.Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def installed(make_checkout: Callable) -> Any:
    """One for all tests that leave it whole, at a path that no shell would forgive a missing quote."""
    checkout = make_checkout("""a 0; "b'c$(d)""")
    first = checkout.run("fail")
    assert (first.returncode, first.stderr.count("\n")) == (7, 1), first.stderr
    assert "Installing into" in first.stderr
    return checkout


def test_second_call_only_starts_python(installed: Any) -> None:
    second = installed.run(PATH=installed.without_python())  # nothing to install with, even if it wanted to
    assert (second.returncode, second.stderr) == (0, "")


def test_arguments_and_current_folder_arrive_as_they_are(installed: Any) -> None:
    arguments = ["--name=two words", "*", "", "a\\b\n", "$HOME"]
    assert installed.trained(*arguments) == {
        "argv": arguments,
        "cwd": os.path.realpath(installed.root.parent),
        "code": str(installed.root / "trainer" / "task.py"),
    }


def test_signals_reach_python(installed: Any) -> None:
    with installed.start("wait") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130


@pytest.mark.parametrize("name", ["constraints.txt", "setup.py"])
def test_changed_requirements_install_again(installed: Any, name: str) -> None:
    kept = installed.venv / "kept"
    kept.touch()
    with (installed.root / name).open("a") as file:
        file.write("# changed\n")
    assert "Installing into" in installed.run().stderr
    assert installed.run().stderr == ""
    assert kept.exists(), "a sound environment is brought up to date, not made anew"


def test_folder_of_the_same_name_is_refused(installed: Any) -> None:
    """`python -m` would run the user's own trainer/ in place of ours, even where it has no __init__.py."""
    other = installed.root.parent / "trainer"
    other.mkdir()
    done = installed.run()
    other.rmdir()
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "./trainer" in done.stderr


def test_failed_installation_shows_pip_and_takes_nothing_away(installed: Any) -> None:
    missing = installed.root / "missing"
    missing.write_text("no-such-package-anywhere")
    done = installed.run(script="test.sh")
    missing.unlink()
    assert done.returncode == 1
    assert "No matching distribution found for no-such-package-anywhere" in done.stderr
    assert done.stderr.endswith("failed for the reason above.\n")
    assert installed.run().stderr == "", "what was there works as before, without pip"


def test_killed_installation_is_not_trusted(make_checkout: Callable) -> None:
    checkout = make_checkout("checkout")
    (checkout.root / "block").touch()
    with checkout.start() as process:
        wait_for(checkout.root / "blocked")
        os.killpg(process.pid, signal.SIGKILL)
    (checkout.root / "block").unlink()
    left = checkout.venv / "left by the killed one"
    left.touch()
    done = checkout.run()
    assert (done.returncode, done.stderr.count("Installing into")) == (0, 1), done.stderr
    assert not left.exists()


def test_two_calls_at_once(make_checkout: Callable) -> None:
    checkout = make_checkout("checkout")
    (checkout.root / "block").touch()
    with checkout.start() as first:
        wait_for(checkout.root / "blocked")
        with checkout.start() as second:
            assert second.stderr is not None
            assert "Waiting" in second.stderr.readline()
            os.killpg(first.pid, signal.SIGKILL)  # the lock goes with its holder
            (checkout.root / "block").unlink()
            assert "Installing into" in second.stderr.readline()
            assert second.wait(timeout=120) == 0


def test_waiting_call_does_not_install_again(make_checkout: Callable) -> None:
    checkout = make_checkout("checkout")
    with checkout.start() as first, checkout.start() as second:
        said = [process.communicate(timeout=120)[1] for process in (first, second)]
        assert (first.returncode, second.returncode) == (0, 0), said
    assert sorted("Installing into" in text for text in said) == [False, True]


def test_moved_checkout(make_checkout: Callable) -> None:
    checkout = make_checkout("before")
    checkout.trained()
    checkout.root = checkout.root.rename(checkout.root.with_name("after"))
    assert checkout.trained()["code"] == str(checkout.root / "trainer" / "task.py")
    assert checkout.run().stderr == ""
    subprocess.run([checkout.venv / "bin" / "pip", "--version"], check=True, stdout=subprocess.DEVNULL)


def test_broken_python_is_replaced(make_checkout: Callable) -> None:
    checkout = make_checkout("checkout")
    checkout.trained()
    for link in (checkout.venv / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python")
    assert checkout.run().returncode == 0


def test_venv_elsewhere(make_checkout: Callable) -> None:
    """A relative TRAINER_VENV is the user's: relative to where he stands. Any spelling of it is the same place."""
    checkout = make_checkout("checkout")
    checkout.trained(TRAINER_VENV="my venvs/one")
    elsewhere = checkout.root.parent / "my venvs" / "one"
    assert (elsewhere / "bin" / "python").exists()
    assert not checkout.venv.exists()
    assert checkout.run(TRAINER_VENV=f"{elsewhere}/").stderr == ""


@pytest.mark.parametrize("extra", ["pyvenv.cfg", "thesis.tex"])
def test_folder_of_somebody_else_is_left_alone(make_checkout: Callable, extra: str) -> None:
    checkout = make_checkout("checkout")
    checkout.venv.mkdir()
    (checkout.venv / extra).touch()
    done = checkout.run()
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "TRAINER_VENV" in done.stderr
    assert os.listdir(checkout.venv) == [extra]


def test_link_to_a_larger_disk_stays_a_link(make_checkout: Callable) -> None:
    checkout = make_checkout("checkout")
    disk = checkout.root.parent / "disk"
    disk.mkdir()
    checkout.venv.symlink_to(disk)
    checkout.trained()
    shutil.rmtree(disk / "bin")
    checkout.trained()
    assert checkout.venv.is_symlink()
    assert (disk / "bin" / "python").exists()
