"""Damaged checkpoint folders, made from real checkpoints: the newest that can be read, and never silently step 0."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from trainer.job.errors import StorageFailed
from trainer.training.checkpoints import DAMAGED, Start, find_start, newest_step, read_problem

v1 = tf.compat.v1
STEPS = (10, 20, 30)


def save(folder: Path, steps: tuple[int, ...] = STEPS) -> None:
    """Checkpoints as an Estimator writes them; the weights hold the step they are of."""
    with tf.Graph().as_default(), v1.Session() as session:
        step = v1.train.get_or_create_global_step()
        weights = v1.get_variable("weights", initializer=tf.zeros([500]), use_resource=True)
        saver = v1.train.Saver(max_to_keep=5, sharded=True)
        session.run(v1.global_variables_initializer())
        for number in steps:
            session.run([step.assign(number), weights.assign(tf.range(500.0) + number)])
            saver.save(session, str(folder / "model.ckpt"), global_step=number, write_meta_graph=False)


def restored(folder: Path) -> int:
    """What the saver of the next run restores, and that it takes over the older ones as its own."""
    with tf.Graph().as_default(), v1.Session() as session:
        step = v1.train.get_or_create_global_step()
        weights = v1.get_variable("weights", initializer=tf.zeros([500]), use_resource=True)
        saver = v1.train.Saver(max_to_keep=5)
        state = tf.train.get_checkpoint_state(str(folder))
        saver.recover_last_checkpoints(state.all_model_checkpoint_paths)
        assert saver.last_checkpoints[-1] == tf.train.latest_checkpoint(str(folder))
        assert len(saver.last_checkpoints) == len(state.all_model_checkpoint_paths)
        saver.restore(session, tf.train.latest_checkpoint(str(folder)))
        number = int(session.run(step))
        np.testing.assert_array_equal(session.run(weights), np.arange(500.0) + number)
        return number


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints of three steps."""
    folder = tmp_path_factory.mktemp("saved")
    save(folder)
    return folder


@pytest.fixture(params=["checkpoints", "with 'quotes'; $x ü"])
def folder(saved: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of it to do harm to."""
    return Path(shutil.copytree(saved, tmp_path / request.param))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What this package logged."""
    monkeypatch.setattr(logging.getLogger("trainer"), "propagate", True)
    caplog.set_level(logging.INFO, "trainer")
    return lambda: "\n".join(record.getMessage() for record in caplog.records if record.name == "trainer")


def data_of(folder: Path, step: int) -> Path:
    return folder / f"model.ckpt-{step}.data-00000-of-00001"


def index_of(folder: Path, step: int) -> Path:
    return folder / f"model.ckpt-{step}.index"


def state_of(folder: Path) -> Path:
    return folder / "checkpoint"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path, part: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(part * len(content))] ^= 1
    path.write_bytes(content)


def start_at(folder: Path, step: int) -> Start:
    return Start(step, f"{folder}/model.ckpt-{step}")


def test_no_folder_and_an_empty_one_are_a_new_job(tmp_path: Path) -> None:
    assert find_start(str(tmp_path / "absent")) == Start(0, None)
    (tmp_path / "keras").mkdir()
    (tmp_path / "events.out.tfevents.1").write_text("x")
    assert find_start(str(tmp_path)) == Start(0, None)


def test_a_sound_folder_starts_at_its_newest_and_stays_as_it_is(folder: Path, said: Callable[[], str]) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert find_start(str(folder)) == start_at(folder, 30)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert restored(folder) == 30
    assert said() == ""


DAMAGES = {
    "data cut off": lambda folder, step: truncate(data_of(folder, step)),
    "data empty": lambda folder, step: empty(data_of(folder, step)),
    "data missing": lambda folder, step: data_of(folder, step).unlink(),
    "a bit of the data flipped": lambda folder, step: flip(data_of(folder, step)),
    "index cut off": lambda folder, step: truncate(index_of(folder, step)),
    "index empty": lambda folder, step: empty(index_of(folder, step)),
    "a bit of the index flipped": lambda folder, step: flip(index_of(folder, step), 0.1),
    "the files of another step": lambda folder, step: [
        shutil.copy(path(folder, 10), path(folder, step)) for path in (data_of, index_of)
    ],
}
Damage = Callable[[Path, int], object]
DAMAGED_BY = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())


@DAMAGED_BY
def test_a_damaged_newest_falls_back_to_the_one_before_loudly(
    folder: Path, damage: Damage, said: Callable[[], str]
) -> None:
    damage(folder, 30)
    left = {path.name for path in folder.iterdir() if path.name.startswith("model.ckpt-30.")}
    assert find_start(str(folder)) == start_at(folder, 20)
    assert "checkpoint 30 is damaged (" in said()
    assert f"{folder}/{DAMAGED}" in said()
    assert {path.name for path in (folder / DAMAGED).iterdir()} == left
    assert restored(folder) == 20
    assert find_start(str(folder)) == start_at(folder, 20)


@DAMAGED_BY
def test_the_last_sound_one_is_found_behind_two_damaged_ones(folder: Path, damage: Damage) -> None:
    damage(folder, 30)
    damage(folder, 20)
    assert find_start(str(folder)) == start_at(folder, 10)
    assert restored(folder) == 10


