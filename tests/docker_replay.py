"""Carry out the Dockerfile's steps without Docker: in a folder that stands for the image, with a Python from here.

    python -m tests.docker_replay                             CPU: some minutes, 2 GB from the package index
    python -m tests.docker_replay --build-arg=EXTRAS=gpu --python=python3.10 --keep=/somewhere -- --help

COPY takes what .dockerignore lets through; RUN lines go to /bin/sh with the image's folders put in place of the root's.
Making a user needs root and changes this machine: that line is named and left out. At the end the ENTRYPOINT runs, with
the words behind `--`.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from tests.dockerfile import Instruction, expand, is_sent, read_dockerfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
OWN_FOLDERS = re.compile(r"(?<![\w.-])/(?=(?:opt|src|home)\b)")
NEEDS_ROOT = "useradd"
PASSED_ON = re.compile(r"(?i)(pip_(index_url|extra_index_url|cert|trusted_host|config_file)|.*_proxy|ssl_cert_file)")


class Replay:
    """One image in the making."""

    def __init__(self, image: pathlib.Path, python: str, arguments: dict[str, str]) -> None:
        self.image, self.arguments, self.python = image, arguments, python
        self.environ: dict[str, str] = {}
        self.folder = image
        self.entrypoint: list[str] = []

    def carry_out(self, step: Instruction) -> None:
        """One instruction; only those that our Dockerfile has are known."""
        print(f"{step.line:3}  {step.word} {step.value}", flush=True)
        started = time.monotonic()
        getattr(self, f"do_{step.word.lower()}")(step)
        if step.word == "RUN":
            print(f"     {time.monotonic() - started:.0f} s", flush=True)

    def do_from(self, step: Instruction) -> None:
        """A fresh environment; the files of the stage before stay where its COPY --from looks for them."""
        first = self.image / "usr" / "bin"
        first.mkdir(parents=True, exist_ok=True)
        (first / "python").unlink(missing_ok=True)
        (first / "python").symlink_to(self.python)
        passed = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
        self.environ = {**passed, "PATH": f"{first}{os.pathsep}/usr/bin{os.pathsep}/bin", "HOME": str(self.image)}
        self.folder = self.image

    def do_arg(self, step: Instruction) -> None:
        for name, default in step.assignments(self.environ).items():
            self.environ[name] = self.arguments.get(name, default)

    def do_env(self, step: Instruction) -> None:
        self.environ |= {name: self.placed(value) for name, value in step.assignments(self.environ).items()}

    def do_workdir(self, step: Instruction) -> None:
        self.folder = pathlib.Path(self.placed(step.value))
        self.folder.mkdir(parents=True, exist_ok=True)

    def do_copy(self, step: Instruction) -> None:
        *sources, target = step.value.split()
        if sources[0].startswith("--from="):
            return
        for source in sources:
            self._copy_one(source, target)

    def do_run(self, step: Instruction) -> None:
        if NEEDS_ROOT in step.value:
            print("     left out: it makes a user")
            return
        command = ["/bin/sh", "-e", "-c", self.placed(step.value)]
        subprocess.run(command, cwd=self.folder, env=self.environ, check=True, stdin=subprocess.DEVNULL)

    def do_user(self, step: Instruction) -> None:
        print(f"     would be {expand(step.value, self.environ)}")

    def do_entrypoint(self, step: Instruction) -> None:
        self.entrypoint = step.exec_form or []

    def run(self, *command: str) -> int:
        """The exit code of a command in the finished image."""
        print("     " + " ".join(command), flush=True)
        program = shutil.which(command[0], path=self.environ["PATH"]) or command[0]
        return subprocess.run([program, *command[1:]], cwd=self.folder, env=self.environ, check=False).returncode

    def placed(self, text: str) -> str:
        """The image's folders in place of the root's."""
        return OWN_FOLDERS.sub(f"{self.image}/", text)

    def _copy_one(self, source: str, target: str) -> None:
        top = ROOT / source
        files = [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
        for path in files:
            if is_sent(path.relative_to(ROOT).as_posix(), ROOT / ".dockerignore"):
                below = path.name if top.is_file() else path.relative_to(top)
                place = self.folder / target / below
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)


def replay(image: pathlib.Path, python: str, arguments: dict[str, str], words: Sequence[str]) -> int:
    """Make the image, and return the exit code of its ENTRYPOINT."""
    made = Replay(image, python, arguments)
    for step in read_dockerfile(ROOT / "Dockerfile"):
        made.carry_out(step)
    megabytes = sum(path.lstat().st_size for path in (image / "opt").rglob("*")) / 1e6
    print(f"     /opt has {megabytes:,.0f} MB", flush=True)
    return made.run("python", "-m", "pip", "check") or made.run(*made.entrypoint, *words)


def main(argv: Sequence[str] | None = None) -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.docker_replay", description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the interpreter that stands for the image's")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the image; else it is removed at the end")
    parser.add_argument("words", nargs="*", help="behind --: what the ENTRYPOINT gets", default=["--help"])
    given = parser.parse_args(argv)
    python = os.path.realpath(shutil.which(given.python) or given.python)
    arguments = dict(each.partition("=")[::2] for each in given.build_arg)
    if given.keep:
        return replay(given.keep.resolve(), python, arguments, given.words)
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        return replay(pathlib.Path(folder), python, arguments, given.words)


if __name__ == "__main__":
    sys.exit(main())
