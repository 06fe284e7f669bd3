"""A full disk: one sentence, and once there is room the same command goes on."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.runner import assert_finished, checkpoint_steps, flags, run, write_project

WIDE = 5000  # units: a checkpoint of 4 * 5000 weights and Adam's two slots takes some 360 kB


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A project whose `disk` is a file system of 3 MB."""
    folder = write_project(tmp_path / "project")
    disk = folder / "disk"
    disk.mkdir()
    try:
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("needs a small disk to fill: there is no mount command here")
    if mount.returncode:
        pytest.skip(f"needs a small disk to fill: mounting one takes root's rights ({mount.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


@pytest.mark.parametrize(
    ("filled_kb", "starts"), [(3 * 1024, False), (1000, True)], ids=["from the start", "in the middle"]
)
def test_a_full_disk_is_one_sentence_and_goes_on_with_room(filled_kb: int, starts: bool, folder: pathlib.Path) -> None:
    filler = folder / "disk" / "filler"
    fill(filler, filled_kb)
    argv = flags(f"--units={WIDE}", "--exporters=none", "--eval-every-steps=10", steps=40, job_dir="disk/job")
    full = run(folder, argv)
    assert full.exit_code == 5, full.err
    assert full.sentences[-1].startswith("trainer.task: the disk is full while writing to disk/job: make room")
    assert "Traceback" not in full.err
    saved = checkpoint_steps(folder / "disk" / "job")

    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=60m", folder / "disk"], check=True)
    done = run(folder, [word for word in argv if not word.startswith("--exporters")]).ok()
    assert_finished(folder / "disk" / "job", 40)
    assert bool(saved) is starts
    assert f"step {saved[-1] + 1 if saved else 1}/40" in done.err, "it did not go on from the newest checkpoint"


def fill(path: pathlib.Path, kb: int) -> None:
    """Write until so much is written or nothing more fits."""
    with open(path, "wb", buffering=0) as file:
        try:
            for _ in range(kb):
                file.write(b"\0" * 1024)
        except OSError:
            return
