"""Ctrl-C, SIGTERM, a full disk, a folder that cannot be written: a sentence, and the same command goes on."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from tests.prediction_lab import COMMAND, lab, rows_of, run, write_csv
from tests.runner import environ

pytestmark = pytest.mark.xdist_group("predict_stop")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An export, and files that take some seconds with small batches."""
    folder = tmp_path_factory.mktemp("predict")
    lab(folder, "export", "export")
    for shard in range(6):
        write_csv(folder / "long" / f"part-{shard}.csv", rows_of(shard, 20_000))
    return folder


def argv(*more: str) -> list[str]:
    return ["--export=export", "--files=long/*.csv", *more]


@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_says_how_to_go_on(
    signum: signal.Signals, exit_code: int, project: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    words = argv("--batch-size=4", f"--output={out}")
    with (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(
            [*COMMAND, *words], cwd=project, env=environ(), stderr=err, stdout=subprocess.DEVNULL
        )
        end = time.monotonic() + 60
        while not list(out.glob("*.jsonl")) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signum)
        assert process.wait(60) == exit_code, (tmp_path / "err").read_text()
    whole = len(list(out.glob("*.predictions.jsonl")))
    last = (tmp_path / "err").read_text().splitlines()[-1]
    assert last == (
        f"trainer.predict: stopped: {whole} of 6 files are predicted in {out}; the same command does the others."
    )
    assert 1 <= whole < 6
    assert not list(out.glob("*.unfinished"))


def test_a_full_disk_is_one_sentence(project: pathlib.Path, tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not shutil.which("mount"):
        pytest.skip("needs a small disk to fill: there is no mount command here")
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3400k", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"needs a small disk to fill: mounting one takes root's rights ({mount.stderr.strip()})")
    try:
        words = argv(f"--output={disk}/out")
        full = run(project, words)
        assert full.exit_code == 5, full.err
        assert full.sentences[-1].startswith(
            f"trainer.predict: the disk is full while writing to {disk}/out: make room"
        )
        assert list((disk / "out").glob("*.predictions.jsonl")), "nothing was whole before the disk was full"
        subprocess.run(["mount", "-o", "remount,size=60m", disk], check=True)
        run(project, words).ok()
        assert len(list((disk / "out").glob("*.predictions.jsonl"))) == 6
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: start the tests as another user")
def test_a_folder_that_cannot_be_written_is_one_sentence(project: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    done = run(project, argv(f"--output={tmp_path / 'out'}"))
    assert done.exit_code == 5
    assert f"--output={tmp_path / 'out'} cannot be written" in done.sentences[-1]
