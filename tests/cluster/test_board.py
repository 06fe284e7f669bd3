"""Reading the board while others write it."""

from __future__ import annotations

import json
import pathlib

import pytest

from trainer.cluster.board import Entry, Page, Run


def test_what_stood_there_before_the_start_does_not_count(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "chief.json"
    path.write_text('{"beat": 7, "step": 70}')
    page = Page(str(path))
    assert (page.look(), page.entry) == (False, None)
    path.write_text('{"beat": 1, "step": 0}')
    assert page.look()
    assert page.entry == Entry(beat=1, step=0)
    assert not page.look()
    page.turn()
    assert (page.look(), page.entry) == (False, None)
    path.unlink()
    assert page.look()  # moved aside: there is nothing any more
    assert page.entry is None


def test_a_file_that_comes_later_counts(tmp_path: pathlib.Path) -> None:
    page = Page(str(tmp_path / "cluster" / "run.json"))
    assert (page.look(), page.run) == (False, None)
    (tmp_path / "cluster").mkdir()
    told = {
        "attempt": "a",
        "state": "running",
        "step": 4,
        "total_steps": 9,
        "early": True,
        "why": "x",
        "start_step": 2,
        "strategy": "s",
    }
    (tmp_path / "cluster" / "run.json").write_text(json.dumps({**told, "evaluated_by": "chief", "train_examples": 50}))
    assert page.look()
    assert page.run == Run("a", "running", 4, 9, "s", "chief", True, "x", 2, 50)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'])
def test_what_is_no_object_tells_nothing(tmp_path: pathlib.Path, text: str) -> None:
    page = Page(str(tmp_path / "x.json"))
    (tmp_path / "x.json").write_text(text)
    page.look()
    assert page.entry is None
    assert page.run is None


def test_values_of_another_kind_are_left_out(tmp_path: pathlib.Path) -> None:
    page = Page(str(tmp_path / "x.json"))
    wrong = {"beat": "7", "step": 1.5, "doing": None, "examples": True, "share": [1, "2"], "done": "yes"}
    (tmp_path / "x.json").write_text(json.dumps(wrong))
    page.look()
    assert page.entry == Entry()
    (tmp_path / "x.json").write_text(json.dumps({**wrong, "share": [1, 2], "done": True, "step": 3}))
    page.look()
    assert page.entry == Entry(step=3, share=(1, 2), is_done=True)
