"""The JSON files of a job directory: whole or not at all, and a sentence where one is damaged."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.job.errors import JobDirError
from trainer.training.records import copy_files, put_evaluation, put_folder, put_json, read_evaluations, read_json


def test_what_is_put_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "a b.json")
    value = {"name": "Größe 日本", "steps": [1, 2.5, None], "deep": {"yes": True}}
    assert read_json(path) is None
    put_json(path, {"old": 1})
    put_json(path, value)
    assert read_json(path) == value
    assert os.listdir(tmp_path) == ["a b.json"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1} x', b"\xff\xfe{}", b"\0\0\0\0"])
def test_damaged_json_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(JobDirError, match=re.escape(f"{path} is not JSON (") + r".*--fresh\.$"):
        read_json(str(path))


def test_an_unfinished_file_of_a_killed_process_is_not_in_the_way(tmp_path: Path) -> None:
    path = str(tmp_path / "result.json")
    put_json(path, {"step": 1})
    Path(path + ".unfinished").write_text('{"step": ')
    assert read_json(path) == {"step": 1}
    put_json(path, {"step": 2})
    assert read_json(path) == {"step": 2}
    assert os.listdir(tmp_path) == ["result.json"]


WRITER = """
import sys
from trainer.training.records import put_json
print("ready", flush=True)
number = 0
while True:
    put_json(sys.argv[1], [number] * 5000)
    number += 1
"""


def test_a_reader_sees_whole_files_and_so_does_who_comes_after_a_kill(tmp_path: Path) -> None:
    path = str(tmp_path / "x.json")
    put_json(path, [0])
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path], env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"ready\n"
        try:
            seen, end = [], time.monotonic() + 60
            while len(seen) < 300 or seen[-1] == [0]:  # a busy machine may let the writer wait
                seen.append(read_json(path))
                assert time.monotonic() < end
        finally:
            writer.send_signal(signal.SIGKILL)
    for value in (*seen, read_json(path)):
        assert value == [0] or (len(value) == 5000 and len(set(value)) == 1)


def test_evaluations_are_kept_in_the_order_of_steps_each_step_once(tmp_path: Path) -> None:
    path = str(tmp_path / "evaluations.jsonl")
    assert read_evaluations(path) == {}
    put_evaluation(path, 20, {"loss": 0.5, "accuracy": 0.75})
    put_evaluation(path, 10, {"loss": 1.0})
    put_evaluation(path, 20, {"loss": 0.25})
    assert read_evaluations(path) == {10: {"loss": 1.0}, 20: {"loss": 0.25}}
    assert list(read_evaluations(path)) == [10, 20]
    lines = Path(path).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"global_step": 10, "loss": 1.0},
        {"global_step": 20, "loss": 0.25},
    ]


@pytest.mark.parametrize("line", ["{", '{"loss": 1.0}', "[1, 2]", "7"])
def test_damaged_evaluations_are_a_sentence(tmp_path: Path, line: str) -> None:
    path = tmp_path / "evaluations.jsonl"
    path.write_text('{"global_step": 1, "loss": 2.0}\n' + line + "\n")
    with pytest.raises(JobDirError, match=re.escape(f"{path} does not hold one evaluation a line")):
        read_evaluations(str(path))


def tree(folder: Path) -> dict[str, bytes | None]:
    """Relative path -> content, None for a folder."""
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with folders."""
    folder = tmp_path / "so urce"
    (folder / "variables" / "more").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "saved_model.pb").write_bytes(b"\x00\xff")
    (folder / "variables" / "more" / "data").write_text("x")
    return folder


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_is_copied_whole(tmp_path: Path, source: Path, slash: str) -> None:
    before, target = tree(source), tmp_path / "deep" / "tar'get"
    leftover = target.with_name("tar'get.unfinished")
    leftover.mkdir(parents=True)
    (leftover / "old").write_text("of a copy that was killed")
    put_folder(f"{source}{slash}", str(target), "saved_model.pb")
    assert tree(target) == tree(source) == before
    assert os.listdir(target.parent) == ["tar'get"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_files_are_copied_over_older_ones(tmp_path: Path, source: Path, slash: str) -> None:
    target = tmp_path / "target"
    (target / "variables").mkdir(parents=True)
    (target / "saved_model.pb").write_text("old")
    (target / "mine").write_text("mine")
    copy_files(f"{source}{slash}", f"{target}{slash}")
    assert tree(target) == {**tree(source), "mine": b"mine"}