def test_where_none_can_be_read_nothing_starts_at_0_now_or_later(folder: Path) -> None:
    for step in STEPS:
        flip(data_of(folder, step))
    for _ in range(2):
        with pytest.raises(StorageFailed, match="--fresh"):
            find_start(str(folder))
    assert len([path for path in (folder / DAMAGED).iterdir() if path.suffix == ".index"]) == 3
    state_of(folder).unlink()
    with pytest.raises(StorageFailed, match="--fresh"):
        find_start(str(folder))


def write(content: bytes) -> Damage:
    return lambda folder, step: state_of(folder).write_bytes(content)


STATES = {
    "missing": lambda folder, step: state_of(folder).unlink(),
    "empty": write(b""),
    "garbage": write(b"garbage {"),
    "binary": write(b"\xff\xfe\x00\x01" * 20),
    "cut off": lambda folder, step: state_of(folder).write_text(state_of(folder).read_text()[:30]),
    "of another program": write(b'model_checkpoint_path: "ckpt-7"\n'),
    "of one that is not there": write(b'model_checkpoint_path: "model.ckpt-999"\n'),
    "of an older one": write(b'model_checkpoint_path: "model.ckpt-10"\n'),
    "of a folder that moved": write(b'model_checkpoint_path: "/nowhere/model.ckpt-20"\n'),
}


@pytest.mark.parametrize("harm", STATES.values(), ids=STATES.keys())
def test_a_wrong_state_file_is_written_anew(folder: Path, harm: Damage) -> None:
    harm(folder, 0)
    assert find_start(str(folder)) == start_at(folder, 30)
    assert restored(folder) == 30
    older = tf.train.get_checkpoint_state(str(folder)).all_model_checkpoint_paths
    assert [path.rpartition("-")[2] for path in older] == ["10", "20", "30"]


@pytest.mark.parametrize("harm", ["missing", "empty", "garbage", "binary"])
def test_a_state_file_that_says_nothing_is_told_of(folder: Path, harm: str, said: Callable[[], str]) -> None:
    STATES[harm](folder, 0)
    find_start(str(folder))
    assert f"{folder}/checkpoint is missing or garbage: going on from checkpoint 30" in said()


@pytest.mark.parametrize("content", [b"", b"garbage {", b"\xff\xfe", b'model_checkpoint_path: "model.ckpt-5"\n'])
def test_a_state_file_without_checkpoints_is_no_new_job(tmp_path: Path, content: bytes) -> None:
    state_of(tmp_path).write_bytes(content)
    with pytest.raises(StorageFailed, match=r"says there were checkpoints, but none is there: .*--fresh"):
        find_start(str(tmp_path))


def test_what_a_kill_in_the_middle_of_a_save_left_is_removed(folder: Path) -> None:
    temporary = folder / "model.ckpt-40_temp"
    temporary.mkdir()
    (temporary / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"x")
    for name in ("model.ckpt-40.data-00000-of-00001.tempstate123", "model.ckpt-40.index.tempstate9"):
        (folder / name).write_bytes(b"x")
    assert find_start(str(folder)) == start_at(folder, 30)
    assert not [path.name for path in folder.iterdir() if path.name.startswith("model.ckpt-40")]


def test_data_without_an_index_is_no_checkpoint_and_no_obstacle(folder: Path) -> None:
    shutil.copy(data_of(folder, 30), data_of(folder, 40))
    assert find_start(str(folder)) == start_at(folder, 30)
    save(folder, (40,))
    assert find_start(str(folder)) == start_at(folder, 40)
    assert restored(folder) == 40


def test_a_checkpoint_saved_after_the_state_file_is_not_lost(folder: Path) -> None:
    """A kill between the two."""
    before = state_of(folder).read_bytes()
    save(folder, (40,))
    state_of(folder).write_bytes(before)
    assert find_start(str(folder)) == start_at(folder, 40)
    assert restored(folder) == 40


def test_steps_are_compared_as_numbers(tmp_path: Path) -> None:
    save(tmp_path, (9, 100, 20))
    assert find_start(str(tmp_path)) == start_at(tmp_path, 100)


def test_a_relative_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    state_of(folder).unlink()
    assert find_start(folder.name) == Start(30, f"{folder.name}/model.ckpt-30")
    os.rename(folder, "moved")
    assert restored(folder.parent / "moved") == 30


def test_a_problem_is_one_short_line(folder: Path) -> None:
    assert read_problem(f"{folder}/model.ckpt-30", 30) is None
    assert read_problem(f"{folder}/model.ckpt-30", 31) == "it holds step 30"
    flip(data_of(folder, 30))
    problem = read_problem(f"{folder}/model.ckpt-30", 30)
    assert problem
    assert "\n" not in problem
    assert len(problem) <= 160


def test_the_newest_step_is_told_without_a_change(folder: Path) -> None:
    (folder / "checkpoint").write_bytes(b"\xff")
    (folder / "model.ckpt-30.index").write_bytes(b"")
    (folder / "model.ckpt-40_temp").mkdir()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert newest_step(str(folder)) == 30
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert newest_step(str(folder / "absent")) == 0
