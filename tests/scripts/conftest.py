"""A checkout in small: the real scripts around a package that installs in a second and without a network."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = ("bash", "cat", "cksum", "dirname", "env", "find", "grep", "ls", "mkdir", "rm", "sh")
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"

SETUP = """
import os, pathlib, sys, time
from setuptools import setup
if "develop" in sys.argv and os.path.exists("block"):
    pathlib.Path("blocked").touch()
    time.sleep(120)
missing = pathlib.Path("missing")
setup(name="keras-trainer", version="0", packages=["trainer"],
      extras_require={"samples": [], "sweep": [], "test": missing.read_text().split() if missing.exists() else []})
"""

TASK = """
import json, os, sys, time
try:
    print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "code": __file__}), flush=True)
    time.sleep(60 if "wait" in sys.argv else 0)
except KeyboardInterrupt:
    sys.exit(130)
sys.exit(7 if "fail" in sys.argv else 0)
"""


@dataclasses.dataclass
class Checkout:
    root: pathlib.Path
    environ: dict[str, str]

    @property
    def venv(self) -> pathlib.Path:
        return self.root / ".venv"

    def start(self, *arguments: str, script: str = "train-local.sh", **more: str) -> subprocess.Popen[str]:
        """Start a script from the folder around the checkout, in a process group of its own."""
        command = [str(self.root / "scripts" / script), *arguments]
        return subprocess.Popen(
            command, cwd=self.root.parent, env=self.environ | more, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str, script: str = "train-local.sh", **more: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, script=script, **more) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def trained(self, *arguments: str, **more: str) -> dict[str, object]:
        """What the task printed: its argv, cwd and code; the script must have gone well."""
        done = self.run(*arguments, **more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def without_python(self) -> str:
        return self.environ["PATH"].split(os.pathsep)[-1]


@pytest.fixture(scope="session")
def make_checkout(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Checkout]:
    """Make a checkout in a folder of the given name; its PATH has this Python and the few tools the scripts need."""

    def make(name: str) -> Checkout:
        top = tmp_path_factory.mktemp("checkout")
        root, tools, pythons = top / name, top / "tools", top / "pythons"
        for folder in (root / "trainer", tools, pythons, top / "home"):
            folder.mkdir(parents=True)
        for tool in TOOLS:
            (tools / tool).symlink_to(shutil.which(tool) or tool)
        (pythons / f"python{VERSION}").symlink_to(os.path.realpath(sys.executable))
        shutil.copytree(ROOT / "scripts", root / "scripts")
        (root / "setup.py").write_text(SETUP, encoding="utf-8")
        (root / "constraints.txt").write_text("# nothing\n", encoding="utf-8")
        (root / "trainer" / "__init__.py").touch()
        (root / "trainer" / "task.py").write_text(TASK, encoding="utf-8")
        environ = {"PATH": f"{pythons}{os.pathsep}{tools}", "HOME": str(top / "home"), "PIP_NO_INDEX": "1"}
        return Checkout(root, environ | {"PIP_CONFIG_FILE": os.devnull, "PIP_USE_PEP517": "0"})

    return make
